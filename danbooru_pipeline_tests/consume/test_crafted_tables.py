"""Tables that were made to break their readers in Python: the right answer, or an error that is documented."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest

from danbooru_pipeline import OpenedRelease, open_release
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline_tests.support.damage import Table, edit_table

POSTS, FILES = "parquet/posts-*", "manifest/files-*"
NOTES = [b"[" * 100_000, b"\xff\xfe", b"not json", b'{"index_columns": ["id"], "columns": [], "column_indexes": []}']


@pytest.mark.parametrize("note", NOTES, ids=range(len(NOTES)))
def test_notes_for_pandas_are_never_parsed(copy: Path, note: bytes) -> None:
    """Every frame and table is the one of a file without such a note, and a table has none to be parsed later."""
    whole = open_release(copy)
    first = next(whole.images()).id
    wanted = [whole.posts(), whole.files(), whole.search("order:score"), whole.compare(whole)]
    facts = whole.image(first).facts
    for table in (POSTS, FILES):
        edit_table(copy, table, lambda rows: rows.replace_schema_metadata({b"pandas": note}))
    crafted = open_release(copy)
    found = [crafted.posts(), crafted.files(), crafted.search("order:score"), crafted.compare(crafted)]
    assert all(left.equals(right) for left, right in zip(wanted, found, strict=True))
    assert crafted.image(first).facts == facts
    for rows in (crafted.posts(arrow=True), next(crafted.batches()), crafted.schema(), crafted.schema("files")):
        schema = rows if isinstance(rows, pa.Schema) else rows.schema
        assert b"pandas" not in (schema.metadata or {})


def more(column: Callable[[int], pa.Array]) -> Table:
    """A column that no release has."""
    return lambda rows: rows.append_column("more", column(rows.num_rows))


def other(name: str, kind: pa.DataType | None) -> Table:
    """A column of another type; without it if there is none."""

    def changed(rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index(name)
        if place < 0:
            return rows
        return rows.remove_column(place) if kind is None else rows.set_column(place, name, pa.nulls(len(rows), kind))

    return changed


CRAFTED: dict[str, Table] = {
    "a day": more(lambda rows: pa.array([2**31 - 1] * rows, pa.int32()).cast(pa.date32())),
    "a zone": more(lambda rows: pa.nulls(rows, pa.timestamp("us", "../../etc/localtime"))),
    "a moment": more(lambda rows: pa.array([2**63 - 1] * rows, pa.timestamp("us", "UTC"))),
    "no text": more(lambda rows: pa.Array.from_buffers(pa.string(), rows, pa.array([b"\xff"] * rows).buffers())),
    "twice": lambda rows: rows.append_column("id", rows["id"]),
    "ids of text": other("id", pa.string()),
    "ids of floats": other("id", pa.float64()),
    "no id": other("id", pa.int64()),
    "no ids": other("id", None),
    "path of a number": other("px512_path", pa.int64()),
    "no path": other("px512_path", None),
    "no size": other("px512_size", None),
    "no digest": other("px512_sha256", pa.string()),
    "no status": other("px512_status", None),
    "score of text": other("score", pa.string()),
    "tags of numbers": other("tag_string", pa.int64()),
}
READS: dict[str, Callable[[OpenedRelease], object]] = {
    "posts": lambda release: release.posts(),
    "files": lambda release: release.files(),
    "order": lambda release: release.search("order:score"),
    "range": lambda release: release.search("score:>=0"),
    "schema": lambda release: (release.schema(), release.schema("files")),
    "image": lambda release: [release.image(id_) for id_ in range(1, 50)],
    "images": lambda release: list(release.images()),
    "batches": lambda release: list(release.batches()),
    "compare": lambda release: release.compare(release),
}


@pytest.mark.parametrize("table", [POSTS, FILES])
@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_columns_raise_what_is_documented(copy: Path, table: str, kind: str) -> None:
    """Whatever type or value a column has, a read gives its rows or raises one line of a ReleaseError, nothing else."""
    edit_table(copy, table, CRAFTED[kind])
    for read in READS.values():
        with suppress(ReleaseError):
            read(open_release(copy))


@pytest.mark.parametrize("kind", ["a day", "a zone", "a moment", "no text", "no id", "no size", "no digest"])
def test_images_of_a_crafted_manifest_are_refused(copy: Path, kind: str) -> None:
    """An image whose row Python cannot hold, or that lacks a fact of it, is one line that says to verify."""
    edit_table(copy, FILES, CRAFTED[kind])
    with pytest.raises(ReleaseError, match="verify") as caught:
        list(open_release(copy).images())
    assert "\n" not in str(caught.value)
