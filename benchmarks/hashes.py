"""Perceptual hashes: which edits of a picture they survive, how far apart unrelated pictures are, and what they cost.

    python -m benchmarks.hashes [FOLDER] [--pictures 150] [--show FILE]

Pictures are drawn by the demo; a FOLDER of real ones is measured as a second set. Each picture and each of its edits
goes the way of an upload: a file, inspected, shrunk to 512px, hashed. A pair counts by the rules of the table of
duplicates. Pictures with hardly anything in them, which those rules leave out, are counted and left out here, too.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
import pyvips
from PIL import Image, ImageDraw

from danbooru_pipeline.demo.art.pictures import draw_picture
from danbooru_pipeline.demo.art.scenes import choose_scene
from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image
from danbooru_pipeline.images.hashes import hash_picture
from danbooru_pipeline.release.tables.duplicates.rules import (
    ANYWHERE_DHASH,
    ANYWHERE_PHASH,
    Words,
    bits_of,
    is_near,
    is_plain,
    kinds_of,
)

pyvips.concurrency_set(1)
pyvips.cache_set_max(0)
LONGEST = 800
WHITE = [255, 255, 255]


@dataclass(frozen=True, slots=True)
class Hashed:
    """The hashes of a picture as columns of words, and its width and height."""

    dhash: Words
    phash: Words
    sides: tuple[int, int]


def edits(image: pyvips.Image) -> Iterator[tuple[str, pyvips.Image]]:
    """What uploaders, sites and readers do to a picture."""
    width, height = image.width, image.height

    def part(left: float, top: float, right: float, bottom: float) -> tuple[int, int, int, int]:
        x, y = int(left * width), int(top * height)
        return x, y, max(8, int(right * width) - x), max(8, int(bottom * height) - y)

    yield "resized to 40 %", image.resize(0.4)
    yield "JPEG of quality 40", recompressed(image, 40)
    yield "resized to 50 %, quality 60", recompressed(image.resize(0.5), 60)
    yield "greyscale", image.colourspace("b-w").colourspace("srgb")
    yield "hue turned by 60°", image.colourspace("lch").linear([1, 1, 1], [0, 0, 60]).colourspace("srgb")
    yield "15 % brighter", clipped(image.linear(1.15, 6))
    text = pyvips.Image.text("(C) sample 2024", width=max(60, width // 3), dpi=max(72, width // 6))
    text = text.crop(0, 0, min(text.width, width - 8), min(text.height, height - 8))
    mark = clipped(text.ifthenelse(WHITE, [20, 20, 20], blend=True))
    yield "watermark", image.draw_image(mark, width - text.width - 4, height - text.height - 4)
    x, y, w, h = part(0.35, 0.45, 0.65, 0.7)
    blocks = image.crop(x, y, w, h).resize(1 / 16).resize(16, kernel="nearest")
    yield "mosaic on 7.5 %", image.insert(blocks.crop(0, 0, min(w, blocks.width), min(h, blocks.height)), x, y)
    yield "speech bubble on 5.6 %", image.draw_rect(WHITE, *part(0.05, 0.05, 0.33, 0.25), fill=True)
    yield "2 % cropped on each side", image.crop(*part(0.02, 0.02, 0.98, 0.98))
    yield "5 % cropped at the top", image.crop(*part(0, 0.05, 1, 1))
    yield (
        "white border of 4 %",
        image.embed(int(0.04 * width), int(0.04 * height), int(1.08 * width), int(1.08 * height), extend="white"),
    )
    yield "10 % cropped on each side", image.crop(*part(0.1, 0.1, 0.9, 0.9))
    yield "mirrored", image.fliphor()


def recompressed(image: pyvips.Image, quality: int) -> pyvips.Image:
    """The picture as a JPEG shows it."""
    return pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality), "")


def clipped(image: pyvips.Image) -> pyvips.Image:
    """A computed picture as one of 8 bits."""
    return image.cast("uchar").copy(interpretation="srgb")


def hashed(image: pyvips.Image) -> Hashed:
    """A picture's hashes as a job computes them."""
    data = image.pngsave_buffer(compression=1)
    made = downscale_image(data, inspect_image(data))
    if not isinstance(made, Downscaled):
        raise SystemExit(f"a picture gave {made}")
    return Hashed(*(words(hash_) for hash_ in (made.hashes.dhash, made.hashes.phash)), (image.width, image.height))


def words(hash_: bytes) -> Words:
    """A hash as a column."""
    return np.frombuffer(hash_, "<u8").astype(np.uint64).reshape(4, 1)


def drawn(count: int) -> Iterator[tuple[str, pyvips.Image]]:
    """Pictures of the demo."""
    for number in range(count):
        dice = Random(number)
        yield f"{number}", draw_picture(choose_scene(16, number), dice, width=700, height=dice.choice([500, 700, 900]))


