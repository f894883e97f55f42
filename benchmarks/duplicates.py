"""The search for duplicates at the size of the site: CPU, memory, and whether every planted pair is found.

    python -m benchmarks.duplicates FOLDER [--posts 5000000]

Posts and manifest are made in FOLDER (1 GB at 5 M posts), then searched by a process of its own, whose CPU time and
peak memory are printed. Hashes are no uniform noise, which would be easy: dHashes come from smooth random brightness,
of which two in five are on a white page; half of the pHashes are variations of 2,000. Artists have as many posts as on
the site, so that about 1.4 G pairs are compared within them. One post in fifty is planted near another one.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import peak_mib
from danbooru_pipeline.release.tables.duplicates.find import find_duplicates
from danbooru_pipeline.release.tables.duplicates.pictures import Tables
from danbooru_pipeline.release.tables.duplicates.rules import is_plain

BLOCK = 100_000
WHITE_PAGES = 0.4
Bits = npt.NDArray[np.uint8]


def dhashes(chance: np.random.Generator, count: int) -> Bits:
    """Packed dHashes of smooth pictures."""
    fine = chance.standard_normal((count, 16, 17), np.float32)
    coarse = chance.standard_normal((count, 5, 5), np.float32).repeat(4, axis=1)[:, 2:18].repeat(4, axis=2)[:, :, 1:18]
    # A moving average spreads both, as the bright and dark parts of a picture do.
    light = 2.5 * coarse + fine
    for axis in (1, 2):
        light = light + np.roll(light, 1, axis) + np.roll(light, -1, axis)
    light = np.rint(10 * light)
    y, x = np.mgrid[-1:1:16j, -1:1:17j].astype(np.float32)
    sizes = chance.uniform(0.65, 1.2, (2, count, 1, 1)).astype(np.float32)
    outside = (y / sizes[0]) ** 2 + (x / sizes[1]) ** 2 > 1
    outside &= (chance.random(count) < WHITE_PAGES)[:, None, None]
    light[outside] = 255
    return np.packbits(light[:, :, 1:] > light[:, :, :-1]).reshape(count, 32)


def phashes(chance: np.random.Generator, count: int, prototypes: Bits) -> Bits:
    """Packed pHashes: half at random, half with a fifth of the bits of a prototype turned over."""
    made = chance.integers(0, 256, (count, 32), np.uint8)
    a, b, c = (chance.integers(0, 256, (count // 2, 32), np.uint8) for _ in range(3))
    made[: count // 2] = prototypes[chance.integers(0, len(prototypes), count // 2)] ^ (a & b & (c | ~a))
    return made


def moved(chance: np.random.Generator, hashes: Bits, most: int) -> Bits:
    """Hashes with at most so many bits turned over."""
    bits = np.unpackbits(hashes, axis=1)
    ranks = chance.random(bits.shape).argsort(axis=1)
    bits ^= (ranks < chance.integers(0, most + 1, (len(bits), 1))).astype(np.uint8)
    return np.packbits(bits, axis=1)


def make(folder: Path, posts: int) -> npt.NDArray[np.int64]:
    """Write posts and manifest. Returns the planted pairs: ids, 2 × pairs."""
    chance = np.random.default_rng(2021)
    prototypes = chance.integers(0, 256, (2_000, 32), np.uint8)
    dhash = np.concatenate([dhashes(chance, min(BLOCK, posts - n)) for n in range(0, posts, BLOCK)])
    phash = np.concatenate([phashes(chance, min(BLOCK, posts - n), prototypes) for n in range(0, posts, BLOCK)])
    # 1 to 9,000 posts an artist; the exponent gives the site's number of pairs at 5 M posts.
    artists = np.minimum(chance.pareto(1.6, posts) * 16 + 1, 9_000).astype(np.int64)
    artist = np.repeat(np.arange(posts), artists)[:posts]
    artist = artist[chance.permutation(posts)]
    chosen = chance.permutation(posts)[: posts // 50 * 2]
    old, new = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    third = len(old) // 3
    for part, limits, same in (
        (slice(0, third), (7, 60), False),
        (slice(third, 2 * third), (35, 11), False),
        (slice(2 * third, None), (40, 90), True),
    ):
        a, b = old[part], new[part]
        dhash[b], phash[b] = moved(chance, dhash[a], limits[0]), moved(chance, phash[a], limits[1])
        if same:
            artist[b] = artist[a]
    plain = is_plain(*(hashes.view("<u8").T for hashes in (dhash, phash)))
    kept = ~(plain[old] | plain[new])  # pictures without content are not compared, wherever they are
    old, new = old[kept], new[kept]
    write(folder, dhash, phash, artist, chance)
    counts = np.bincount(artist)
    print(f"{posts:,} posts; {int((counts * (counts - 1) // 2).sum()):,} pairs within artists; {len(old):,} planted")
    sample = chance.integers(0, posts, (2, 100_000))
    for name, hashes in (("dHash", dhash), ("pHash", phash)):
        apart = np.bitwise_count(hashes[sample[0]] ^ hashes[sample[1]]).sum(axis=1)
        print(f"{name} of two pictures: median {np.median(apart):.0f}, standard deviation {apart.std():.0f}")
    return np.sort(np.stack([old, new]), axis=0) + 1


def write(folder: Path, dhash: Bits, phash: Bits, artist: npt.NDArray[np.int64], chance: np.random.Generator) -> None:
    """Write the columns that the search reads, a block at a time."""
    posts = len(dhash)
    pixiv = np.where(chance.random(posts) < 0.4, chance.integers(1, posts, posts), 0)
    parent = np.where(chance.random(posts) < 0.12, np.arange(posts), 0)  # the post before
    with (
        pq.ParquetWriter(folder / "posts.parquet", POSTS, compression="zstd") as about,
        pq.ParquetWriter(folder / "files.parquet", FILES, compression="zstd", use_dictionary=False) as files,
    ):
        for start in range(0, posts, BLOCK):
            part = slice(start, min(start + BLOCK, posts))
            ids = np.arange(part.start, part.stop) + 1
            names = pa.array([f"artist_{number}" for number in artist[part].tolist()])
            relations = [pa.array(values[part], mask=values[part] == 0) for values in (parent, pixiv)]
            about.write_table(pa.Table.from_arrays([pa.array(ids), names, *relations], schema=POSTS))
            sides = [pa.array(np.full(len(ids), side, np.int32)) for side in (1200, 900)]
            turned = pa.nulls(len(ids), pa.int8())
            pixels = pa.array([bytes(row).hex() for row in chance.integers(0, 256, (len(ids), 16), np.uint8)])
            hashes = [
                pa.FixedSizeBinaryArray.from_buffers(HASH, len(ids), [None, pa.py_buffer(h[part].tobytes())])
                for h in (dhash, phash)
            ]
            files.write_table(pa.Table.from_arrays([pa.array(ids), pixels, *sides, turned, *hashes], schema=FILES))


HASH = pa.binary(32)
POSTS = pa.schema(
    [("id", pa.int64()), ("tag_string_artist", pa.string()), ("parent_id", pa.int64()), ("pixiv_id", pa.int64())]
)
FILES = pa.schema(
    [
        *(("id", pa.int64()), ("pixel_hash", pa.string()), ("width", pa.int32()), ("height", pa.int32())),
        *(("orientation", pa.int8()), ("px512_dhash", HASH), ("px512_phash", HASH)),
    ]
)


def search(folder: Path) -> None:
    """Search in this process, and print what it took. The pairs go to a file."""
    began, at = time.process_time(), time.monotonic()
    table = find_duplicates(Tables.of([folder / "posts.parquet"], [folder / "files.parquet"]))
    cpu, wall = time.process_time() - began, time.monotonic() - at
    peak = peak_mib()
    pq.write_table(table, folder / "found.parquet")
    kinds = {row["values"]: row["counts"] for row in table["kind"].value_counts().to_pylist()}
    print("\n| pairs found | CPU s | seconds | peak MB |\n|---:|---:|---:|---:|")
    print(f"| {table.num_rows:,} | {cpu:.1f} | {wall:.1f} | {peak:.0f} |")
    print(f"\n{kinds}; {sum(table['unlinked'].to_pylist()):,} unlinked")


def main() -> int:
    """Make, search in a child, compare with what was planted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--posts", type=int, default=5_000_000)
    parser.add_argument("--search", action="store_true", help="only search what is there")
    chosen = parser.parse_args()
    if chosen.search:
        search(chosen.folder)
        return 0
    chosen.folder.mkdir(parents=True, exist_ok=True)
    planted = make(chosen.folder, chosen.posts)
    subprocess.run([sys.executable, "-m", "benchmarks.duplicates", str(chosen.folder), "--search"], check=True)
    table = pq.read_table(chosen.folder / "found.parquet", columns=["a", "b"])
    found = table["a"].to_numpy() << 32 | table["b"].to_numpy()
    missed = int(np.count_nonzero(~np.isin(planted[0] << 32 | planted[1], found)))
    print(f"planted pairs that were missed: {missed:,}; pairs found beside them: {len(found) - planted.shape[1]:,}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
