"""Makes the pictures of docs/images.md: awkward files as a careless decoder shows them, and as a release does.

    .venv/bin/python -m benchmarks.awkward

Left: the stored values on black (white lines on white), without orientation or profile, and truncated files as far as
they go. Right: the 512px image, or a grey field if there is none, with the reason in the ledger. Look at every picture
after a change.
"""

import sys
from pathlib import Path
from random import Random
from typing import Any

import pyvips

from danbooru_pipeline.demo.art.pictures import draw_lines, draw_picture
from danbooru_pipeline.demo.art.scenes import choose_scene
from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image

_SIDE = 240
_TARGET = Path(__file__).parent.parent / "docs" / "images"


def awkward() -> dict[str, bytes]:
    """Name -> file."""
    scene = choose_scene(2021, 7, with_figure=True)
    picture = draw_picture(scene, Random(7), width=600, height=800)
    turned = picture.rot90().copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 8)
    cmyk = picture.icc_transform("cmyk", input_profile="srgb")
    wide = picture.icc_transform("p3", input_profile="srgb")
    whole = picture.jpegsave_buffer(Q=90, keep="none")
    return {
        "black-lines": _lines(scene, 0),
        "white-lines": _lines(scene, 255),
        "turned": turned.jpegsave_buffer(Q=90, keep="exif"),
        "display-p3": wide.pngsave_buffer(keep="icc"),
        "cmyk": cmyk.jpegsave_buffer(Q=90, keep="icc"),
        "16-bit": (picture.cast("ushort") * 257)
        .cast("ushort")
        .copy(interpretation="rgb16")
        .pngsave_buffer(bitdepth=16),
        "small": picture.resize(0.3).pngsave_buffer(),
        "cut-off": whole[: len(whole) // 2],
    }


def _lines(scene: Any, ink: int) -> bytes:
    lines = draw_lines(scene, Random(7), width=600, height=800, ink=ink)
    return bytes(lines.pngsave_buffer())


def careless(data: bytes, *, behind: int = 0) -> Any:
    """The stored values, with transparency on one grey."""
    image = pyvips.Image.new_from_buffer(data, "", fail_on="none")
    if image.interpretation == "cmyk":
        image = image.extract_band(0, n=3).copy(interpretation="srgb")
    if image.format == "ushort":
        image = (image & 255).cast("uchar").copy(interpretation="srgb")
    if image.hasalpha():
        image = image.flatten(background=behind)
    image = image.copy()
    for field in ("icc-profile-data", "orientation"):
        if image.get_typeof(field):
            image.remove(field)
    return image.thumbnail_image(_SIDE, height=_SIDE, no_rotate=True).gravity("centre", _SIDE, _SIDE, extend="black")


def released(data: bytes) -> Any:
    """The 512px image, at half its size."""
    made = downscale_image(data, inspect_image(data))
    if isinstance(made, Downscaled):
        return pyvips.Image.thumbnail_buffer(made.data, _SIDE)
    return (pyvips.Image.black(_SIDE, _SIDE, bands=3) + 128).cast("uchar").copy(interpretation="srgb")


def main() -> int:
    """Write one picture per kind."""
    _TARGET.mkdir(parents=True, exist_ok=True)
    for name, data in awkward().items():
        pair = pyvips.Image.arrayjoin(
            [careless(data, behind=255 if name == "white-lines" else 0), released(data)],
            across=2,
            shim=8,
            background=[200, 200, 200],
        )
        pair.jpegsave(str(_TARGET / f"{name}.jpg"), Q=80, optimize_coding=True, keep="none")
        print(name, downscale_image(data, inspect_image(data)) if name == "cut-off" else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
