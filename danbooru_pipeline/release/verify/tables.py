"""Verification of derived tables: rows of 512px images, tag counts, and side tables against their JSON lines."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import Side, differences, no_rows
from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import opened, plain_names
from danbooru_pipeline.posts.dialect_2021 import to_2021_dialect
from danbooru_pipeline.posts.record import parse_timestamp
from danbooru_pipeline.release.checksums import PX512
from danbooru_pipeline.release.tables.image_rows import FILES_COLUMNS, METADATA, POSTS_COLUMNS, ROWS_SCHEMA, joined_rows
from danbooru_pipeline.release.tables.json_columns import BLOCK_BYTES, kind_by_name, names_in, typed
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release.tables.tag_totals import TAG_COUNTS_SCHEMA, TagTally
from danbooru_pipeline.release.verify.findings import KEPT_PER_KIND, Kind
from danbooru_pipeline.release.verify.parquet import (
    ROWS,
    announced_rows,
    batches,
    schema_of,
    shards,
    tables_in,
    whole_table,
)
from danbooru_pipeline.release.verify.verification import Verification, is_of_before_0_3
from danbooru_pipeline.release_paths import DUPLICATES, POST_VECTORS, TAG_VECTORS, metadata_folder

_LINES = re.compile(r"([a-z][a-z_]*)\d{12}\.json")
#: Tables that other checks cover, or that have no JSON lines.
_NOT_SIDE_TABLES = frozenset({"posts", DUPLICATES, TAG_VECTORS, POST_VECTORS, TAG_COUNTS})
_LONGEST_LINE = 64 * 2**20
_ROWS = 20_000
#: What every version has of a row of an image, and what follows from the manifest alone.
_KEYS = ("id", "file_name", "sha256")
_PLAIN = frozenset({str, bool})


def check_image_rows(run: Verification, posts: Sequence[str], manifest: Sequence[str]) -> None:
    """Check that ``512px/metadata.parquet`` says of every 512px image what posts and manifest say, and no more.

    Without posts, or with posts that are not those of the manifest, only files and sums are compared.
    """
    if not run.is_readable(METADATA):
        return  # another check reports that
    said = {
        Side.LEFT_ONLY: "has a row, but no 512px image in the manifest",
        Side.RIGHT_ONLY: "has a 512px image in the manifest, but no row",
        Side.TWICE: "occurs twice",
        Side.DIFFERS: "has another file, SHA-256, rating, score, size or tags in manifest and posts",
    }
    with run.reading(Kind.PARQUET_UNREADABLE, METADATA):
        names = schema_of(run, METADATA).names
        columns = [name for name in ROWS_SCHEMA.names if name in (names if posts else _KEYS)]
        listed = (_cast(table, columns) for table in _in_order(run, batches(run, METADATA, columns=columns)))
        held = _images(run, posts, manifest) if posts else _files(run, manifest)
        for difference in differences(listed, (_cast(table, columns) for table in held)):
            run.add(Kind.IMAGE_ROWS_DIFFER, METADATA, f"{difference.id} {said[difference.side]}")


def _in_order(run: Verification, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables; a finding if their ids do not ascend, which a comparison row by row does not see."""
    last = 0
    for table in tables:
        ids = table["id"].combine_chunks()
        if len(ids) and (ids[0].as_py() < last or pc.any(pc.greater(ids[:-1], ids[1:])).as_py()):
            run.add(Kind.IMAGE_ROWS_DIFFER, METADATA, f"is not sorted by id behind {last}")
        last = ids[-1].as_py() if len(ids) else last
        yield table


