"""Rehearses a release of many posts: ``python -m benchmarks.scale FOLDER POSTS [POSTS ...] [--favorites 4]``.

A world with the site's shape is written, streaming: tags by Zipf, ids with gaps, pools, notes, favourites. The
real code brings it from an archive to a verified release, and a year later, with a tenth more posts, to a second one.
Files are links to some hundreds of templates of a few kilobytes, and what work on images would leave behind is written,
not measured. Each step runs in a process of its own, so its CPU time and its memory are its own. With two sizes or more
the exponent of each step is printed: 1 is linear. FOLDER keeps the table as ``scale.json``. With `--record`,
`plan` reckons with the largest size. With `--first-year` there is no second one, which takes half of the disk: 7 kB a
post instead of 11.
"""

import argparse
import hashlib
import json
import math
import os
import random
import resource
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.memory import peak_mib
from benchmarks.metadata import CHUNK_ROWS, YEAR, names_of_tags, posts_of
from danbooru_pipeline.consume.select import Selection
from danbooru_pipeline.consume.select import select as choose_posts
from danbooru_pipeline.images import ImageSettings
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.operate.rates import PATH, with_figures
from danbooru_pipeline.posts import encode_2021
from danbooru_pipeline.release import apply_snapshot, plan_snapshot, verify_release, write_manifest
from danbooru_pipeline.release.checksums import TREES
from danbooru_pipeline.release.compare import compare_releases
from danbooru_pipeline.release.reconstruct import reconstruct
from danbooru_pipeline.release.tree.archive import PRESET, write_tar_xz
from danbooru_pipeline.release_paths import metadata_folder
from danbooru_pipeline.sources import bring_posts, split_by_bucket
from danbooru_pipeline.sources.files import ArchiveSource
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger

THREADS = os.cpu_count() or 1
FINGERPRINT = ImageSettings().fingerprint()
NOW = datetime(2026, 1, 5, tzinfo=UTC)
#: One id in so many has no post.
GAP = 20
#: Posts of a template: each has up to two names in the store and in both releases, and ext4 allows 65,000.
LINKS = 9_000
_TREES = frozenset(tree.name for tree in TREES)
#: The second year has one post more for so many of the first.
MORE = 10


