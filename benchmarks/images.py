"""Optimising and shrinking, measured beside popular tools: bytes saved, CPU, fidelity.

    .venv/bin/python -m benchmarks.images [FOLDER] [--files N] [--peers PYTHON] [--profile]

The corpus is generated; a FOLDER of real JPG and PNG is measured as a second one. Every file goes through all
candidates in random order before the next file, so that a busy machine treats them alike. CPU is user and system time,
including that of child programs. Programs that are not installed are skipped with a message. `--peers` names a Python
with OpenCV, which the project does not depend on.
"""

import argparse
import functools
import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median

os.environ["RAYON_NUM_THREADS"] = "1"

import mozjpeg_lossless_optimization as mozjpeg
import numpy as np
import pyvips

from benchmarks.image_stages import profile
from danbooru_pipeline.images import Downscaled, ImageSettings, downscale_image, inspect_image, optimize_image
from danbooru_pipeline.images.decode import shrink_image
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.operate.rates import PATH, with_figures

pyvips.concurrency_set(1)
pyvips.cache_set_max(0)

#: What the estimate for a whole release assumes: files and megabytes, 2 TB of each.
RELEASE = {"jpg": (3_600_000, 0.55), "png": (1_250_000, 1.6)}
LEVEL = ImageSettings().png_level
CV2 = """
import sys, time, cv2, numpy as np
for path in sys.argv[1:]:
    began = time.process_time()
    image = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        image = (image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    scale = 512 / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(time.process_time() - began)
"""


def make_corpus(folder: Path, count: int) -> None:
    """Soft paintings as JPG, flat drawings as PNG, about a megapixel each."""
    for number in range(count):
        chance = np.random.default_rng([2021, number])
        width, height = int(chance.integers(800, 1400)), int(chance.integers(800, 1400))
        noise = pyvips.Image.gaussnoise(width, height, sigma=float(chance.uniform(1, 4)), mean=0, seed=number)
        soft = _field(chance, width, height, 160) * 0.75 + _field(chance, width, height, 14) * 0.25 + noise
        jpg = soft.cast("uchar").copy(interpretation="srgb")
        quality = int(chance.integers(82, 95))
        (folder / f"{number}.jpg").write_bytes(jpg.jpegsave_buffer(Q=quality, keep="none"))
        flat = (_field(chance, width, height, 90) / 40).floor() * 40 + _field(chance, width, height, 300) / 32
        textured = _field(chance, width, height, 200)[0] > 140
        flat = textured.ifthenelse(flat + pyvips.Image.gaussnoise(width, height, sigma=1.5, mean=0, seed=number), flat)
        png = flat.cast("uchar").copy(interpretation="srgb")
        if number % 3 == 0:
            png = png.bandjoin((_field(chance, width, height, 200)[0] > 90).ifthenelse(255, 0).cast("uchar"))
        (folder / f"{number}.png").write_bytes(png.pngsave_buffer(compression=6, keep="none"))


