"""Posts that get no file since their rows cannot be understood: how many, and which column is at fault.

A few are damaged rows. Many are a column that the source writes in a form of its own, and a release of such posts would
be one without files.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.layout import EXTENSIONS
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.posts.post import DECISIVE, MAX_FILE_BYTES, MD5, posts_from

#: What decides whether a row can be understood.
DECIDING_COLUMNS: Final = ("id", "md5", "file_ext", "file_size", "is_banned", "tag_string", "extra")
_REASONS: Final = frozenset({Reason.BAD_ROW, Reason.TAGS_UNKNOWN})
_LONGEST_VALUE: Final = 60


@dataclass(frozen=True, slots=True)
class UnreadableRows:
    """Posts whose rows cannot be understood.

    Attributes:
        of: how many posts there are in all.
        counts: column -> how many posts get no file for what it has.
        examples: column -> such a value, and the post that has it.
    """

    of: int
    counts: Mapping[str, int]
    examples: Mapping[str, str]

    @property
    def posts(self) -> int:
        """How many they are."""
        return sum(self.counts.values())

    @property
    def why(self) -> str:
        """The columns, the worst one first."""
        worst = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return ", ".join(f"{name}: {count:,}, such as {self.examples[name]}" for name, count in worst)


def count_unreadable(tables: Iterable[pa.Table], *, exclude_tags: frozenset[str]) -> UnreadableRows:
    """Count them, by id.

    Args:
        tables: with `DECIDING_COLUMNS`.
        exclude_tags: tags whose posts get no file; while there are some, nor do posts whose tags are unknown.
    """
    of = 0
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for table in tables:
        of += table.num_rows
        for id_, name, value in _at_fault(table.filter(pc.invert(_plain(table, exclude_tags))), exclude_tags):
            counts[name] += 1
            examples.setdefault(name, f"{_shown(value)} in post {id_}")
    return UnreadableRows(of, counts, examples)


def _plain(table: pa.Table, exclude_tags: frozenset[str]) -> pa.Array:
    """Rows that need no look at them: nearly all, so that millions take seconds."""
    extra, tags, size = (one_chunk(table[name]) for name in ("extra", "tag_string", "file_size"))
    known = pc.and_ if exclude_tags else pc.or_
    # A value that could not be typed is in `extra`, and its column is null.
    checks = [
        pc.match_substring_regex(one_chunk(table["md5"]), f"^{MD5.pattern}$"),
        pc.is_in(one_chunk(table["file_ext"]), pa.array(sorted(EXTENSIONS))),
        pc.fill_null(pc.and_(pc.greater_equal(size, 0), pc.less_equal(size, MAX_FILE_BYTES)), fill_value=True),
        pc.or_(one_chunk(table["is_banned"]).is_valid(), _lacks(extra, "is_banned")),
        known(tags.is_valid(), _lacks(extra, "tag")),
    ]
    plain = checks[0]
    for check in checks[1:]:
        plain = pc.and_(plain, check)
    return pc.fill_null(plain, fill_value=False)


def _lacks(extra: pa.Array, start: str) -> pa.Array:
    """Rows without a key that starts so."""
    return pc.fill_null(pc.invert(pc.match_substring(extra, f'"{start}')), fill_value=True)


def _at_fault(table: pa.Table, exclude_tags: frozenset[str]) -> Iterator[tuple[int, str, Any]]:
    """Id, column and value of rows that cannot be understood."""
    for post, row in zip(posts_from(table), table.to_pylist(), strict=True):
        reason = why_not_fetched(post, exclude_tags=exclude_tags)
        if reason in _REASONS:
            held = msgspec.json.decode(row["extra"] or "{}")
            yield post.id, *_column(row, held, reason)


def _column(row: Mapping[str, Any], held: Mapping[str, Any], reason: Reason) -> tuple[str, Any]:
    """The first column that explains a reason, and its value."""
    if reason is Reason.TAGS_UNKNOWN:
        return "tag_string", row["tag_string"]
    for name in DECISIVE:
        if name in held:
            return name, held[name]
    if not MD5.fullmatch(row["md5"]):
        return "md5", row["md5"]
    name = "file_size" if row["file_ext"] in EXTENSIONS else "file_ext"
    return name, row[name]


def _shown(value: Any) -> str:
    """A value on one line, and not too much of it."""
    if value is None:
        return "none"
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