def _cast(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    return pa.Table.from_arrays([table[name].cast(ROWS_SCHEMA.field(name).type) for name in columns], list(columns))


def _images(run: Verification, posts: Sequence[str], manifest: Sequence[str]) -> Iterator[pa.Table]:
    return joined_rows(
        (table for name in posts for table in batches(run, name, columns=POSTS_COLUMNS)),
        (table for name in manifest for table in batches(run, name, columns=FILES_COLUMNS)),
        rows=ROWS,
    )


def _files(run: Verification, manifest: Sequence[str]) -> Iterator[pa.Table]:
    """What the manifest alone says of the images."""
    for name in manifest:
        for table in batches(run, name, columns=("id", PX512.path, PX512.sha256)):
            held = table.filter(table[PX512.path].is_valid())
            names = pa.array(
                [path.removeprefix(f"{PX512.name}/") for path in held[PX512.path].to_pylist()], pa.string()
            )
            yield pa.Table.from_arrays([held["id"], names, held[PX512.sha256]], list(_KEYS))


def check_tag_counts(run: Verification, tally: TagTally) -> None:
    """Check the table of tag counts against a count of the posts."""
    counted = tally.table()
    where = f"parquet/{TAG_COUNTS}-*.parquet"
    names = shards(run, "parquet", TAG_COUNTS)
    if names is None:
        if TAG_COUNTS in tables_in(run, "parquet"):
            run.add(Kind.PARQUET_UNREADABLE, where, "the files are not complete")
        elif counted.num_rows and run.release and run.release.tag_statistics.posts:
            run.add(Kind.TAG_COUNTS_DIFFER, where, f"is missing, but the posts have {counted.num_rows:,} tags")
        return
    if any(name in run.altered for name in names):
        return
    with run.reading(Kind.PARQUET_UNREADABLE, where):
        tables = [table.select(TAG_COUNTS_SCHEMA.names) for name in names for table in batches(run, name)]
        listed = pa.concat_tables([no_rows(TAG_COUNTS_SCHEMA), *(table.cast(TAG_COUNTS_SCHEMA) for table in tables)])
        if not listed.equals(counted):
            _name_tags(run, where, listed, counted)


def _name_tags(run: Verification, where: str, listed: pa.Table, counted: pa.Table) -> None:
    ours, theirs = ({(row["name"], row["category"]): row for row in table.to_pylist()} for table in (listed, counted))
    if len(ours) < listed.num_rows:
        run.add(Kind.TAG_COUNTS_DIFFER, where, "has a tag twice")
    wrong = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    for name, category in wrong:
        run.add(Kind.TAG_COUNTS_DIFFER, where, f"{name} ({category}) is counted otherwise in the posts")
    if not wrong and len(ours) == listed.num_rows:
        run.add(Kind.TAG_COUNTS_DIFFER, where, "is not in its order, the most frequent tag first")


def check_side_tables(run: Verification) -> None:
    """Check that each side table says in Parquet what its JSON lines say."""
    if run.release is None:
        return
    year = metadata_folder(run.release.year)
    lines: dict[str, list[str]] = {}
    for name in plain_names(run.folder, year):
        if match := _LINES.fullmatch(name):
            lines.setdefault(match[1], []).append(f"{year}/{name}")
    for table in sorted({*lines, *tables_in(run, "parquet")} - _NOT_SIDE_TABLES):
        _check_side_table(run, table, lines.get(table, []))


def _check_side_table(run: Verification, table: str, paths: Sequence[str]) -> None:
    where = f"parquet/{table}-*.parquet"
    names = whole_table(run, "parquet", table)
    if table in tables_in(run, "parquet"):
        if shards(run, "parquet", table) is None:
            run.add(Kind.PARQUET_UNREADABLE, where, "the files are not complete")
        if not names:
            return
    with run.reading(Kind.PARQUET_UNREADABLE, where):
        count, rows = _count_lines(run, paths), sum(announced_rows(run, name) for name in names)
        if rows != count:
            said = f"{table} has {rows:,} rows here, but {count:,} lines in metadata/"
            run.add(Kind.TABLES_DIFFER, where, said)
            return
        texts = _texts_by_type(run, table, names[:1])
        odd: list[tuple[int, list[str]]] | None = None if is_of_before_0_3(run.release) else []
        for number, columns in differing_rows(run, names, paths, texts, odd):
            said = f"row {number:,} has another {', '.join(columns[:5])} than its line in metadata/"
            run.add(Kind.TABLES_DIFFER, where, said)
        for number, columns in odd or ():
            said = f"line {number:,} of {table} has its {', '.join(columns[:5])} in no form that is written"
            run.add(Kind.TABLES_DIFFER, where, said)
        for name, kind in texts.items():
            run.add(Kind.TABLES_DIFFER, where, f"{name} is text, and should be of the type {kind}")


def _texts_by_type(run: Verification, table: str, names: Sequence[str]) -> dict[str, pa.DataType]:
    """Columns of text, by name, that should be of a type if all their values are."""
    texts = [field.name for name in names for field in schema_of(run, name) if pa.types.is_string(field.type)]
    kinds = {name: kind_by_name(table, name, None) for name in texts}
    return {name: kind for name, kind in kinds.items() if not pa.types.is_string(kind)}


def _count_lines(run: Verification, paths: Sequence[str]) -> int:
    return sum(1 for _ in _texts(run, paths))


def _texts(run: Verification, paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        with opened(run.folder, path) as data:
            while line := data.readline(_LONGEST_LINE):
                yield line


def differing_rows(
    run: Verification,
    names: Sequence[str],
    paths: Sequence[str],
    wanted: dict[str, pa.DataType] | None = None,
    odd: list[tuple[int, list[str]]] | None = None,
) -> Iterator[tuple[int, list[str]]]:
    """Rows that say something else than their lines, and in which columns.

    Args:
        run: the verification.
        names: files of the table.
        paths: files of its lines.
        wanted: column -> type; those that not all lines fit are dropped.
        odd: gets the lines that have values in a form that is not written, and which.
    """
    texts = _texts(run, paths)
    number = 0
    for table in (table for name in names for table in batches(run, name, rows=_ROWS)):
        if len(set(table.column_names)) < table.num_columns:
            raise ValueError("has two columns of one name")
        left = table
        while left.num_rows:
            records = _some_records(texts, left.num_rows)
            part, left = left.slice(0, len(records)), left.slice(len(records))
            for name, kind in list((wanted or {}).items()):
                if wanted and typed([record.get(name) for record in records], kind) is None:
                    del wanted[name]
            if odd is not None:
                odd += _oddly_written(records, number)[: KEPT_PER_KIND - len(odd)]
            if not _are_same(part, records):
                for row, wrong in _rows_apart(part, records):
                    yield number + row, wrong
            number += len(records)


def _some_records(texts: Iterator[bytes], most: int) -> list[dict[str, Any]]:
    """The next lines, until they are so many, or have so many bytes."""
    records: list[dict[str, Any]] = []
    size = 0
    while len(records) < most and size < BLOCK_BYTES:
        text = next(texts)
        size += len(text)
        records.append(_object(text))
    return records


def _oddly_written(records: Sequence[dict[str, Any]], before: int) -> list[tuple[int, list[str]]]:
    """Lines with values that are not in the dialect, as integers and nulls are not; few have other than texts."""
    return [
        (number, wrong)
        for number, record in enumerate(records, start=before + 1)
        if not _PLAIN.issuperset(map(type, record.values()))
        and (wrong := [name for name, value in record.items() if not _is_dialect({name: value})])
    ]


def _is_dialect(record: dict[str, Any]) -> bool:
    return json.dumps(to_2021_dialect(record)) == json.dumps(record)


def _are_same(table: pa.Table, records: Sequence[dict[str, Any]]) -> bool:
    """Whether all rows are those of their lines, as far as that is seen at once."""
    if not set(table.column_names).issuperset(names_in(records)):
        return False
    columns = (
        (column, typed([record.get(name) for record in records], column.type))
        for name, column in zip(table.column_names, table.columns, strict=True)
    )
    return all(values is not None and column.combine_chunks().equals(values) for column, values in columns)


def _rows_apart(table: pa.Table, records: Sequence[dict[str, Any]]) -> Iterator[tuple[int, list[str]]]:
    kinds = {field.name: field.type for field in table.schema}
    columns = [_dialect(column, kind) for column, kind in zip(table.columns, kinds.values(), strict=True)]
    for number, (values, line) in enumerate(zip(zip(*columns, strict=True), records, strict=True), start=1):
        row = dict(zip(kinds, values, strict=True))
        wrong = [key for key in row.keys() | line.keys() if not _is_same(kinds.get(key), row.get(key), line.get(key))]
        if wrong:
            yield number, sorted(wrong)


def _object(text: bytes) -> dict[str, Any]:
    record = parse(text)
    if not isinstance(record, dict):
        raise ValueError(f"a line is not a JSON object: {text[:80]!r}")
    return record


def _dialect(column: pa.ChunkedArray, kind: pa.DataType) -> list[Any]:
    """Values as JSON lines have them: integers and times as text."""
    if pa.types.is_integer(kind):
        return _dialect(column.cast(pa.string()), pa.string())
    if pa.types.is_timestamp(kind):
        texts = column.cast(pa.timestamp("us")).cast(pa.string()).to_pylist()
        return [None if text is None else f"{text.rstrip('0').rstrip('.')} UTC" for text in texts]
    if pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):
        return [
            None if items is None else [None if item is None else str(item) for item in items]
            for items in column.to_pylist()
        ]
    values: list[Any] = column.to_pylist()
    return values


def _is_same(kind: pa.DataType | None, cell: Any, value: Any) -> bool:
    """Whether a value of a line is the one that is written into a column, in whatever form the line has it."""
    if kind is None or cell is None or value is None:
        return cell is None and value is None
    if pa.types.is_timestamp(kind):
        return _instant(value) == parse_timestamp(cell)
    if pa.types.is_list(kind):
        return (
            isinstance(value, list)
            and len(cell) == len(value)
            and all(_is_same(kind.value_type, *pair) for pair in zip(cell, value, strict=True))
        )
    if type(cell) is type(value):
        return bool(cell == value)
    if pa.types.is_integer(kind):
        return type(value) is int and str(value) == cell
    # In a column of text, other values are as JSON has them.
    return pa.types.is_string(kind) and json.dumps(_parsed(cell)) == json.dumps(value)


def _parsed(text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        return text


def _instant(value: Any) -> datetime | None:
    """An instant as a line may write it; None if it is none that can be read."""
    try:
        return parse_timestamp(value)
    except ValueError:
        return None
