"""Measures the manifest: ``python -m benchmarks.manifest FOLDER [--rows 100000] [--buckets 20]``.

Makes posts, ledgers and tiny files of some full buckets, as a store of five million posts has them, and prints the CPU
time of `write_manifest` a row and the most memory that it took, in a process of its own. With ``--profile`` it prints
where the time goes.
"""

import argparse
import cProfile
import pstats
import statistics
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import md5, sha256
from pathlib import Path

from benchmarks.memory import peak_mib
from benchmarks.release import FINGERPRINT, measure, save_posts
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.release import write_manifest
from danbooru_pipeline.sources import split_by_bucket
from danbooru_pipeline.store.ledger import LedgerRow, write_ledger

DATA = b"x"


def make(layout: Layout, rows: int, buckets: int) -> None:
    """Write everything that the manifest is made from."""
    posts = []
    for bucket in range(buckets):
        (layout.original_bucket(BUCKETS[bucket])).mkdir(parents=True)
        (layout.px512_bucket(BUCKETS[bucket])).mkdir(parents=True)
        ledger = []
        for number in range(1, rows // buckets + 1):
            id_ = number * 1000 + bucket
            digest = md5(b"%d" % id_, usedforsecurity=False).hexdigest()
            tags = f"1girl tag_{id_ % 3000} tag_{id_ % 2999}"
            posts.append(
                {
                    "id": id_,
                    "created_at": datetime(2020, 5, 4, tzinfo=UTC),
                    "md5": digest,
                    "file_ext": "jpg",
                    "file_size": len(DATA),
                    "rating": "sssq"[number % 4],
                    "tag_string": tags,
                    "tag_string_general": tags,
                }
            )
            ledger.append(ledger_row(layout, id_, digest, small=number % 4 != 3))
        write_ledger(layout.ledger(BUCKETS[bucket]), ledger)
    save_posts(layout, 2021, sorted(posts, key=lambda post: post["id"]))
    split_by_bucket(layout, 2021)


def ledger_row(layout: Layout, id_: int, digest: str, *, small: bool) -> LedgerRow:
    """The row of a post, whose files it writes."""
    layout.original(id_, "jpg").write_bytes(DATA)
    content = sha256(b"%d" % id_)
    row = LedgerRow(
        id=id_,
        md5=digest,
        ext="jpg",
        size=len(DATA),
        sha256=content.hexdigest(),
        source_size=len(DATA),
        fetched_md5=digest,
        file_type="jpg",
        width=900,
        height=1200,
        pages=1,
        first_release=2021,
    )
    if not small:
        return row
    layout.px512(id_).write_bytes(DATA)
    hashes = {"px512_sha256": row.sha256, "px512_dhash": content.digest(), "px512_phash": content.digest()}
    return replace(row, px512_size=len(DATA), px512_settings=FINGERPRINT, **hashes)


def main() -> None:
    """Print the figures of some rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--buckets", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    layout = Layout(options.folder)
    if not layout.posts(2021).exists():
        make(layout, options.rows, options.buckets)
    if options.once:
        cost = measure(lambda: write_manifest(layout, 2021, px512_settings=FINGERPRINT))
        print(cost.cpu, peak_mib())
        return
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(write_manifest, layout, 2021, px512_settings=FINGERPRINT)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    found = []
    for _ in range(options.rounds):
        done = subprocess.run([sys.executable, *sys.argv, "--once"], capture_output=True, text=True, check=True)
        found.append(tuple(map(float, done.stdout.split())))
    micros = statistics.median(cpu for cpu, _ in found) / options.rows * 1e6
    print(f"manifest of {options.rows:,} rows: {micros:.1f} µs of CPU a row, {max(mib for _, mib in found):.0f} MiB")


if __name__ == "__main__":
    main()
