"""``store/follow/seen``: what the site showed of each post when it was followed, one small file for each step.

Written before the files of a step are fetched, and read again when a sweep is compared with it. A step that is repeated
after a crash adds the same rows once more; the last row of a post counts.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.damage import damage_named, set_aside
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import TIMESTAMP
from danbooru_pipeline.store.follow.plan import Seen

SEEN_SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        ("created_at", TIMESTAMP),
        ("md5", pa.string()),
        ("file_ext", pa.string()),
        ("is_deleted", pa.bool_()),
        ("is_banned", pa.bool_()),
        pa.field("is_expunged", pa.bool_(), nullable=False),
        pa.field("seen_at", TIMESTAMP, nullable=False),
    ]
)


def write_seen(layout: Layout, posts: Iterable[Seen], *, expunged: Collection[int] = (), now: datetime) -> None:
    """Add the posts of a step."""
    rows = [
        {
            "id": seen.post.id,
            "created_at": seen.created_at,
            "md5": seen.post.md5,
            "file_ext": seen.post.ext,
            "is_deleted": seen.is_deleted,
            "is_banned": seen.post.is_banned,
            "is_expunged": False,
            "seen_at": now,
        }
        for seen in posts
    ]
    rows += [{"id": id_, "is_expunged": True, "seen_at": now} for id_ in sorted(expunged)]
    if rows:
        parts = layout.follow_parts
        with atomic_file(layout.follow_part(int(parts[-1].stem) + 1 if parts else 1)) as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=SEEN_SCHEMA), file, compression="zstd")


def read_seen(layout: Layout) -> pa.Table:
    """The posts that were followed, by id, each as it was seen last."""
    table = pa.concat_tables([no_rows(SEEN_SCHEMA), *_tables(layout.follow_parts)]).combine_chunks()
    order = pc.sort_indices(
        table.append_column("row", pa.array(range(table.num_rows), pa.int64())),
        sort_keys=[("id", "ascending"), ("row", "ascending")],
    )
    ordered = table.take(order)
    ids = ordered["id"].combine_chunks()
    if len(ids) < 2:
        return ordered
    is_last = pa.concat_arrays([pc.not_equal(ids[:-1], ids[1:]), pa.array([True])])
    return ordered.filter(is_last)


def created_times(layout: Layout, ids: Collection[int]) -> dict[int, datetime]:
    """When posts were created, those of them that following saw; the latest where the site said several times."""
    wanted, found = pa.array(sorted(ids), pa.int64()), dict[int, datetime]()
    for table in _tables(layout.follow_parts) if ids else ():
        rows = table.filter(pc.and_(pc.is_in(table["id"], wanted), table["created_at"].is_valid()))
        for id_, at in zip(rows["id"].to_pylist(), rows["created_at"].to_pylist(), strict=True):
            found[id_] = max(at, found.get(id_, at))
    return found


def _tables(parts: Iterable[Path]) -> Iterator[pa.Table]:
    for part in parts:
        with contextlib.suppress(DamagedFile), damage_named(part):  # it only makes a figure; see `compare`
            yield pq.ParquetFile(part).read().cast(SEEN_SCHEMA)


def discard_decided(layout: Layout, *, created: datetime, seen: datetime) -> None:
    """Remove the parts that no later release needs.

    Args:
        layout: of the root.
        created: cutoff of a release that is published.
        seen: when the sweep of that release was made.
    """
    for part in layout.follow_parts:
        try:
            with damage_named(part):
                table = pq.ParquetFile(part).read(columns=["created_at", "seen_at"])
        except DamagedFile as damage:
            set_aside(part, damage.why)
            continue
        if _is_before(table["created_at"], created) and _is_before(table["seen_at"], seen):
            part.unlink()


def _is_before(times: pa.ChunkedArray, limit: datetime) -> bool:
    newest = pc.max(times).as_py()
    return newest is None or newest <= limit
