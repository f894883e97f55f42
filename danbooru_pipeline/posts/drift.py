"""Drift: which columns a source filled, which are new, and which hold values of another type."""

from collections import Counter
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa

from danbooru_pipeline.posts.schema import SITE_COLUMNS

_KNOWN = frozenset(SITE_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a source's posts.

    Attributes:
        filled: columns of the schema that have a value in at least one row.
        new: columns that the schema lacks, and how many rows have them.
        retyped: columns of the schema, and how many of their values are of another type; those are in `extra`.
    """

    filled: tuple[str, ...] = ()
    new: dict[str, int] = field(default_factory=dict)
    retyped: dict[str, int] = field(default_factory=dict)


class ColumnTally:
    """Counts columns over tables of `POST_SCHEMA`."""

    def __init__(self) -> None:
        self._filled: set[str] = set()
        self._extra: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count some rows."""
        self._filled |= {n for n in _KNOWN - self._filled if table[n].null_count < table.num_rows}
        extra = table["extra"]
        if extra.null_count < len(extra):
            for text in extra.drop_null().to_pylist():
                self._extra.update(msgspec.json.decode(text, type=dict[str, msgspec.Raw]).keys())

    def columns(self) -> Columns:
        """The columns of all rows so far."""
        ordered = dict(sorted(self._extra.items()))
        return Columns(
            filled=tuple(name for name in SITE_COLUMNS if name in self._filled),
            new={name: count for name, count in ordered.items() if name not in _KNOWN},
            retyped={name: count for name, count in ordered.items() if name in _KNOWN},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """How the columns differ from those of the year before.

    Attributes:
        appeared: columns that neither the schema nor the year before has, and how many rows have them.
        lost: columns that the year before had values in, and this one does not.
        retyped: columns with values of another type, and how many.
    """

    appeared: dict[str, int]
    lost: tuple[str, ...]
    retyped: dict[str, int]

    def __bool__(self) -> bool:
        return bool(self.appeared or self.lost or self.retyped)


def column_drift(before: Columns | None, now: Columns) -> ColumnDrift:
    """Compare two years; without the year before, only columns that the schema does not know count."""
    known = before or Columns()
    return ColumnDrift(
        appeared={name: count for name, count in now.new.items() if name not in known.new},
        lost=tuple(name for name in (*known.filled, *known.new) if name not in {*now.filled, *now.new}),
        retyped=now.retyped,
    )
