"""Tables of a release as Arrow: which there are, and rows of them with only the columns and row groups that are wanted.

A table is a set of shards. Part of a set would silently be part of a table, so it is refused; a copy of a release needs
``parquet/`` and ``manifest/`` whole, and may lack images.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from danbooru_pipeline.consume.corrected import posts_folder
from danbooru_pipeline.consume.errors import BadQuery
from danbooru_pipeline.consume.names import require_names
from danbooru_pipeline.consume.where import Where, expression_of
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.bounded_parquet import schema_of, untrusted_files
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.release_paths import SHARD

if TYPE_CHECKING:
    import pyarrow.dataset as ds

#: The table of the manifest, which lies in a folder of its own.
FILES: Final = "files"
BATCH_ROWS: Final = 65_536

#: How Arrow names a column in its messages.
_FIELD = re.compile(r"FieldRef\.Name\((.*?)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is wanted of a table.

    Attributes:
        columns: their names in the order of the answer; None for all.
        where: conditions that rows must meet.
        corrected: whether posts are those that people corrected.
    """

    columns: Sequence[str] | None = None
    where: Where | None = None
    corrected: bool = False


def table_names(release: Path) -> tuple[str, ...]:
    """Names of all tables that a release has, sorted."""
    return tuple(sorted(_shards_by_table(release)))


def table_schema(release: Path, table: str, *, corrected: bool = False) -> pa.Schema:
    """Columns and types of a table."""
    first, *_ = _files(release, table, corrected=corrected)
    with _damage_named(release, table):
        return schema_of(release, first.relative_to(release).as_posix())


def read_table(release: Path, table: str, query: Query) -> pa.Table:
    """The rows of a table, in its order.

    Raises:
        UnknownName: the table or a column does not exist.
        BadQuery: `columns` or `where` has a wrong form.
        ReleaseError: the table is not whole, or damaged.
    """
    scanner = _scanner(
        _dataset(release, table, corrected=query.corrected), query, label=f"the table {table} of {release.name}"
    )
    with _damage_named(release, table):
        return scanner.to_table()


def read_batches(release: Path, table: str, query: Query, *, rows: int = BATCH_ROWS) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most `rows`, in memory that does not grow with the table.

    Raises:
        As `read_table`, before the first batch is asked for.
    """
    if rows < 1:
        raise BadQuery(f"rows={rows} is not a number of rows; give one above 0")
    data = _dataset(release, table, corrected=query.corrected, pre_buffer=False)
    # Made for its checks alone, so that a mistake is raised here and not by the first batch.
    _scanner(data, query, label=f"the table {table} of {release.name}")
    where = expression_of(query.where, data.schema, label=table)
    columns = None if query.columns is None else list(query.columns)
    limits = {"batch_size": rows, "batch_readahead": 1, "use_threads": False}

    def batches() -> Iterator[pa.RecordBatch]:
        with _damage_named(release, table):
            # One row group after the other, since a scan of all of them reads ahead and holds on to what it has read.
            # Measured on 1 M posts with all columns in four shards: 1,300 MB as one scan, 330 MB so, at half its CPU.
            for shard in data.get_fragments(filter=where):
                for group in shard.split_by_row_group(where, schema=data.schema):
                    scanner = group.scanner(schema=data.schema, columns=columns, filter=where, **limits)
                    yield from (batch for batch in scanner.to_batches() if batch.num_rows)

    return batches()


def python_rows(release: Path, table: str, rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows of a table as Python has them.

    Raises:
        ReleaseError: a value is none that Python has, like a moment after the year 9999, or text that is no UTF-8.
    """
    with _damage_named(release, table):
        found: list[dict[str, Any]] = rows.to_pylist()
    return found


def _shards_by_table(release: Path, *, parquet: str = "parquet") -> dict[str, list[Path]]:
    """Table -> its shards that are here."""
    found: dict[str, list[Path]] = {}
    for folder, is_manifest in ((release / "manifest", True), (release / parquet, False)):
        # The manifests of earlier years lie in folders below `manifest/` and are left alone.
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            match = SHARD.fullmatch(path.name)
            if match and (match[1] == FILES) == is_manifest:
                found.setdefault(match[1], []).append(path)
    return found


def shards(release: Path, table: str, *, corrected: bool = False) -> list[Path]:
    """All files of a table, in order.

    Raises:
        UnknownName: there is no such table.
        ReleaseError: some of its files are not here.
    """
    by_table = _shards_by_table(release, parquet=_folder_of(release, table, corrected=corrected))
    require_names([table], sorted(by_table), what="table", of=release.name)
    paths = by_table[table]
    match = SHARD.fullmatch(paths[0].name)
    of = int(match[3]) if match else 0
    if [path.name for path in paths] != [f"{table}-{number:05d}-of-{of:05d}.parquet" for number in range(of)]:
        raise ReleaseError(
            f"{release} has {len(paths)} files of the table {table}, which are not all {of} of one set; "
            f"copy {paths[0].parent.name}/ again"
        )
    return paths


def _folder_of(release: Path, table: str, *, corrected: bool) -> str:
    return posts_folder(release, corrected=corrected) if table == "posts" else "parquet"


def _files(release: Path, table: str, *, corrected: bool) -> list[Path]:
    part = "manifest" if table == FILES else _folder_of(release, table, corrected=corrected)
    shards(release, table, corrected=corrected)
    return untrusted_files(release, f"{part}/{table}-*.parquet")


def _dataset(release: Path, table: str, *, corrected: bool, pre_buffer: bool = True) -> "ds.Dataset":
    import pyarrow.dataset as ds  # noqa: PLC0415 - brings pandas, which a search does not need

    files = [str(path) for path in _files(release, table, corrected=corrected)]
    with _damage_named(release, table):
        data = ds.dataset(files, format=ds.ParquetFileFormat(pre_buffer=pre_buffer))
        return data.replace_schema(table_schema(release, table, corrected=corrected))


def _scanner(data: "ds.Dataset", query: Query, *, label: str, **limits: Any) -> "ds.Scanner":
    """A scan that reads the wanted columns alone, and skips row groups whose statistics meet no condition."""
    columns = None if query.columns is None else _listed(query.columns)
    require_names(columns or (), data.schema.names, what="column", of=label)
    where = expression_of(query.where, data.schema, label=label)
    try:
        if where is not None:  # a scan itself finds out only while it reads that its filter is not a condition
            no_rows(data.schema).filter(where)
        return data.scanner(columns=columns, filter=where, **limits)
    except (pa.ArrowException, TypeError) as error:
        # What an expression names is only known to Arrow.
        unknown = [name for name in _FIELD.findall(str(error)) if name not in data.schema.names]
        require_names(unknown, data.schema.names, what="column", of=label)
        raise BadQuery(f"where={where} does not fit {label}: {_first_line(error)}; change it") from error


def _listed(columns: Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        raise BadQuery(f"columns={columns!r} is one name and no list; give [{columns!r}]")
    names = list(columns)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise BadQuery(f"columns has {wrong[0]!r}; give names")
    return names


@contextmanager
def _damage_named(release: Path, table: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ReleaseError(f"{table} of {release} cannot be read ({_first_line(error)}); verify the release") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
