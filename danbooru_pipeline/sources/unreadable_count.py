"""``metadata/YEAR/unreadable-rows.json``: how many posts get no file since their rows cannot be understood.

The check of the posts counts them, and the release asks again: ten million posts cost 35 CPU seconds each time. So a
count is kept and goes with the very posts that it is of. Numbers alone: no value of a post outlives its takedown.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import msgspec

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import find_posts_report
from danbooru_pipeline.posts.unreadable_rows import DECIDING_COLUMNS, UnreadableRows, count_unreadable
from danbooru_pipeline.version import version

#: Rows that are held at a time; each may have some kilobytes of columns that are not known.
_BATCH_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a count is of: the posts, the tags that exclude some, and the code that judges both."""

    sha256: str
    size: int
    modified_ns: int
    inode: int
    exclude_tags: tuple[str, ...]
    code: str

    @classmethod
    def about(cls, layout: Layout, year: int, exclude_tags: frozenset[str]) -> Self:
        """The posts as they are now; every rewrite of them is a new file."""
        facts, report = layout.posts(year).stat(), find_posts_report(layout, year)
        return cls(
            sha256="" if report is None else report.sha256,
            size=facts.st_size,
            modified_ns=facts.st_mtime_ns,
            inode=facts.st_ino,
            exclude_tags=tuple(sorted(exclude_tags)),
            code=version().number,
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """The file."""

    asked: _Asked
    of: int
    counts: Mapping[str, int]


def kept_count(layout: Layout, year: int, exclude_tags: frozenset[str]) -> UnreadableRows | None:
    """The count that was kept, without examples; None if there is none of the posts as they are."""
    try:
        kept = msgspec.json.decode(layout.unreadable_rows(year).read_bytes(), type=_Kept)
    except (OSError, ValueError):
        return None
    is_of_these = kept.asked == _Asked.about(layout, year, exclude_tags)
    return UnreadableRows(kept.of, kept.counts, {}) if is_of_these else None


def count_unreadable_rows(layout: Layout, year: int, exclude_tags: frozenset[str]) -> UnreadableRows:
    """Count them, and keep the count."""
    asked = _Asked.about(layout, year, exclude_tags)
    tables = read_batches(layout.posts(year), columns=DECIDING_COLUMNS, rows=_BATCH_ROWS)
    found = count_unreadable(tables, exclude_tags=exclude_tags)
    if asked == _Asked.about(layout, year, exclude_tags):  # else they were rewritten meanwhile
        with contextlib.suppress(OSError):  # it only saves time
            kept = _Kept(asked, found.of, found.counts)
            write_atomic(layout.unreadable_rows(year), msgspec.json.format(msgspec.json.encode(kept)))
    return found
