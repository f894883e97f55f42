"""The table of file facts: ledger and manifest are derived from it, and are what they always were."""

import dataclasses
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import danbooru_pipeline
from danbooru_pipeline.images import ImageFacts, ImageResult
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import MANIFEST_SCHEMA, ManifestRow, reconcile_bucket
from danbooru_pipeline.release.manifest.row import MANIFEST_COLUMNS, manifest_table
from danbooru_pipeline.store.columns import (
    ABSENT,
    Column,
    Fact,
    FileFacts,
    Origin,
    columns_of,
    schema_of,
    table_of,
    values_from,
    with_tuples,
)
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LEDGER_COLUMNS, LEDGER_SCHEMA, LedgerRow, read_ledger, write_ledger
from danbooru_pipeline_tests.support.held_file import FILES, POST, PX512_FILES, ROW

#: What is on disk everywhere: names, types and order of the columns; ``!`` marks those without nulls.
LEDGER = """
id!=int64 md5=string ext=string stored_ext=string status!=string reason=string size=int64 sha256=string
source_size=int64 fetched_md5=string source_pixel_hash=string pixel_hash=string pixel_hash_matches=bool
file_type=string width=int32 height=int32 pages=int32 flags=list alpha=bool
color_space=string has_profile=bool orientation=int8 optimized=bool optimized_by=string kept=string attempts=int32
http_status=int16 fetched_at=timestamp[us, tz=UTC] px512_reason=string px512_size=int64 px512_sha256=string
px512_background=string px512_flags=list px512_dhash=fixed_size_binary[32] px512_phash=fixed_size_binary[32]
px512_settings=string first_release=int16
checked_at=timestamp[us, tz=UTC] checked_release=int16
"""
MANIFEST = """
id!=int64 bucket!=string rating=string status!=string reason=string path=string size=int64 sha256=string
source_md5=string source_size=int64 source_md5_matches=bool fetched_md5=string
source_pixel_hash=string pixel_hash=string pixel_hash_matches=bool file_type=string width=int32 height=int32
pages=int32 flags=list alpha=bool color_space=string has_profile=bool orientation=int8 optimized=bool
optimized_by=string kept=string px512_status!=string px512_reason=string px512_path=string px512_size=int64
px512_sha256=string px512_background=string px512_flags=list px512_dhash=fixed_size_binary[32]
px512_phash=fixed_size_binary[32] first_release!=int16
"""
#: A held file with every fact that an image can have.
FULL_ROW = dataclasses.replace(
    ROW,
    file_type="png",
    width=600,
    height=400,
    pages=1,
    flags=("apng",),
    alpha=True,
    color_space="srgb",
    has_profile=False,
    optimized=True,
    optimized_by="oxipng",
    attempts=1,
    http_status=200,
    px512_background="white",
    px512_flags=("few_colors",),
)


def manifest_rows(row: LedgerRow = FULL_ROW) -> list[ManifestRow]:
    """The manifest's row of `POST` and a ledger row."""
    rows, problems = reconcile_bucket([POST], {1001: row}, FILES, PX512_FILES, year=2021, px512_settings="q90")
    assert problems == []
    return rows


def described(schema: pa.Schema) -> list[str]:
    """A schema as the lists above have it."""
    kind = {str(field.type): "list" for field in schema if pa.types.is_list(field.type)}
    return [f"{f.name}{'' if f.nullable else '!'}={kind.get(str(f.type), str(f.type))}" for f in schema]


@pytest.mark.parametrize(("schema", "expected"), [(LEDGER_SCHEMA, LEDGER), (MANIFEST_SCHEMA, MANIFEST)])
def test_columns_on_disk_are_the_same_as_ever(schema: pa.Schema, expected: str) -> None:
    """Names, types, order and nulls of both files do not move, whatever the table says; nor does their version."""
    assert " ".join(described(schema)) == " ".join(expected.split("\n")).strip()
    assert all(field.type.value_type == pa.string() for field in schema if pa.types.is_list(field.type))
    assert schema.metadata == {b"danbooru_pipeline.schema": b"1"}


@pytest.mark.parametrize(
    ("rows", "columns", "derived"),
    [(LedgerRow, LEDGER_COLUMNS, {"status", "pixel_hash_matches"}), (ManifestRow, MANIFEST_COLUMNS, set())],
)
def test_rows_and_schemas_hold_together(rows: type[FileFacts], columns: tuple[Column, ...], derived: set[str]) -> None:
    """Every field of a row class is a column, and every column a field, but for what is derived."""
    names = {column.name for column in columns}
    assert names - derived == {field.name for field in dataclasses.fields(rows)}


def documented_columns() -> list[str]:
    """The rows of the table in docs/images.md: the columns of both files, each once and in their common order."""
    left = list(LEDGER_COLUMNS)
    in_ledger, in_manifest = ({column.name for column in columns} for columns in (LEDGER_COLUMNS, MANIFEST_COLUMNS))
    merged: list[Column] = []
    for column in MANIFEST_COLUMNS:
        while column.name in in_ledger and column.name not in {each.name for each in merged}:
            merged.append(left.pop(0))
        merged += [column] if column.name not in in_ledger else []
    return [
        f"| `{column.name}` | {'list of string' if pa.types.is_list(column.fact.type) else column.fact.type} "
        f"| {'×' if column.name in in_ledger else ''} | {'×' if column.name in in_manifest else ''} "
        f"| {column.fact.origin} | {column.fact.meaning} |"
        for column in [*merged, *left]
    ]


