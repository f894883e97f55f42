"""Where the time of an image job goes: CPU of each stage, by file type. `benchmarks/images.py --profile` prints it.

The functions of the stages are wrapped while a job runs in this process. Each stage's time is its own, without that of
the stages inside it, so that the shares add up to the whole.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import pyvips

from danbooru_pipeline.images import ImageJob, decode, downscale, job, optimize, run_image_job

#: Where a function is looked up -> what it is part of.
STAGES: list[tuple[ModuleType | object, str, str]] = [
    (job, "inspect_image", "inspect"),
    (optimize, "decode_jpeg", "decode the source"),
    (optimize.mozjpeg, "optimize", "optimise"),
    (optimize, "run_oxipng", "optimise"),
    (optimize, "choose_filters", "choose the filters"),
    (optimize, "_recode_jpeg", "proof: compare"),
    (optimize, "decode_strictly", "proof: decode the result"),
    (optimize, "_held_if_same", "proof: decode both and compare"),
    (optimize, "hash_held", "pixel hash"),
    (optimize, "_hash_if_same", "proof: decode both and compare, pixel hash"),
    (optimize, "carried_chunks", "proof: metadata"),
    (optimize, "carried_segments", "proof: metadata"),
    (downscale, "shrink_image", "512px: decode and shrink"),
    (downscale, "_pixels_of", "512px: decode and shrink"),
    (decode, "decode_jpeg", "512px: decode and shrink"),
    (downscale, "choose_background", "512px: background"),
    (downscale, "judge_quality", "512px: warnings"),
    (downscale, "_encode", "512px: encode"),
    (downscale, "hash_picture", "512px: perceptual hashes"),
    (job, "decode_for_both", "decode for 512px and pixel hash"),
    (job, "hash_pixels", "pixel hash"),
    (job, "_known_hash", "pixel hash"),
    (job, "_write", "SHA-256, write"),
]
_REST = "rest"


class Stopwatch:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]  # of the stages inside each open one

    def watch(self, stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(run)
        def timed(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return run(*args, **options)
            finally:
                whole = time.process_time() - began
                self.seconds[stage] += whole - self._inner.pop()
                self._inner[-1] += whole

        return timed


@contextmanager
def watching(stopwatch: Stopwatch) -> Iterator[None]:
    """Wrap all functions of `STAGES`."""
    originals = [getattr(place, name) for place, name, _ in STAGES]
    for (place, name, stage), original in zip(STAGES, originals, strict=True):
        setattr(place, name, stopwatch.watch(stage, original))
    try:
        yield
    finally:
        for (place, name, _), original in zip(STAGES, originals, strict=True):
            setattr(place, name, original)


def profile(folder: Path) -> None:
    """Print a table for each type; WebP and AVIF are made of the first PNGs."""
    files = {kind: sorted(folder.rglob(f"*.{kind}")) for kind in ("jpg", "png")}
    pngs = [pyvips.Image.new_from_file(str(path)) for path in files["png"][:10]]
    made = {
        "webp": [image.webpsave_buffer(Q=90) for image in pngs],
        "avif": [image.heifsave_buffer(compression="av1", Q=80, effort=1) for image in pngs],
    }
    data = {kind: [path.read_bytes() for path in paths] for kind, paths in files.items()} | made
    for kind, every in data.items():
        if every:
            _profile_type(kind, every)


def _profile_type(kind: str, every: list[bytes]) -> None:
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as name, watching(stopwatch):
        run = stopwatch.watch(_REST, run_image_job)
        for number, data in enumerate([every[0], *every]):
            if number == 1:
                stopwatch.seconds.clear()  # the first job loads what the libraries load once
            path = Path(name) / f"{number}.{kind}"
            path.write_bytes(data)
            run(ImageJob(source=path, original=path, px512=Path(name) / f"{number}.512.jpg"))
    total = sum(stopwatch.seconds.values())
    print(f"\n{len(every)} {kind}, {sum(map(len, every)) / 1e6:.1f} MB\n\n| stage | CPU ms | share |\n|---|---:|---:|")
    for stage, seconds in sorted(stopwatch.seconds.items(), key=lambda item: -item[1]):
        print(f"| {stage} | {1000 * seconds / len(every):.2f} | {seconds / total:.1%} |")
    proof = sum(seconds for stage, seconds in stopwatch.seconds.items() if stage.startswith("proof"))
    print(f"| all | {1000 * total / len(every):.2f} | proof {proof / total:.1%} |")
