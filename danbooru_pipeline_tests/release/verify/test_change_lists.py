"""Lists of changes tell mirrors what to remove: no row, and no line, names what no release of ours had."""

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.change_rows import COLUMNS, Change, Row, misfits
from danbooru_pipeline.release.checksums import read_sums
from danbooru_pipeline.release.compare import compare_releases
from danbooru_pipeline.release.verify.names import is_of_some_release
from danbooru_pipeline_tests.support.damage import edit_json, edit_table, made_by_0_2, put, resum, with_row

FOREIGN = "my-trained-model.safetensors"
YEARS, VERSIONS = "2022-from-2021", "2022.1-from-2022.0"
#: A row of each kind, of one post, as two releases may have it.
ROWS = (
    Row(1002, Change.FILE_ADDED, "512px/0002/1002.jpg", new_sha256="1" * 64),
    Row(1002, Change.FILE_REMOVED, "original/0002/1002.jpg", "original/0002/1002.jpg", "1" * 64),
    Row(1002, Change.FILE_REPLACED, "original/0002/1002.png", "original/0002/1002.jpg", "1" * 64, "2" * 64),
    Row(1002, Change.METADATA_CHANGED),
    Row(1002, Change.POST_ADDED, new_rating="g"),
    Row(1002, Change.POST_REMOVED, old_rating="g"),
    Row(1002, Change.RATING_CHANGED, old_rating="g", new_rating="s"),
)