def real(folder: Path, count: int) -> Iterator[tuple[str, pyvips.Image]]:
    """Pictures of a folder, chosen at random, as they look on white; small and unreadable ones are passed over."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in {".png", ".jpg", ".webp"})
    Random(2021).shuffle(paths)
    for path in paths:
        try:
            image = pyvips.Image.new_from_file(str(path))
            if min(image.width, image.height) < 200 or path.stat().st_size < 15_000 or image.format != "uchar":
                continue
            image = image.thumbnail_image(LONGEST, height=LONGEST, size="down").colourspace("srgb")
            image = (image.flatten(background=WHITE) if image.hasalpha() else image).copy_memory()
        except pyvips.Error:
            continue
        yield str(path), image
        count -= 1
        if not count:
            return


def report(pictures: Iterator[tuple[str, pyvips.Image]]) -> None:
    """Measure a set of pictures."""
    names, base = [], []
    outcomes: dict[str, list[tuple[int, int, bool, str]]] = defaultdict(list)
    plain = 0
    for name, image in pictures:
        whole = hashed(image)
        if is_plain(whole.dhash, whole.phash).any():
            plain += 1
            continue
        names.append(name)
        base.append(whole)
        for edit, edited in edits(image):
            outcomes[edit].append(compare(whole, hashed(edited)))
    print(f"{len(base)} pictures; {plain} more had hardly anything in them\n")
    print("| edit | dHash, median and 90 % | pHash | near, in % | found anywhere, in % | called, in % |")
    print("|---|---|---|---:|---:|---|")
    for edit, found in outcomes.items():
        dhash, phash = (np.array([each[n] for each in found]) for n in (0, 1))
        kinds = Counter(each[3] for each in found if each[3])
        called = ", ".join(f"{kind} {round(100 * n / len(found))}" for kind, n in kinds.most_common())
        near, anywhere = (round(100 * np.mean([bool(each[n]) for each in found])) for n in (3, 2))
        spans = [f"{np.median(each):.0f}, {np.quantile(each, 0.9):.0f}" for each in (dhash, phash)]
        print(f"| {edit} | {spans[0]} | {spans[1]} | {near} | {anywhere} | {called} |")
    unrelated(names, base)


def compare(one: Hashed, other: Hashed) -> tuple[int, int, bool, str]:
    """Both distances, whether the pair is found wherever the two are, and its kind; no kind if it is not near."""
    difference = one.dhash ^ other.dhash
    dhash, phash = bits_of(difference), bits_of(one.phash ^ other.phash)
    near = bool(is_near(dhash, phash)[0])
    sides = np.array([one.sides, other.sides]).T[:, :, None]
    kind = str(kinds_of(difference, phash, sides=sides)[0]) if near else ""
    anywhere = near and (dhash[0] <= ANYWHERE_DHASH or phash[0] <= ANYWHERE_PHASH)
    return int(dhash[0]), int(phash[0]), bool(anywhere), kind


def show(target: Path) -> None:
    """Draw a picture beside its edits, each with its distances and what the pair is called."""
    ((_, image),) = islice(drawn(6), 5, 6)
    whole, side = hashed(image), 170
    shown = [("the picture", image, ""), *((edit, edited, caption(whole, edited)) for edit, edited in edits(image))]
    sheet = Image.new("RGB", (5 * side, 3 * (side + 30)), "white")
    for number, (edit, each, said) in enumerate(shown):
        left, top = number % 5 * side, number // 5 * (side + 30)
        small = Image.fromarray(each.thumbnail_image(side - 8, height=side - 8).numpy())
        sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))
        ImageDraw.Draw(sheet).text((left + 4, top + side), f"{edit}\n{said}", fill="black")
    sheet.save(target, quality=85)


def caption(whole: Hashed, edited: pyvips.Image) -> str:
    """The distances of an edit, and its kind."""
    dhash, phash, _, kind = compare(whole, hashed(edited))
    return f"dHash {dhash}, pHash {phash}: {kind or 'not near'}"


def unrelated(names: list[str], base: list[Hashed]) -> None:
    """Distances between different pictures, and the pairs that the rules would call duplicates."""
    pairs = [(i, j, compare(base[i], base[j])) for i in range(len(base)) for j in range(i)]
    dhash, phash = (sorted(found[n] for _, _, found in pairs) for n in (0, 1))
    print(
        f"\n{len(pairs):,} pairs of different pictures: dHash median {median(dhash):.0f}, least {dhash[:3]}; ", end=""
    )
    print(f"pHash median {median(phash):.0f}, least {phash[:3]}")
    near = [(names[i], names[j], found) for i, j, found in pairs if found[3]]
    print(f"near by the rules: {len(near)}, anywhere: {sum(found[2] for _, _, found in near)}")
    for one, other, (d, p, _, kind) in near[:12]:
        print(f"  {Path(one).name} and {Path(other).name}: dHash {d}, pHash {p}, {kind}")


def cost() -> None:
    """CPU time of both hashes, from 512px pixels in memory, beside that of the whole 512px image from a JPEG."""
    squares, files = [], []
    for _, image in drawn(20):
        small = image.thumbnail_image(512, height=512)
        square = Image.new("RGB", (512, 512), (255, 255, 255))
        square.paste(Image.fromarray(small.numpy()), ((512 - small.width) // 2, (512 - small.height) // 2))
        squares.append((square, small.width, small.height))
        files.append(image.jpegsave_buffer(Q=90))
    hashing, shrinking = [], []
    for _ in range(15):
        began = time.process_time()
        for square, width, height in squares:
            hash_picture(square, width=width, height=height)
        middle = time.process_time()
        for data in files:
            downscale_image(data, inspect_image(data))
        hashing.append((middle - began) / len(squares))
        shrinking.append((time.process_time() - middle) / len(files))
    print(f"both hashes: {1000 * median(hashing):.2f} CPU ms a picture (median of {len(hashing)} rounds), ", end="")
    print(f"in {1000 * median(shrinking):.1f} of the whole 512px image: {median(hashing) / median(shrinking):.0%}")


def main() -> int:
    """Measure drawn pictures, real ones, and the cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--pictures", type=int, default=150)
    parser.add_argument("--show", type=Path, metavar="FILE", help="only draw a picture and its edits")
    chosen = parser.parse_args()
    if chosen.show:
        show(chosen.show)
        return 0
    print("# Drawn by the demo\n")
    report(drawn(chosen.pictures))
    if chosen.folder:
        print("\n# The folder given\n")
        report(real(chosen.folder, chosen.pictures))
    print("\n# Cost\n")
    cost()
    return 0


if __name__ == "__main__":
    sys.exit(main())
