"""Footers that lie about the values of a column hide no row from a reader of ours."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.consume import export, open_release
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.damage import linked_copy, put


def with_other_largest(path: Path, column: str, said: int) -> int:
    """Let a footer say another largest value of a column than it has, which is returned."""
    group = pq.read_metadata(path).row_group(0)
    number = next(n for n in range(group.num_columns) if group.column(n).path_in_schema == column)
    largest: int = group.column(number).statistics.max
    data = path.read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    footer = data[-8 - size : -8]
    before = largest.to_bytes(8, "little")
    assert before in footer
    put(path, data[: -8 - size] + footer.replace(before, said.to_bytes(8, "little")) + data[-8:])
    return largest


@pytest.fixture
def lying(releases: Layout, tmp_path: Path) -> Path:
    """A release of which the footers of posts and manifest say that there is no post after 2."""
    release = linked_copy(releases.release(2022), tmp_path / "danbooru2022")
    for table in ("parquet/posts-*", "manifest/files-*"):
        for path in release.glob(table):
            assert with_other_largest(path, "id", 2) > 2
    return release


@pytest.mark.parametrize("table", ["posts", "files"])
def test_conditions_are_met_by_rows_and_not_by_footers(lying: Path, releases: Layout, table: str) -> None:
    """Every row that meets a condition is read, in whichever form it is asked for."""
    whole, opened = open_release(releases.release(2022)), open_release(lying)
    ids = opened.table(table, ["id"]).id.tolist()
    assert ids == whole.table(table, ["id"]).id.tolist()
    late = [id_ for id_ in ids if id_ > 2]
    assert late
    for where in (
        [("id", ">", 2)],
        [("id", "in", late)],
        [[("id", ">", 2)], [("id", "==", late[0])]],
        pc.field("id") > 2,
    ):
        assert opened.table(table, ["id"], where).id.tolist() == late
        assert [
            id_ for batch in opened.batches(table, ["id"], where, rows=3) for id_ in batch["id"].to_pylist()
        ] == late
    assert opened.table(table, ["id", "rating"], [("id", ">", 2)]).equals(
        whole.table(table, ["id", "rating"], [("id", ">", 2)])
    )


def test_image_and_search_find_what_a_footer_hides(lying: Path, releases: Layout) -> None:
    """A post is there by its id, and by a search."""
    whole, opened = open_release(releases.release(2022)), open_release(lying)
    ids = [image.id for image in whole.images(kind="original")]
    assert [image.id for image in opened.images(kind="original")] == ids
    assert opened.image(ids[-1], "original").sha256 == whole.image(ids[-1], "original").sha256
    assert opened.search("1girl").equals(whole.search("1girl"))


@pytest.mark.parametrize("part", ["parquet/posts-*", "manifest/files-*"])
def test_selection_with_a_footer_that_lies_is_one_error(releases: Layout, tmp_path: Path, part: str) -> None:
    """What is read by SQL goes by the footers, so these are proven before the first row."""
    release = linked_copy(releases.release(2022), tmp_path / "danbooru2022")
    (path,) = release.glob(part)
    with_other_largest(path, "id", 2)
    with pytest.raises(ReleaseError, match="has other ids than its footer says"):
        list(select(release, Selection()))
    for form in ("captions", "sqlite"):
        with pytest.raises(ReleaseError, match="has other ids than its footer says"):
            export(form, release, tmp_path / form, Selection())
        assert not (tmp_path / form).exists()
