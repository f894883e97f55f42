"""Measures releases: ``python -m benchmarks.release FOLDER [--files 200000] [--kilobytes 5] [--images]``.

Three comparisons, each within one run: linking against ``cp -al``, full verification against ``sha256sum`` with equally
many processes, and the build of a second year with 10 % more posts against the first. With ``--images`` a build is
everything after the download: files in the store are inspected, optimised, shrunk to 512px, reconciled, linked and
verified. Without it, ledgers and 512px images are prepared, and only the release is measured.
"""

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import md5, sha256
from pathlib import Path

import msgspec
import pyvips

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.images import ImageSettings
from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.layout import BUCKETS, Layout, bucket_of
from danbooru_pipeline.posts import PostRow, posts_table, write_posts
from danbooru_pipeline.release import apply_snapshot, plan_snapshot, verify_release, write_manifest
from danbooru_pipeline.release.tree.content import store_content
from danbooru_pipeline.release.tree.staging import Staging
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import split_by_bucket
from danbooru_pipeline.store.buckets import for_each_bucket
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512

THREADS = os.cpu_count() or 1
FINGERPRINT = ImageSettings().fingerprint()
_BASES = 400
_TAGS = [f"tag_{number}_of_some_length" for number in range(3000)]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a call: wall seconds, and CPU seconds of this process and its children."""

    wall: float
    cpu: float


def measure(work: Callable[[], object]) -> Cost:
    """Call it and measure."""
    began, cpu = time.perf_counter(), _cpu()
    work()
    return Cost(time.perf_counter() - began, _cpu() - cpu)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def pictures() -> list[bytes]:
    """Small JPEGs of noise; each file gets its own comment, so that no two are equal."""
    made = []
    for seed in range(_BASES):
        noise = pyvips.Image.gaussnoise(96, 96, mean=128, sigma=40, seed=seed).cast("uchar")
        made.append(bytes(noise.bandjoin([noise.rot90(), noise.rot180()]).jpegsave_buffer(Q=80)))
    return made


def padding(kilobytes: int) -> bytes:
    """JPEG comments that add up to that many KiB, in steps of 64."""
    return b"".join(b"\xff\xfe\xff\xff" + os.urandom(2**16 - 3) for _ in range(kilobytes // 64))


def add_posts(layout: Layout, bases: list[bytes], ids: range, more: bytes = b"") -> list[PostRow]:
    """Put files into the store and return their posts; each file contains `more`."""
    dice = random.Random(ids.start)
    rows: list[PostRow] = []
    for id_ in ids:
        comment = f"post {id_}".encode()
        base = bases[id_ % len(bases)]
        data = base[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + more + base[2:]
        path = layout.original(id_, "jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        tags = " ".join(dice.sample(_TAGS, 30))
        digest = md5(data, usedforsecurity=False).hexdigest()
        rows.append(
            {
                "id": id_,
                "created_at": datetime(2020, 5, 4, tzinfo=UTC),
                "md5": digest,
                "file_ext": "jpg",
                "file_size": len(data),
                "rating": "sssq"[id_ % 4],
                "file_url": f"https://cdn.example.org/original/{digest}.jpg",
                "tag_string": tags,
                "tag_string_general": tags,
            }
        )
    return rows


def save_posts(layout: Layout, year: int, rows: list[PostRow]) -> None:
    """Write posts as a sweep leaves them."""
    with atomic_file(layout.posts(year)) as file:
        write_posts(posts_table(rows), file)
    source = {"name": "benchmark", "rows": len(rows), "rejected": 0, "sha256": f"{year} {len(rows)}"}
    write_atomic(layout.posts_report(year), msgspec.json.encode({"source": source}))


def lay_ledgers(layout: Layout, rows: list[PostRow], *, settings: str) -> None:
    """Write ledgers and 512px images as work on buckets leaves them, without doing that work."""
    by_bucket: dict[str, list[LedgerRow]] = {}
    for row in rows:
        data = layout.original(row["id"], "jpg").read_bytes()
        ledger = LedgerRow(
            id=row["id"],
            md5=row["md5"],
            ext="jpg",
            size=len(data),
            sha256=sha256(data).hexdigest(),
            source_size=len(data),
            fetched_md5=row["md5"],
            file_type="jpg",
            width=96,
            height=96,
            pages=1,
            first_release=2021,
        )
        if row["rating"] == "s":
            small = layout.px512(row["id"])
            small.parent.mkdir(parents=True, exist_ok=True)
            small.write_bytes(data + data)
            digest = sha256(data + data).hexdigest()
            # No two pictures are alike, so the search for duplicates has nothing but its cost.
            hashes = {"px512_dhash": bytes.fromhex(digest), "px512_phash": sha256(digest.encode()).digest()}
            made = {"px512_sha256": digest, "px512_settings": settings, "px512_background": "white"}
            ledger = replace(ledger, px512_size=2 * len(data), **made, **hashes)
        by_bucket.setdefault(bucket_of(row["id"]), []).append(ledger)
    for bucket, ledgers in by_bucket.items():
        write_ledger(layout.ledger(bucket), [*read_ledger(layout.ledger(bucket)).values(), *ledgers])


def build(root: Path, year: int, *, images_too: bool) -> dict[str, Cost]:
    """Build a year from existing posts and files."""
    settings = Settings(root=root, api_url="http://127.0.0.1:1", cdn_url="http://127.0.0.1:1")
    layout = Layout(root)
    options = {"png_level": 2, "px512_quality": 90}
    costs: dict[str, Cost] = {"split": measure(lambda: split_by_bucket(layout, year))}

    def images() -> None:
        with RunContext(settings) as context:  # its workers are waited for, so that their time counts

            def bucket(name: str) -> None:
                build_originals(context, name, year)
                build_px512(context, name, year)

            for finished in for_each_bucket(bucket, BUCKETS):
                if finished.error is not None:
                    raise finished.error

    def snapshot() -> None:
        plan = plan_snapshot(layout, year, image_settings=options)
        apply_snapshot(plan, created_at=datetime.now(UTC), threads=THREADS)

    if images_too:
        costs["images"] = measure(images)
    costs["manifest"] = measure(lambda: write_manifest(layout, year, px512_settings=FINGERPRINT))
    costs["snapshot"] = measure(snapshot)
    return costs


def compare_links(layout: Layout, rounds: int) -> None:
    """Link all images as a snapshot does and with ``cp -al``, alternating; then write their lists."""
    ours: list[Cost] = []
    theirs: list[Cost] = []
    lists: list[Cost] = []
    content = store_content(layout, 2021, earlier=None)
    copy = layout.root / "cp"
    command = ["cp", "-al", str(layout.store / "original"), str(layout.store / "512px"), str(copy)]

    def copied() -> int:
        copy.mkdir()
        theirs.append(measure(lambda: subprocess.run(command, check=True)))
        files = sum(len(names) for _, _, names in os.walk(copy))
        shutil.rmtree(copy)
        return files

    for number in range(rounds):
        if number % 2:  # who comes first pays for what was removed before
            copied()
        work = Staging(layout.root / f"links-{number}", content, year=2021, threads=THREADS)
        ours.append(measure(work.link_images))
        lists.append(measure(work.write_lists))
        shutil.rmtree(work.folder)
        if not number % 2:
            files = copied()
    say_pair(f"links of {files:,} files", ours, theirs)
    say("lists of these files", {"sums and names": _median(lists)})


def compare_verify(folder: Path, rounds: int) -> None:
    """Verify everything by content, and with ``sha256sum -c`` in as many processes, alternating."""
    ours: list[Cost] = []
    theirs: list[Cost] = []
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    images = f"find checksums -name '*.sha256' -print0 | xargs -0 -n 20 -P {THREADS} sha256sum --quiet -c"
    documents = f"cut -c 67- SHA256SUMS | tr '\\n' '\\0' | xargs -0 -n 20 -P {THREADS} sha256sum > /dev/null"
    command = f"{images} && {documents}"
    for _ in range(rounds):
        ours.append(measure(lambda: verify_release(folder, full=True, threads=THREADS)))
        theirs.append(measure(lambda: subprocess.run(["sh", "-c", command], cwd=folder, check=True)))
    say_pair(f"verify --full of {size / 2**20:,.0f} MiB", ours, theirs)


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))


def main() -> None:
    """Print the raw measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--kilobytes", type=int, default=5, help="size of an original; the smallest is 5")
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    layout = Layout(options.folder)
    if layout.root.exists():
        sys.exit(f"{layout.root} is there already; give a folder that is not")
    bases = pictures()
    more = padding(options.kilobytes)
    rows = add_posts(layout, bases, range(1, options.files + 1), more)
    save_posts(layout, 2021, rows)
    if not options.images:
        lay_ledgers(layout, rows, settings=FINGERPRINT)
    first = build(layout.root, 2021, images_too=options.images)
    say("2021", first)
    compare_links(layout, options.rounds)
    compare_verify(layout.release(2021), options.rounds)
    new = add_posts(layout, bases, range(options.files + 1, options.files * 11 // 10 + 1), more)
    save_posts(layout, 2022, [*rows, *new])
    if not options.images:
        lay_ledgers(layout, new, settings=FINGERPRINT)
    second = build(layout.root, 2022, images_too=options.images)
    say("2022", second)
    ratio = sum(c.cpu for c in second.values()) / sum(c.cpu for c in first.values())
    print(f"2022 after 2021, CPU seconds: {ratio:.3f} of the first build")


def say(title: str, costs: dict[str, Cost]) -> None:
    """Print the costs of a build."""
    for name, cost in costs.items():
        print(f"{title} {name}: {cost.wall:.1f} s, {cost.cpu:.1f} CPU s", flush=True)


def say_pair(title: str, ours: list[Cost], theirs: list[Cost]) -> None:
    """Print the medians of two costs, and our speed relative to theirs."""
    mine, other = _median(ours), _median(theirs)
    print(
        f"{title}: ours {mine.wall:.2f} s, {mine.cpu:.2f} CPU s; theirs {other.wall:.2f} s, {other.cpu:.2f} CPU s; "
        f"speed {other.wall / mine.wall:.2f} by the clock, {other.cpu / mine.cpu:.2f} by CPU",
        flush=True,
    )


if __name__ == "__main__":
    main()
