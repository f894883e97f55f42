"""Mutated images through the pool: one outcome each, no worker lost for good, no file left over."""

import collections
import os
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyvips
from PIL import Image

from danbooru_pipeline.images import ImageJob, ImagePool, ImageResult, sniff_type
from danbooru_pipeline_tests.support import avif_boxes, cases, pictures

if TYPE_CHECKING:
    from concurrent.futures import Future

_WINDOW = 64  # jobs in flight


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What came of some mutated images.

    Attributes:
        outcomes: how many had each outcome.
        wrong: everything that must not be, one a line; each names the image, which is made again from its number.
    """

    outcomes: collections.Counter[str]
    wrong: list[str]


@dataclass(frozen=True, slots=True)
class _Job:
    path: Path
    small: Path
    future: "Future[ImageResult]"

    def outcome(self) -> str:
        """Wait for the worker, look at what it made, and remove it."""
        result = self.future.result()
        outcome = str(result.px512_reason or "ok") + (", optimised" if result.optimized else "")
        if self.small.exists() != (result.px512_reason is None):
            outcome = f"WRONG: {self.path.name} file and reason disagree"
        elif self.small.exists():
            image = pyvips.Image.new_from_file(str(self.small))
            if (image.width, image.height) != (512, 512):
                outcome = f"WRONG: {self.path.name} is not 512 x 512"
        self.path.unlink()
        self.small.unlink(missing_ok=True)
        return outcome


def seeds(types: tuple[str, ...] = ()) -> list[bytes]:
    """Small whole files of every kind that is decoded, or of some types only."""
    image = pictures.illustration(160, 120)
    frames = [Image.fromarray(cases.drawing(64, 64) // level) for level in (1, 2, 3)]
    every = [
        pictures.jpeg(image),
        pictures.jpeg(image, interlace=True),
        pictures.jpeg(image.icc_transform("cmyk", input_profile="srgb"), keep="icc"),
        pictures.png(image),
        pictures.png(image, interlace=True),
        pictures.palette_png(transparent=True),
        pictures.apng(3),
        image.gifsave_buffer(),
        pictures.animated(".gif"),
        image.webpsave_buffer(),
        pictures.animated(".webp"),
        pictures.bmp(),
        image.bandjoin(200).webpsave_buffer(),
        image.heifsave_buffer(compression="av1", effort=0),
        cases.avif(cases.drawing(96, 64), subsampling="4:0:0", range="limited"),
        cases.with_nclx(cases.avif(cases.drawing(96, 64)), 9, 16),
        cases.avif(frames[0], save_all=True, append_images=frames[1:]),
        avif_boxes.without_nclx(cases.avif(cases.ramp(120, 80), subsampling="4:0:0", range="limited")),
        avif_boxes.with_reference(cases.avif(cases.hidden_colors(64)), b"prem", source=1, target=2),
        cases.cmyk_420(),
        cases.samsung_sos(b"\0\0\0"),
        cases.apng_lone_frame(20, 30, 10, 5),
        cases.stating(pictures.png(image), cICP=bytes([12, 13, 0, 1]), gAMA=b"\0\0\xb1\x8f"),
    ]
    return [data for data in every if not types or sniff_type(data) in types]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Flip, cut, double, drop, or append bytes."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(out)) if out else 0
        match chance.randrange(6):
            case 0 | 1:
                out[at : at + 1] = bytes([chance.randrange(256)])
            case 2:
                del out[at:]
            case 3:
                del out[at : at + chance.randint(1, 64)]
            case 4:
                out[at:at] = out[at : at + chance.randint(1, 64)]
            case _:
                out += chance.randbytes(chance.randint(1, 64))
    return bytes(out)


def fuzz(*, count: int, seed: int, types: tuple[str, ...] = ()) -> Fuzzed:
    """Run images through as many workers as there are processors. Number, seed and types decide each of them."""
    originals = seeds(types)
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name, ImagePool(os.cpu_count() or 1, timeout_seconds=30) as pool:
        folder = Path(name)
        waiting: collections.deque[_Job] = collections.deque()
        for number in range(count):
            chance = random.Random(f"{seed}-{number}")
            path, small = folder / f"{number}.jpg", folder / f"{number}.512.jpg"
            path.write_bytes(mutate(chance.choice(originals), chance))
            waiting.append(_Job(path, small, pool.submit(ImageJob(source=path, original=path, px512=small))))
            while len(waiting) > (_WINDOW if number < count - 1 else 0):
                outcomes[waiting.popleft().outcome()] += 1
        left = sorted(p.name for p in folder.iterdir())
    wrong = [*left, *([f"{sum(outcomes.values())} outcomes"] if sum(outcomes.values()) != count else [])]
    return Fuzzed(outcomes, wrong + [outcome for outcome in outcomes if outcome.startswith("WRONG")])
