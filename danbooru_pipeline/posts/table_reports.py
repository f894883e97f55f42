"""``metadata/YEAR/tables.json``: which side tables a year has, and beside it those that it had before.

The files are read and written here and nowhere else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout

#: Status of a table that the operator decided to release without.
LEFT_OUT: Final = "left out"


@dataclass(frozen=True, slots=True)
class TableReport:
    """How the export of one side table went.

    Attributes:
        status: ``ok``, ``absent`` (the source does not offer it), ``empty`` (its file has no rows, which such a source
            does not write), ``failed``, or ``left out`` (the operator decided so).
        rows: lines of its file.
        rejected: records of an API that hold what cannot be stored; the file is without them.
        problem: why it failed.
        modified: when the source last wrote the table; None when it does not say.
        uncounted: why nobody could check that all its rows came, where a source that counts them could not say how many
            there are.
        sha256: of its file, since lines that are missing do not show; None in reports of earlier versions.
    """

    status: str
    rows: int = 0
    rejected: int = 0
    problem: str | None = None
    modified: datetime | None = None
    uncounted: str | None = field(default=None, kw_only=True)
    sha256: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class _File:
    tables: Mapping[str, TableReport]


def load_table_reports(layout: Layout, year: int) -> dict[str, TableReport]:
    """Table -> how its last export for a year went.

    Raises:
        FileNotFoundError: nothing was exported.
        OSError, ValueError: the file cannot be read.
    """
    return _load(layout.side_tables_report(year))


def load_earlier_reports(layout: Layout, year: int) -> dict[str, TableReport]:
    """Table -> how its export went before the last one; see `sources.earlier`.

    Raises:
        FileNotFoundError: nothing was exported before.
        OSError, ValueError: the file cannot be read.
    """
    return _load(layout.earlier_tables(year))


def _load(path: Path) -> dict[str, TableReport]:
    data = path.read_bytes()
    require_known_json(path, msgspec.json.decode(data))
    return dict(msgspec.json.decode(data, type=_File).tables)


def read_table_reports(layout: Layout, year: int) -> dict[str, TableReport]:
    """The same; empty when nothing was exported or the file cannot be read."""
    try:
        return load_table_reports(layout, year)
    except (OSError, ValueError):
        return {}


def write_table_reports(layout: Layout, year: int, reports: Mapping[str, TableReport]) -> None:
    """Replace the reports of a year."""
    _write(layout.side_tables_report(year), reports)


def write_earlier_reports(layout: Layout, year: int, reports: Mapping[str, TableReport]) -> None:
    """Replace the reports of the exports before."""
    _write(layout.earlier_tables(year), reports)


def _write(path: Path, reports: Mapping[str, TableReport]) -> None:
    tables = {name: _shown(report) for name, report in reports.items()}
    write_atomic(path, msgspec.json.format(msgspec.json.encode({"tables": tables})))


def _shown(report: TableReport) -> dict[str, Any]:
    """A report as it is written: without what some tables alone have, where there is none of it, as ever."""
    values: dict[str, Any] = msgspec.to_builtins(report)
    return {name: value for name, value in values.items() if value or name not in {"rejected", "uncounted"}}


def restate_tables(layout: Layout, year: int, names: Iterable[str]) -> None:
    """Say what the files of some tables are now, after whoever rewrote them."""
    changed, reports = set(names), read_table_reports(layout, year)
    if changed.isdisjoint(reports):
        return
    for name in changed & reports.keys():
        file = layout.side_table(year, name)
        with file.open("rb") as lines:
            rows = sum(1 for _ in lines)
        reports[name] = replace(reports[name], rows=rows, sha256=sha256_of(file))
    write_table_reports(layout, year, reports)
