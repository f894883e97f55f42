"""Verification of the columns of a release's tables: those that its version writes, of their types, and no others.

Whoever compares values casts them first, and reads what it knows; other readers see every column, as it is stored.
"""

from collections.abc import Collection, Sequence

import pyarrow as pa

from danbooru_pipeline.posts.schema import POST_SCHEMA
from danbooru_pipeline.release.change_rows import CHANGES_SCHEMA
from danbooru_pipeline.release.manifest.row import MANIFEST_ADDED, MANIFEST_SCHEMA
from danbooru_pipeline.release.tables.image_rows import ROWS_SCHEMA
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release.tables.tag_totals import TAG_COUNTS_SCHEMA
from danbooru_pipeline.release.verify.carried import FOLDER
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import schema_of
from danbooru_pipeline.release.verify.verification import Verification

_TABLES = {"posts": POST_SCHEMA, TAG_COUNTS: TAG_COUNTS_SCHEMA}
_MISSING = "is missing"


def check_schemas(run: Verification) -> frozenset[str]:
    """Check the columns of all tables that have the same ones in every release. Returns those that have others."""
    readable = (name for name in run.sums if name.endswith(".parquet") and run.is_readable(name))
    return frozenset(name for name in readable if not _is_as_written(run, name))


def _is_as_written(run: Verification, name: str) -> bool:
    folder, _, file = name.rpartition("/")
    if folder == "manifest" or FOLDER.fullmatch(folder):
        return check_columns(run, [name], MANIFEST_SCHEMA, may_lack=MANIFEST_ADDED)
    schema = {"changes": CHANGES_SCHEMA, "512px": ROWS_SCHEMA, "parquet": _TABLES.get(file.partition("-")[0])}.get(
        folder
    )
    return schema is None or check_columns(run, [name], schema)


def check_columns(
    run: Verification, names: Sequence[str], schema: pa.Schema, *, may_lack: Collection[str] = ()
) -> bool:
    """Check the columns of the files of a table, and whether all are right. In another version, any may be missing."""
    right = 0
    for name in names:
        with run.reading(Kind.PARQUET_UNREADABLE, name):
            held = schema_of(run, name)
            lacking = may_lack if _version(held) == _version(schema) else schema.names
            found = {column: _column_finding(held, schema, column) for column in [*schema.names, *held.names]}
            wrong = {column: said for column, said in found.items() if said != _MISSING or column not in lacking}
            for column, said in wrong.items():
                if said is not None:
                    run.add(Kind.PARQUET_UNREADABLE, name, f"{column} {said}")
            right += not any(wrong.values())
    return right == len(names)


def _version(schema: pa.Schema) -> bytes | None:
    return (schema.metadata or {}).get(b"danbooru_pipeline.schema")


def _column_finding(held: pa.Schema, schema: pa.Schema, column: str) -> str | None:
    if held.names.count(column) != 1:
        return "is there twice" if column in held.names else _MISSING
    if column not in schema.names:
        return "is a column that no version writes"
    found, wanted = held.field(column).type, schema.field(column).type
    return None if found == wanted else f"is of the type {found}, and should be {wanted}"
