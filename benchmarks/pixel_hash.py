"""What the pixel hash costs on top of a picture's other work: CPU ms a megapixel, with it and without.

    .venv/bin/python -m benchmarks.pixel_hash [--rounds 5]

Draws pictures of 1.5 megapixels in every format that is hashed by its pixels, and runs the job of a build (optimise,
512px image) on each, interleaved; prints medians.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pyvips

from danbooru_pipeline.demo.art.pictures import draw_picture
from danbooru_pipeline.demo.art.scenes import choose_scene
from danbooru_pipeline.images import ImageJob, ImageSettings, inspect_image, optimize_image, run_image_job

WIDTH, HEIGHT = 1500, 1000
SETTINGS = ImageSettings(png_level=0)


def kinds(drawn: Any) -> dict[str, bytes]:
    """The same picture as different files."""
    alpha = drawn.bandjoin((pyvips.Image.xyz(WIDTH, HEIGHT)[0] / 6).cast("uchar")).copy(interpretation="srgb")
    turned = drawn.copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    p3 = drawn.icc_transform("p3")
    plain = drawn.pngsave_buffer(compression=6)
    return {
        "JPG": drawn.jpegsave_buffer(Q=90),
        "grey JPG": drawn.colourspace("b-w").jpegsave_buffer(Q=90),
        "JPG, turned by EXIF": turned.jpegsave_buffer(Q=90),
        "JPG with a profile": p3.jpegsave_buffer(Q=90, keep="icc"),
        "PNG": plain,
        "PNG with alpha": alpha.pngsave_buffer(compression=6),
        "PNG that is optimised already": optimize_image(plain, inspect_image(plain), png_level=0).data,
        "PNG with a profile": p3.pngsave_buffer(compression=6, keep="icc"),
        "GIF": drawn.gifsave_buffer(effort=1),
        "WebP": drawn.webpsave_buffer(Q=85),
        "WebP with alpha": alpha.webpsave_buffer(Q=85),
        "AVIF": drawn.heifsave_buffer(compression="av1", Q=70, effort=0),
    }


def cpu_of(data: bytes, *, is_hashed: bool, is_small: bool) -> float:
    """CPU seconds of the job on a new copy of the file."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / f"1.{inspect_image(data).file_type}"
        source.write_bytes(data)
        small = Path(name) / "512.jpg" if is_small else None
        return run_image_job(
            ImageJob(source=source, original=source, px512=small, hash_pixels=is_hashed, settings=SETTINGS)
        ).cpu_seconds


def on_top(data: bytes, *, rounds: int, is_small: bool) -> float:
    """Milliseconds a megapixel, the median of interleaved pairs."""
    pairs = [
        cpu_of(data, is_hashed=True, is_small=is_small) - cpu_of(data, is_hashed=False, is_small=is_small)
        for _ in range(rounds)
    ]
    return statistics.median(pairs) * 1000 / (WIDTH * HEIGHT / 1e6)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    scene = choose_scene(1, 1, with_figure=False)
    drawn = draw_picture(scene, Random(1), width=WIDTH, height=HEIGHT).copy_memory()
    print("| file | with its 512px image | without |\n|---|---:|---:|")
    for name, data in kinds(drawn).items():
        both, alone = (on_top(data, rounds=rounds, is_small=is_small) for is_small in (True, False))
        print(f"| {name} | {both:.1f} | {alone:.1f} |", flush=True)


if __name__ == "__main__":
    main()