def make_world(folder: Path, year: int, posts: int, favorites: int) -> None:
    """Write the lines of a year. Those of the first year are in the second one, too: as links to its release."""
    tags = names_of_tags()
    lines = folder / f"world/{year}"
    lines.mkdir(parents=True)
    known = sorted((Layout(folder).release(YEAR) / metadata_folder(YEAR)).glob("posts*.json")) if year > YEAR else []
    for path in known:
        os.link(path, lines / path.name)
    first, last = (posts + 1, posts + posts // MORE) if year > YEAR else (1, posts)
    with (lines / f"posts{len(known):012d}.json").open("wb") as file:
        for start in range(first, last + 1, CHUNK_ROWS):
            table = in_year(posts_of(start, min(CHUNK_ROWS, last + 1 - start), last, tags), year)
            there = pa.array([id_ % GAP != 0 for id_ in table["id"].to_pylist()])
            file.write(encode_2021(table.filter(there)))
    write_side_tables(Layout(folder), year, last, favorites, names=tags[0])


def in_year(posts: pa.Table, year: int) -> pa.Table:
    """Posts of the first year, as late in another."""
    place = posts.schema.get_field_index("created_at")
    later = pc.add(posts["created_at"], pa.scalar(timedelta(days=365 * (year - YEAR))))
    return posts.set_column(place, posts.schema.field(place), later.cast(posts.schema.field(place).type))


def write_side_tables(layout: Layout, year: int, posts: int, favorites: int, *, names: list[str]) -> None:
    """The tables beside the posts, as `side_tables` leaves them."""
    tables: dict[str, Iterator[dict[str, Any]]] = {
        "tags": ({"id": str(n + 1), "name": name, "category": "0"} for n, name in enumerate(names)),
        "pools": (
            {"id": str(n), "name": f"pool_{n}", "category": "series", "post_ids": [str(n * 100 + k) for k in range(20)]}
            for n in range(1, posts // 100)
        ),
        "notes": ({"id": str(n), "post_id": str(n * 30), "body": "a note"} for n in range(1, posts // 30)),
        "favorites": (
            {"id": str(n), "user_id": str(n * 7919 % 500_000), "post_id": str(n % posts + 1)}
            for n in range(posts * favorites)
        ),
    }
    reports = {}
    for name, rows in tables.items():
        path = layout.side_table(year, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
        reports[name] = {"rows": 1, "status": "ok"}
    write_atomic(layout.side_tables_report(year), json.dumps({"tables": reports}).encode())


def lay_files(folder: Path, year: int) -> None:
    """Put files into the store, and ledgers as work on buckets leaves them."""
    layout = Layout(folder)
    count = max(200, int(pq.read_metadata(layout.posts(YEAR)).num_rows) // LINKS)
    templates = [make_template(folder / "templates" / f"{number}.jpg", number) for number in range(count)]
    for bucket in BUCKETS:
        slice_ = layout.posts_bucket(year, bucket)
        if not slice_.exists():
            continue
        known = read_ledger(layout.ledger(bucket))
        table = pq.read_table(slice_, columns=["id", "md5", "rating"])
        for parent in (layout.original_bucket(bucket), layout.px512_bucket(bucket)):
            parent.mkdir(parents=True, exist_ok=True)
        for post in table.filter(pc.invert(pc.is_in(table["id"], pa.array(list(known), pa.int64())))).to_pylist():
            known[post["id"]] = lay_post(layout, post, templates[post["id"] % count], year)
        write_ledger(layout.ledger(bucket), known.values())


def make_template(path: Path, number: int) -> tuple[Path, str, int]:
    """A file with its SHA-256 and its size."""
    data = random.Random(number).randbytes(1_500 + number % 2_000)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest(), len(data)


def lay_post(layout: Layout, post: dict[str, Any], template: tuple[Path, str, int], year: int) -> LedgerRow:
    """Link the files of a post, and return its row."""
    path, digest, size = template
    os.link(path, layout.original(post["id"], "jpg"))
    about: dict[str, Any] = {}
    if post["rating"] == "s":
        os.link(path, layout.px512(post["id"]))
        unlike = hashlib.sha512(str(post["id"]).encode()).digest()  # no two posts are duplicates
        about = {"px512_dhash": unlike[:32], "px512_phash": unlike[32:], "px512_settings": FINGERPRINT}
        about |= {"px512_size": size, "px512_sha256": digest, "px512_background": "white"}
    return LedgerRow(
        id=post["id"], md5=post["md5"], ext="jpg", size=size, sha256=digest, source_size=size, fetched_md5=post["md5"],
        file_type="jpg", width=96, height=96, pages=1, first_release=year, **about,
    )  # fmt: skip


def bring(folder: Path, year: int) -> None:
    """Bring the posts of a year."""
    source = ArchiveSource(folder / f"world/{year}", cdn_url="https://cdn.donmai.us")
    bring_posts(source, Layout(folder), year, now=NOW, progress=lambda _line: None)


def snapshot(folder: Path, year: int) -> None:
    """Make the release."""
    plan = plan_snapshot(Layout(folder), year, image_settings={"px512_quality": 90})
    apply_snapshot(plan, created_at=NOW, threads=THREADS)


def verify(folder: Path, year: int) -> None:
    """Verify everything by content."""
    report = verify_release(Layout(folder).release(year), full=True, threads=THREADS)
    assert report.ok, report.lines()[:5]


def changes(folder: Path, year: int) -> None:
    """Compare two years."""
    layout = Layout(folder)
    compare_releases(layout.release(year - 1), layout.release(year), threads=THREADS)


def select(folder: Path, year: int) -> None:
    """Find the posts with two frequent tags that are not explicit."""
    names = names_of_tags()[0]
    release = Layout(folder).release(year)
    selection = Selection(search=f"{names[0]} {names[1]} -rating:e")
    for _ in choose_posts(release, selection, threads=THREADS):
        pass


def years(work: Callable[[Path, int], object], year: int) -> Callable[[Path], object]:
    """A step of one year."""
    return lambda folder: work(folder, year)


def manifest(folder: Path, year: int) -> None:
    """Make the manifest."""
    write_manifest(Layout(folder), year, px512_settings=FINGERPRINT)


def split(folder: Path, year: int) -> None:
    """Split the posts by bucket."""
    split_by_bucket(Layout(folder), year)


STEPS: dict[str, Callable[[Path], object]] = {
    **{f"{work.__name__} {YEAR}": years(work, YEAR) for work in (bring, split, lay_files, manifest, snapshot, verify)},
    **{f"{work.__name__} {YEAR + 1}": years(work, YEAR + 1) for work in (bring, split, lay_files, manifest, snapshot)},
    "changes": years(changes, YEAR + 1),
    "reconstruct": lambda folder: reconstruct(YEAR, Layout(folder).release(YEAR + 1)),
    f"select {YEAR}": years(select, YEAR),
    f"select {YEAR + 1}": years(select, YEAR + 1),
}
FIRST_YEAR = [step for step in STEPS if step.endswith(f" {YEAR}")]


def run_here(step: str, folder: Path) -> dict[str, float]:
    """Run a step in this process."""
    (size, inodes), began, wall = _disk(folder), _cpu(), time.perf_counter()
    STEPS[step](folder)
    spent = {"cpu": _cpu() - began, "wall": time.perf_counter() - wall, "mib": peak_mib()}
    after, then = _disk(folder)
    return spent | {"mb": (after - size) / 1e6, "inodes": then - inodes}


def _disk(folder: Path) -> tuple[int, int]:
    """Bytes and inodes below a folder; images are names of templates and count nothing, others count once."""
    size, inodes, linked = 0, 0, set()
    for parent, folders, files in _beside_images(folder):
        for facts in (os.lstat(f"{parent}/{name}") for name in (*folders, *files)):
            if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
                if facts.st_ino in linked:
                    continue
                linked.add(facts.st_ino)
            size, inodes = size + facts.st_blocks * 512, inodes + 1
    return size, inodes


def _beside_images(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, but not into buckets: twenty million names take longer to walk than to verify."""
    for parent, folders, files in os.walk(folder):
        yield parent, folders, files
        if Path(parent).name in _TREES:
            folders.clear()


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def run(step: str, folder: Path, *, xz_level: int) -> dict[str, float]:
    """Run a step in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scale", str(folder), "--step", step, "--xz-level", str(xz_level)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def rehearse(
    folder: Path, posts: int, favorites: int, *, steps: list[str], xz_level: int
) -> dict[str, dict[str, float]]:
    """The steps at one size; a year's world is there while it is brought, and the releases to the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    found = {}
    for step in steps:
        if step.startswith(bring.__name__):
            make_world(folder, int(step.split()[1]), posts, favorites)
        found[step] = cost = run(step, folder, xz_level=xz_level)
        shutil.rmtree(folder / "world", ignore_errors=True)
        print(
            f"{posts:,} {step}: {cost['cpu']:.1f} CPU s, {cost['wall']:.1f} s, {cost['mib']:.0f} MiB, "
            f"{cost['mb']:+.0f} MB, {cost['inodes']:+,.0f} inodes",
            flush=True,
        )
    found["metadata"] = {"bytes": metadata_bytes(Layout(folder).release(YEAR))}
    shutil.rmtree(folder)
    return found


def metadata_bytes(release: Path) -> int:
    """Bytes of all that a release has beside images."""
    return sum((Path(parent) / name).stat().st_size for parent, _, names in _beside_images(release) for name in names)


def figures(found: dict[str, dict[str, float]], posts: int) -> dict[str, float]:
    """What `plan` reckons with, of one size."""
    steps = [found[f"{work.__name__} {YEAR}"] for work in (bring, split, manifest, snapshot, verify)]
    return {
        "metadata_bytes_per_post": round(found["metadata"]["bytes"] / posts),
        "release_cpu_seconds_per_post": float(f"{sum(step['cpu'] for step in steps) / posts:.3g}"),
    }


def table(found: dict[int, dict[str, dict[str, float]]]) -> str:
    """The costs as Markdown, with the exponent between the smallest and the largest size."""
    sizes = sorted(found)
    head = ["step", *(f"{size:,}: CPU s, MiB" for size in sizes), "exponent"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for step in (step for step in STEPS if step in found[sizes[0]]):
        cells = [f"{found[size][step]['cpu']:.1f}, {found[size][step]['mib']:.0f}" for size in sizes]
        first, last = (max(found[size][step]["cpu"], 0.01) for size in (sizes[0], sizes[-1]))
        slope = f"{math.log(last / first) / math.log(sizes[-1] / sizes[0]):.2f}" if len(sizes) > 1 else ""
        lines.append(f"| {' | '.join([step, *cells, slope])} |")
    return "\n".join(lines)


def main() -> None:
    """Rehearse each size, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("posts", type=int, nargs="*")
    parser.add_argument("--favorites", type=int, default=4, help="a post; the site has some 40")
    parser.add_argument("--record", action="store_true", help="let `plan` reckon with what was measured")
    parser.add_argument("--xz-level", type=int, default=PRESET, help="of the archive; its cost is that of its bytes")
    parser.add_argument("--first-year", action="store_true", help="no second year")
    parser.add_argument("--step", choices=STEPS)
    options = parser.parse_args()
    if options.step:
        assert write_tar_xz.__kwdefaults__
        write_tar_xz.__kwdefaults__["preset"] = options.xz_level
        print(json.dumps(run_here(options.step, options.folder)))
        return
    steps = FIRST_YEAR if options.first_year else list(STEPS)
    found = {
        size: rehearse(options.folder / str(size), size, options.favorites, steps=steps, xz_level=options.xz_level)
        for size in options.posts
    }
    (options.folder / "scale.json").write_text(json.dumps(found, indent=1))
    print(table(found))
    if options.record:
        write_atomic(PATH, with_figures(figures(found[max(found)], max(found))))


if __name__ == "__main__":
    main()
