"""What following missed: the posts of a release as its sweep shows them, against what following saw of them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources.sweep import last_sweep_before
from danbooru_pipeline.store.follow.seen import read_seen
from danbooru_pipeline.store.follow.state import find_state
from danbooru_pipeline.years import cutoff

_COLUMNS = ["id", "md5", "file_ext", "is_deleted", "is_banned"]
_SWEPT = pa.schema(
    [
        ("id", pa.int64()),
        ("md5", pa.string()),
        ("file_ext", pa.string()),
        ("is_deleted", pa.bool_()),
        ("is_banned", pa.bool_()),
        ("is_new", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What following missed of a release.

    Attributes:
        followed: posts of the release that following saw.
        posts: new posts of the release that it did not see.
        files: posts that have another file in the sweep.
        hidden: posts that were hidden or banned since, or are shown again.
        deleted: posts whose deletion, or return, it did not see.
        expunged: posts up to the cutoff that it saw, and the sweep does not have.
    """

    followed: int
    posts: int
    files: int
    hidden: int
    deleted: int
    expunged: int

    def as_numbers(self) -> dict[str, int]:
        """Name -> number, for Dagster."""
        return {f"following_{'saw' if name == 'followed' else f'missed_{name}'}": n for name, n in asdict(self).items()}

    def line(self) -> str:
        """For people."""
        missed = f"{self.posts:,} new posts, {self.files:,} other files, {self.hidden:,} hidden or shown"
        return (
            f"following saw {self.followed:,} posts of the release, and missed {missed}, {self.deleted:,} deleted or "
            f"restored, {self.expunged:,} expunged"
        )


def compare_with_sweep(layout: Layout, year: int) -> Missed | None:
    """Compare the sweep of a year with what following saw; None when it saw nothing, or there is no sweep."""
    state, seen = find_state(layout), read_seen(layout)
    if state is None or not seen.num_rows or not layout.posts(year).exists():
        return None
    swept = pa.concat_tables([no_rows(_SWEPT), *_swept(layout, year, start_id=state.start_id, known=seen["id"])])
    late = pc.and_kleene(pc.is_valid(seen["created_at"]), pc.greater(seen["created_at"], cutoff(year)))
    ours = seen.filter(pc.invert(late))
    both = swept.join(ours.select(_COLUMNS), "id", right_suffix="_seen", join_type="inner")
    in_sweep = pc.is_in(ours["id"], swept["id"].combine_chunks())
    known = pc.or_(in_sweep, ours["is_expunged"])
    new = swept.filter(swept["is_new"])
    return Missed(
        followed=both.num_rows,
        posts=int(pc.sum(pc.invert(pc.is_in(new["id"], ours["id"].combine_chunks()))).as_py() or 0),
        files=_count(_differ(both, "md5", "file_ext"), _visible(both, ""), _visible(both, "_seen")),
        hidden=_count(pc.not_equal(_visible(both, ""), _visible(both, "_seen"))),
        deleted=_count(_differ(both, "is_deleted")),
        expunged=_count(pc.invert(known)),
    )


def _swept(layout: Layout, year: int, *, start_id: int, known: pa.ChunkedArray) -> Iterator[pa.Table]:
    """The rows of the sweep that following should have seen, or has."""
    ids, before = known.combine_chunks(), last_sweep_before(layout, year)
    with pq.ParquetFile(layout.posts(year)) as posts:
        for number in range(posts.num_row_groups):
            table = posts.read_row_group(number, columns=[*_COLUMNS, "created_at"])
            if before is None:
                is_new = pc.greater(table["id"], start_id)
            else:  # by time too: an id that is high for its time says nothing of those below it
                is_later = pc.greater(table["created_at"], pa.scalar(cutoff(before.year), table["created_at"].type))
                is_new = pc.or_(is_later, pc.greater(table["id"], max(start_id, before.last_id)))
            table = table.drop_columns("created_at").append_column("is_new", is_new)
            yield table.filter(pc.or_(is_new, pc.is_in(table["id"], ids))).select(_SWEPT.names).cast(_SWEPT)


def _differ(table: pa.Table, *names: str) -> pa.ChunkedArray:
    """Rows in which any of these columns is not what was seen; nothing and false are the same."""
    found = pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
    for name in names:
        now, then = (_filled(table[column]) for column in (name, f"{name}_seen"))
        found = pc.or_(found, pc.not_equal(now, then))
    return found


def _filled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(column, pa.scalar("" if pa.types.is_string(column.type) else False, column.type))


def _visible(table: pa.Table, suffix: str) -> pa.ChunkedArray:
    banned = _filled(table[f"is_banned{suffix}"])
    return pc.and_(pc.is_valid(table[f"md5{suffix}"]), pc.invert(banned))


def _count(*masks: pa.ChunkedArray) -> int:
    both = masks[0]
    for mask in masks[1:]:
        both = pc.and_(both, mask)
    return int(pc.sum(both).as_py() or 0)