def rows_of(folder: Path, label: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of a list."""

    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        change(rows)
        return pa.Table.from_pylist(rows, schema=table.schema)

    edit_table(folder, f"changes/{label}.parquet", changed)


def name_also(path: Path, *names: str) -> None:
    """Add lines to a list of files."""
    put(path, "".join(f"{line}\n" for line in sorted({*path.read_text().splitlines(), *names})).encode())


def findings(folder: Path, *, of: Kind = Kind.CHANGES_DIFFER, full: bool = False) -> list[str]:
    """What is wrong with lists of changes after all sums were made again."""
    resum(folder)
    return [f.message for f in verify_release(folder, threads=1, full=full).findings if f.kind is of]


def test_rows_of_every_kind_have_their_columns_alone() -> None:
    """A row of each kind is right as it is, and wrong with any column that its kind has not, or without one of its."""
    assert COLUMNS.keys() == set(Change) == {row.kind for row in ROWS}
    for row in ROWS:
        assert not list(misfits([row]))
        known = COLUMNS[row.kind]
        for column in Row._fields[2:]:
            other = Row(**(row._asdict() | {column: None if getattr(row, column) else "512px/0002/1002.jpg"}))
            fits = column in known.may if getattr(row, column) else False
            assert bool(list(misfits([other]))) != fits, (row.kind, column)


@pytest.mark.parametrize("path", [FOREIGN, "original/0002/1003.jpg", "original/0003/1002.jpg", "store/0002/1002.jpg"])
def test_rows_name_files_of_their_post_alone(path: str) -> None:
    """Whatever their kind, they name no other path than the one that a file of the post has in one of the trees."""
    for row in ROWS:
        for column in {"path", "old_path"} & COLUMNS[row.kind].always:
            assert any("none of its files" in said for said in misfits([Row(**(row._asdict() | {column: path}))]))


def test_a_post_that_comes_or_goes_does_nothing_else() -> None:
    """A new post has new files, and a post that is gone lost some: nothing else can be said of it."""
    by_kind = {row.kind: row for row in ROWS}
    added, removed = by_kind[Change.POST_ADDED], by_kind[Change.POST_REMOVED]
    assert not list(misfits([by_kind[Change.FILE_ADDED], added]))
    assert not list(misfits([by_kind[Change.FILE_REMOVED], removed]))
    assert list(misfits([by_kind[Change.METADATA_CHANGED], added]))
    assert list(misfits([by_kind[Change.METADATA_CHANGED], removed]))
    assert list(misfits([added, removed]))


def test_rows_as_they_are_written_fit(later: Path, earlier: Path, tmp_path: Path) -> None:
    """What the writer makes of two releases, in either direction, has the columns and the order of its kinds."""
    for number, (old, new) in enumerate(((earlier, later), (later, earlier))):
        into = tmp_path / str(number)
        label = compare_releases(old, new, into=into).label
        rows = [Row(**row) for row in pq.read_table(into / f"{label}.parquet").to_pylist()]
        assert len({row.kind for row in rows}) >= 5
        for _, of_post in itertools.groupby(rows, key=lambda row: row.id):
            assert not list(misfits(list(of_post)))


@pytest.mark.parametrize("column", Row._fields[2:])
def test_a_change_of_metadata_tells_nothing_more(later: Path, column: str) -> None:
    """A row of that kind has no value, and so no file that a mirror would remove."""
    edit_table(
        later, f"changes/{YEARS}.parquet", with_row(lambda row: row["kind"] == "metadata_changed", **{column: "x"})
    )
    assert any(f"metadata_changed has {column}" in said for said in findings(later))


def test_no_row_leads_to_a_file_of_somebody_else(later: Path) -> None:
    """A mirror keeps its own files, though a row names one of them, and the list that it follows as well."""
    named = {"old_path": FOREIGN}
    edit_table(later, f"changes/{YEARS}.parquet", with_row(lambda row: row["kind"] == "metadata_changed", **named))
    name_also(later / f"changes/{YEARS}.remove.txt", FOREIGN)
    assert f"names {FOREIGN}, which no release had" in findings(later)


@pytest.mark.parametrize("label", [YEARS, VERSIONS])
@pytest.mark.parametrize(
    "path", [FOREIGN, "original/0003/notes.txt", "original/9999/2003.jpg", "original/0003/2003.txt", "changes/mine.txt"]
)
def test_no_list_removes_a_file_of_somebody_else(later: Path, label: str, path: str) -> None:
    """Also where no earlier manifest is carried, each path is explained by a row, or has a form that releases know."""
    name_also(later / f"changes/{label}.remove.txt", path)
    assert f"names {path}, which no release had" in findings(later)


def test_removed_row_of_the_version_before_names_a_file_of_its_post(later: Path) -> None:
    """Where nothing tells what a version had, its rows name at least files of their posts, and those that are gone."""
    gone = {"path": FOREIGN, "old_path": FOREIGN}
    edit_table(later, f"changes/{VERSIONS}.parquet", with_row(lambda row: row["kind"] == "file_removed", **gone))
    name_also(later / f"changes/{VERSIONS}.remove.txt", FOREIGN)
    assert any(FOREIGN in said and "none of its files" in said for said in findings(later))


def test_file_that_went_went_with_its_post(later: Path) -> None:
    """A list that has a file of a post which is not here says that the post is gone."""
    rows_of(later, VERSIONS, lambda rows: rows.remove(next(row for row in rows if row["kind"] == "post_removed")))
    assert any("post_removed is not listed" in said for said in findings(later))


@pytest.mark.parametrize(("label", "post_id"), [(YEARS, 30_001), (VERSIONS, 2003)])
def test_rows_of_a_post_are_sorted(later: Path, label: str, post_id: int) -> None:
    """Rows are in the order of ids, kinds and paths, also within a post."""

    def swap(rows: list[dict[str, Any]]) -> None:
        first = next(number for number, row in enumerate(rows) if row["id"] == post_id)
        rows[first], rows[first + 1] = rows[first + 1], rows[first]

    rows_of(later, label, swap)
    assert findings(later) == [f"{post_id}: is not sorted by kind and path"]


def test_carried_checksums_explain_no_foreign_file(later: Path) -> None:
    """Who forges the carried list of checksums as well gets no file of a mirror removed."""
    path = later / "earlier/2021/SHA256SUMS"
    put(path, path.read_bytes() + f"{'0' * 64}  {FOREIGN}\n".encode())
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    name_also(later / f"changes/{YEARS}.remove.txt", FOREIGN)
    resum(later, lambda release: release["previous"].update(sha256sums_sha256=known))
    assert f"names {FOREIGN}, which no release had" in findings(later)


@pytest.mark.parametrize("label", [YEARS, VERSIONS])
def test_no_list_fetches_a_foreign_file(later: Path, label: str) -> None:
    """Also of a release that claims to be of a version whose parts are not a closed set."""
    put(later / FOREIGN, b"evil")
    name_also(later / f"changes/{label}.files.txt", FOREIGN)
    edit_json(later / "RELEASE.json", made_by_0_2)
    edit_json(later / "RELEASE.content.json", made_by_0_2)
    assert f"names {FOREIGN}, which is no document of any release" in findings(later)


@pytest.mark.parametrize(
    "path",
    [
        *("manifest/2021/files-00000-of-00001.parquet", "metadata/2022/2022000000000000.json"),
        *("metadata/2022/comments000000000000.json", "parquet/comments-00000-of-00001.parquet", "wds/512px-0003.tar"),
        *("changes/2022.0-from-2021.7.md", "metadata.json.tar.xz.torrent"),
    ],
)
def test_documents_of_the_version_before_may_go(later: Path, path: str) -> None:
    """A version may have had documents that this one lacks, also those of 0.2: a mirror removes them."""
    name_also(later / f"changes/{VERSIONS}.remove.txt", path)
    assert not findings(later)


def test_every_document_of_a_release_has_a_known_name(later: Path, earlier: Path) -> None:
    """Whatever a release lists may be gone in the next version, and has a name that lists of changes may have."""
    for folder in (later, earlier):
        assert [name for name in read_sums(folder) if not is_of_some_release(name)] == []