def test_every_column_is_documented() -> None:
    """The table of docs/images.md is the one of the code, word for word."""
    text = (Path(danbooru_pipeline.__file__).parents[1] / "docs/images.md").read_text()
    table = text.split("<!-- columns -->\n")[1].split("\n<!-- /columns -->")[0]
    assert table.splitlines()[2:] == documented_columns(), "\n".join(documented_columns())


def test_what_images_compute_is_where_the_table_says() -> None:
    """Each fact that comes from the file or its image job is an attribute of `ImageFacts` or `ImageResult`."""
    facts = ImageFacts("png", width=1)
    result = ImageResult(facts=facts, sha256="d", size=1, background="white", px512_reason=Reason.ANIMATED)
    assert values_from(facts, Origin.FILE, LEDGER_COLUMNS)["width"] == 1
    assert values_from(result, Origin.RESULT, LEDGER_COLUMNS).keys() == {
        "stored_ext", "size", "sha256", "pixel_hash", "optimized_by", "kept"
    }  # fmt: skip
    px512 = values_from(result, Origin.PX512, LEDGER_COLUMNS)
    assert (px512["px512_reason"], px512["px512_background"]) == (Reason.ANIMATED, "white")


def test_a_new_fact_is_one_line() -> None:
    """A fact that is declared once has its column in schema, table and row, where it was declared."""

    @dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class WithDepth(FileFacts):
        id: Annotated[int, Fact(pa.int64(), Origin.POST, "the post", before="size", nullable=False)]
        bit_depth: Annotated[int | None, Fact(pa.int8(), Origin.FILE, "bits a sample", before="optimized")] = None

    columns = columns_of(WithDepth)
    names = [column.name for column in columns]
    assert names[:2] == ["id", "size"]
    assert names[names.index("bit_depth") + 1] == "optimized"
    table = table_of([WithDepth(id=7, bit_depth=16)], schema_of(columns))
    stored = {"id": 7, "bit_depth": 16, "optimized": False, "flags": [], "px512_flags": []}
    assert table.to_pylist() == [{**ABSENT, **stored}]


def test_every_shared_fact_reaches_the_manifest() -> None:
    """A held file's facts are the ledger's, none forgotten; those of a file that the release lacks are all absent."""
    (held,) = manifest_rows()
    for column in columns_of(FileFacts):
        assert getattr(held, column.name) == getattr(FULL_ROW, column.name), column.name
    (lost,) = manifest_rows(dataclasses.replace(FULL_ROW, reason=Reason.GONE))
    for column in columns_of(FileFacts):
        assert getattr(lost, column.name) == ABSENT[column.name], column.name


def test_manifest_rows_come_back_from_their_table() -> None:
    """A row that is read from a manifest is the one that was written."""
    rows = manifest_rows()
    assert [ManifestRow(**with_tuples(record)) for record in manifest_table(rows).to_pylist()] == rows


def test_ledger_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Columns that it lacks have their defaults."""
    path = tmp_path / "0001.parquet"
    write_ledger(path, [FULL_ROW])
    earlier = pq.read_table(path).drop_columns(
        ["alpha", "kept", "pixel_hash", "source_pixel_hash", "px512_flags", "px512_reason"]
    )
    pq.write_table(earlier, path)
    assert read_ledger(path) == {1001: dataclasses.replace(FULL_ROW, alpha=None, kept=None, px512_flags=())}


def test_journal_keeps_the_order_of_the_ledger(tmp_path: Path) -> None:
    """A line of the journal has the columns of the ledger in their order, without what is derived from them."""
    journal = Journal(tmp_path / ".0001.journal")
    journal.add(LedgerRow(id=7, md5="0" * 32, ext="jpg", reason=Reason.GONE, attempts=2, http_status=404))
    journal.close()
    assert (tmp_path / ".0001.journal").read_bytes().strip() == (
        b'{"id":7,"md5":"' + b"0" * 32 + b'","ext":"jpg","stored_ext":null,"reason":"gone","size":null,"sha256":null,'
        b'"source_size":null,"fetched_md5":null,"source_pixel_hash":null,"pixel_hash":null,"file_type":null,'
        b'"width":null,"height":null,"pages":null,"flags":[],'
        b'"alpha":null,"color_space":null,"has_profile":null,"orientation":null,"optimized":false,"optimized_by":null,'
        b'"kept":null,"attempts":2,"http_status":404,"fetched_at":null,"px512_reason":null,"px512_size":null,'
        b'"px512_sha256":null,"px512_background":null,"px512_flags":[],"px512_dhash":null,"px512_phash":null,'
        b'"px512_settings":null,"first_release":null,"checked_at":null,"checked_release":null}'
    )
