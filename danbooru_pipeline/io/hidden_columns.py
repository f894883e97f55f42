"""Values of a Parquet file that its own footer or page index denies, so that readers pass over them."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.bounded_parquet import FEW_ROWS, checked_footer, flat_columns, read_untrusted
from danbooru_pipeline.io.page_index import Page, read_pages
from danbooru_pipeline.io.parquet import one_chunk


def hidden_columns(root: Path, name: str) -> Iterator[tuple[int, str]]:
    """Each number of a row group and column in it with values that the file denies.

    Raises:
        As `read_untrusted`, also where a page index does not lead to the pages.
    """
    with checked_footer(root, name) as (file, footer):
        pages = read_pages(file)
    for number in range(footer.num_row_groups):
        group = _Group(footer.row_group(number), pages[number])
        for table in read_untrusted(root, name, groups=[number], rows=FEW_ROWS):
            group.take(table)
        yield from ((number, column) for column in group.finish())


class _Group:
    """A row group while it is read."""

    def __init__(self, about: Any, pages: Sequence[Sequence[Page]]) -> None:
        self._about, self._pages = about, pages
        self._hidden: set[int] = set()
        self._row = 0
        self._stored: Counter[tuple[int, int]] = Counter()  # column, page -> values that its rows are stored as

    def take(self, table: pa.Table) -> None:
        """Look at the next rows."""
        place = 0
        for column in map(one_chunk, table.columns):
            leaves = list(flat_columns(column))
            if place + len(leaves) > self._about.num_columns:
                raise ValueError("has a column of a kind that no release has")
            for number, leaf in enumerate(leaves):
                if _hides(self._about.column(place).statistics, leaf) or self._is_denied(place, column, number):
                    self._hidden.add(place)
                place += 1
        if place != self._about.num_columns:
            raise ValueError("has a column of a kind that no release has")
        self._row += table.num_rows

    def _is_denied(self, place: int, column: pa.Array, number: int) -> bool:
        """Whether the index denies values of the so many-th column of those that a table's column is stored as."""
        pages, end = self._pages[place], self._row + len(column)
        denied, kind = False, self._about.column(place).physical_type
        for index in range(bisect_right(pages, self._row, key=lambda page: page.end), len(pages)):
            page = pages[index]
            if page.first >= end:
                break
            first = max(page.first, self._row)
            part = column.slice(first - self._row, min(page.end, end) - first)
            self._stored[place, index] += _stored_values(part)
            denied |= page.denies(list(flat_columns(part))[number], kind)
        return denied

    def finish(self) -> list[str]:
        """Columns with such values.

        Raises:
            ValueError: a page has other rows than the index says.
        """
        for place, pages in enumerate(self._pages):
            if any(page.values != self._stored[place, index] for index, page in enumerate(pages)):
                raise ValueError(f"the page index of {self._name(place)} names other rows than its pages have")
        return [self._name(place) for place in sorted(self._hidden)]

    def _name(self, place: int) -> str:
        return str(self._about.column(place).path_in_schema)


def _stored_values(column: pa.Array) -> int:
    """How many values rows are stored as: a list that is null or empty as one."""
    if not pa.types.is_list(column.type):
        return len(column)
    lengths, items = pc.max_element_wise(pc.fill_null(pc.list_value_length(column), 0), 1), column.flatten()
    return (pc.sum(lengths).as_py() or 0) + _stored_values(items) - len(items)


def _hides(stats: Any, column: pa.Array) -> bool:
    """Whether there are values outside of what the statistics say, or where they say that all or none are null."""
    if stats is None:
        return False
    if stats.has_null_count and stats.null_count == 0 and column.null_count:
        return True
    found = pc.min_max(column).as_py()
    if found["min"] is None:
        return False
    if stats.has_null_count and stats.num_values <= 0:
        return True
    return bool(stats.has_min_max and (found["min"] < stats.min or found["max"] > stats.max))