def _field(chance: np.random.Generator, width: int, height: int, cell: int) -> pyvips.Image:
    small = chance.integers(0, 256, (max(2, height // cell), max(2, width // cell), 3), dtype=np.uint8)
    image = pyvips.Image.new_from_array(small)
    return image.resize((width + 1) / image.width, vscale=(height + 1) / image.height, kernel="cubic").crop(
        0, 0, width, height
    )


def ours(data: bytes, level: int = 2) -> bytes:
    """Inspect, refuse or optimise, and prove the result."""
    return optimize_image(data, inspect_image(data), png_level=level).data


def ours_512(data: bytes) -> bytes:
    """What a job does that leaves the original alone: strict decode and full inspection."""
    made = downscale_image(data, inspect_image(data))
    return made.data if isinstance(made, Downscaled) else b""


def bare_512(data: bytes, *, padded: bool = False) -> bytes:
    """Pyvips as in its documentation, unchecked; with `padded`, padded to a square as ours is."""
    image = pyvips.Image.thumbnail_buffer(data, 512, height=512, size="down")
    image = image.flatten(background=255) if image.hasalpha() else image
    if padded:
        image = image.colourspace("srgb").gravity("centre", 512, 512, extend="background", background=[255] * 3)
    return bytes(image.jpegsave_buffer(Q=90, subsample_mode="off", optimize_coding=True, keep="none"))


def decode(data: bytes) -> bytes:
    """The lower bound: decode all pixels and do nothing with them."""
    pyvips.Image.new_from_buffer(data, "", access="sequential").avg()
    return b""


def program(*command: str) -> Callable[[bytes], bytes]:
    """A program that works on a file in place, or writes OUT."""

    def run(data: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as name:
            path, out = Path(name) / "in", Path(name) / "out.jpg"
            path.write_bytes(data)
            words = [{"IN": str(path), "OUT": str(out)}.get(word, word) for word in command]
            subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return (out if out.exists() else path).read_bytes()

    return run


OPTIMISERS = {
    "png": {
        "optipng -o2": program("optipng", "-quiet", "-o2", "IN"),
        "ours, level 1": lambda data: ours(data, 1),
        "ours, level 2": ours,
        "ours, level 3": lambda data: ours(data, 3),
    },
    "jpg": {
        "jpegoptim": program("jpegoptim", "-q", "IN"),
        "jpegtran -progressive": program("jpegtran", "-copy", "all", "-progressive", "-outfile", "OUT", "IN"),
        "bare mozjpeg": lambda data: mozjpeg.optimize(data, copy=mozjpeg.COPY_MARKERS.ALL),
        "ours": ours,
        "ours, as JPEG XL": lambda data: optimize_image(data, inspect_image(data), archive=True).data,
    },
}
MAGICK = ("convert", "IN", "-resize", "512x512>", "-background", "white", "-flatten", "-quality", "90", "OUT")
SHRINKERS = {
    "decode alone": decode,
    "bare pyvips": bare_512,
    "bare pyvips, padded": lambda data: bare_512(data, padded=True),
    "ours": ours_512,
    "ImageMagick": program(*MAGICK),
}


def cpu() -> float:
    """User and system time of this process and the children it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measure(
    files: list[Path], candidates: dict[str, Callable[[bytes], bytes]]
) -> Iterator[tuple[str, float, list[bytes]]]:
    """Name, CPU seconds and results of each candidate, interleaved file by file."""
    seconds: dict[str, float] = defaultdict(float)
    made: dict[str, list[bytes]] = defaultdict(list)
    for path in files:
        data = path.read_bytes()
        for name in random.sample(sorted(candidates), len(candidates)):
            began = cpu()
            result = candidates[name](data)
            seconds[name] += cpu() - began
            made[name].append(result)
    for name in candidates:
        yield name, seconds[name], made[name]


def psnr(source: bytes) -> float:
    """PSNR against a float Lanczos3 of the whole source, before JPEG encoding."""
    ours_small, _ = shrink_image(source, inspect_image(source), size=512)
    ours_small = ours_small.flatten(background=255) if ours_small.hasalpha() else ours_small
    image = pyvips.Image.new_from_buffer(source, "").colourspace("srgb")
    image = image.flatten(background=255) if image.hasalpha() else image
    scale = min(1.0, 512 / max(image.width, image.height))
    reference = image.cast("float").resize(scale, kernel="lanczos3")
    if (reference.width, reference.height) != (ours_small.width, ours_small.height):
        reference = reference.crop(0, 0, ours_small.width, ours_small.height)  # sides round apart by one pixel
    error = ((ours_small.cast("float") - reference) ** 2).avg()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def cv2_row(files: list[Path], python: str) -> float | None:
    """CPU seconds of OpenCV, in a Python of its own."""
    done = subprocess.run([python, "-c", CV2, *map(str, files)], check=False, capture_output=True, text=True)
    return sum(map(float, done.stdout.split())) if done.returncode == 0 else None


def report(folder: Path, peers: str | None, *, record: bool = False) -> None:
    """All tables of one corpus."""
    rates: dict[str, float] = {}
    for kind in ("png", "jpg"):
        files = sorted(folder.rglob(f"*.{kind}"))
        if not files:
            continue
        size = sum(path.stat().st_size for path in files)
        print(f"\n{len(files)} {kind}, {size / 1e6:.1f} MB\n\n| optimiser | saved | CPU s/MB |\n|---|---:|---:|")
        for name, seconds, made in measure(files, _installed(OPTIMISERS[kind])):
            saved = 100 * (1 - sum(map(len, made)) / size)
            rates[f"{kind} {name}"] = seconds / size * 1e6
            print(f"| {name} | {saved:.2f} % | {seconds / size * 1e6:.3f} |")
        print("\n| 512px | CPU ms | mean KB |\n|---|---:|---:|")
        for name, seconds, made in measure(files, _installed(SHRINKERS)):
            rates[f"{kind} 512px {name}"] = seconds / len(files)
            print(f"| {name} | {1000 * seconds / len(files):.1f} | {mean(map(len, made)) / 1000:.1f} |")
        seconds = cv2_row(files, peers) if peers else None
        if seconds is not None:
            print(f"| OpenCV | {1000 * seconds / len(files):.1f} | |")
        fidelity = [psnr(path.read_bytes()) for path in files]
        print(f"\nPSNR against Lanczos: median {median(fidelity):.1f} dB")
    _core_hours(rates, record=record)


def _installed(candidates: dict[str, Callable[[bytes], bytes]]) -> dict[str, Callable[[bytes], bytes]]:
    programs = {"optipng -o2": "optipng", "jpegoptim": "jpegoptim", "ImageMagick": "convert"}
    programs |= {"jpegtran -progressive": "jpegtran"}
    return {name: run for name, run in candidates.items() if shutil.which(programs.get(name, "sh"))}


def _core_hours(rates: dict[str, float], *, record: bool) -> None:
    """Estimate the whole step for a release from the measured rates, and let `plan` reckon with it."""
    began = time.process_time()
    for _ in range(20):
        hashlib.sha256(bytes(10**6)).hexdigest()
    hashing = (time.process_time() - began) / 20
    per_mb = {}
    for level in (1, 2, 3):
        total = size = 0.0
        for kind, (count, megabytes) in RELEASE.items():
            name = f"png ours, level {level}" if kind == "png" else "jpg ours"
            if name not in rates:
                return
            total += count * (megabytes * (rates[name] + 2 * hashing) + rates[f"{kind} 512px ours"])
            size += count * megabytes
        per_mb[level] = total / size
        print(f"whole step for 4.85 M images at level {level}: {total / 3600:.0f} core-hours")
    tools = {"png": "optipng -o2", "jpg": "jpegoptim"}
    if all(f"{kind} {tool}" in rates and f"{kind} 512px ImageMagick" in rates for kind, tool in tools.items()):
        total = sum(
            count * (megabytes * rates[f"{kind} {tools[kind]}"] + rates[f"{kind} 512px ImageMagick"])
            for kind, (count, megabytes) in RELEASE.items()
        )
        print(f"the same with optipng, jpegoptim and ImageMagick: {total / 3600:.0f} core-hours")
    if record:
        write_atomic(PATH, with_figures({"image_cpu_seconds_per_mb": round(per_mb[LEVEL], 2)}))


def main() -> int:
    """Measure the generated corpus, then the given folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--peers", help="a Python that has OpenCV")
    parser.add_argument("--profile", action="store_true", help="where the time of a job goes, by type")
    parser.add_argument("--record", action="store_true", help="let `plan` reckon with what was measured")
    chosen = parser.parse_args()
    record = functools.partial(report, record=chosen.record)
    measured = (lambda folder, _: profile(folder)) if chosen.profile else record
    random.seed(2021)
    with tempfile.TemporaryDirectory() as name:
        make_corpus(Path(name), chosen.files)
        print("# Made on the spot")
        measured(Path(name), chosen.peers)
    if chosen.folder:
        print("\n# The folder given")
        measured(chosen.folder, chosen.peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
