"""Mutated images through the pool: one outcome each, no worker lost for good, no file left over.

    .venv/bin/python benchmarks/fuzz_images.py [COUNT] [SEED]

Every mutation follows from its number and the seed, so a failure can be made again alone. Exit code 1 on any fault.
"""

import collections
import os
import random
import sys
import tempfile
from pathlib import Path

import pyvips

from danbooru_pipeline.images import ImageJob, ImagePool
from danbooru_pipeline_tests.support import pictures

_WINDOW = 64  # jobs in flight


def seeds() -> list[bytes]:
    """Small whole files of every kind that is decoded."""
    image = pictures.illustration(160, 120)
    return [
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
        image.heifsave_buffer(compression="av1", effort=0),
    ]


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


def main() -> int:
    """Run, print the table of outcomes, say what is wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 2021
    originals = seeds()
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name, ImagePool(os.cpu_count() or 1, timeout_seconds=30) as pool:
        folder = Path(name)
        waiting: collections.deque[tuple[Path, Path, object]] = collections.deque()
        for number in range(count):
            chance = random.Random(f"{seed}-{number}")
            path, small = folder / f"{number}.jpg", folder / f"{number}.512.jpg"
            path.write_bytes(mutate(chance.choice(originals), chance))
            waiting.append((path, small, pool.submit(ImageJob(source=path, original=path, px512=small))))
            while len(waiting) > (_WINDOW if number < count - 1 else 0):
                outcomes[_take(*waiting.popleft())] += 1
        left = sorted(p.name for p in folder.iterdir())
    for outcome, number in outcomes.most_common():
        print(f"| {outcome} | {number} |")
    wrong = [*left, *([f"{sum(outcomes.values())} outcomes"] if sum(outcomes.values()) != count else [])]
    wrong += [outcome for outcome in outcomes if outcome.startswith("WRONG")]
    print("\n".join(wrong) or f"{count} images, one outcome each, no file left over, seed {seed}")
    return 1 if wrong else 0


def _take(path: Path, small: Path, future: object) -> str:
    result = future.result()  # type: ignore[attr-defined]
    outcome = str(result.px512_reason or "ok") + (", optimised" if result.optimized else "")
    if small.exists() != (result.px512_reason is None):
        outcome = f"WRONG: {path.name} file and reason disagree"
    elif small.exists():
        image = pyvips.Image.new_from_file(str(small))
        if (image.width, image.height) != (512, 512):
            outcome = f"WRONG: {path.name} is not 512 x 512"
    path.unlink()
    small.unlink(missing_ok=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
