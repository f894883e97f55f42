"""A bucket's ledger that is lost or cannot be read is made again, from what is kept elsewhere in the root.

The manifests in ``metadata/YEAR`` are ledgers of the past: they have the facts of every file, its reason, and the
release that had it first. What is newer than the newest of them is adopted by its MD5, or fetched again. The 512px
images are made again, to the same bytes, since no manifest says with which settings they were made.
"""

import contextlib
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.damage import damage_named, set_aside
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import read_posts
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, with_tuples
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger

_KEPT: Final = ("id", "reason", "path", "source_md5", "source_pixel_hash", "first_release", *ORIGINAL_FACTS)


def ledger_or_recovered(layout: Layout, bucket: str) -> dict[int, LedgerRow]:
    """The rows of a bucket; a ledger that is damaged, or lost though there are files, is made again first.

    The caller holds the bucket's lock.
    """
    path = layout.ledger(bucket)
    try:
        if path.exists() or not layout.original_bucket(bucket).is_dir():
            return read_ledger(path)
    except DamagedFile as damage:
        set_aside(path, damage.why)
    rows = rows_of_manifests(layout, bucket)
    if rows:
        write_ledger(path, rows.values())
    return rows


def rows_of_manifests(layout: Layout, bucket: str) -> dict[int, LedgerRow]:
    """What the manifests of the root know of a bucket, by id; the newest counts. Damaged manifests are passed over."""
    rows: dict[int, LedgerRow] = {}
    gone = read_takedowns(layout).ids
    for year in layout.metadata_years:
        path = layout.manifest(year)
        if not path.is_file():
            continue
        with contextlib.suppress(DamagedFile):
            exts = _exts(layout, bucket, year)
            for record in _records(path, bucket):
                if record["id"] not in gone:
                    row = _row_from(record, ext=exts.get(record["id"]), year=year)
                    rows[row.id] = row
    return rows


def _records(path: Path, bucket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with damage_named(path):
        for table in read_batches(path):
            hits = table.filter(pc.equal(table["bucket"].cast(pa.string()), bucket))
            found += hits.select([name for name in _KEPT if name in hits.column_names]).to_pylist()
    return found


def _exts(layout: Layout, bucket: str, year: int) -> dict[int, str | None]:
    """Extensions in the metadata, which the manifest has only of files that are there."""
    return {post.id: post.ext for post in read_posts(layout.posts_bucket(year, bucket))}


def _row_from(record: dict[str, Any], *, ext: str | None, year: int) -> LedgerRow:
    held = record["path"].rpartition(".")[2] if record.get("path") else None
    facts = {name: record[name] for name in ORIGINAL_FACTS if held and record.get(name) is not None}
    known = with_tuples(facts) | {"px512_flags": ()}
    return LedgerRow(
        id=record["id"],
        md5=record["source_md5"],
        ext=ext or held,
        stored_ext=held if held and ext and held != ext else None,
        reason=Reason(record["reason"]) if record["reason"] else None,
        source_pixel_hash=record.get("source_pixel_hash"),
        first_release=record["first_release"],
        checked_release=year,
        **known,
    )
