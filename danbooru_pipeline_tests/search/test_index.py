"""The index has every value of every post, in bytes that follow from the posts alone."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search import index
from danbooru_pipeline.search.bitmaps import WIDE, IdTooLarge
from danbooru_pipeline.search.index import ids_in, kind_of, read_bitmap, write_index
from danbooru_pipeline_tests.support.searches import Posts, make_tables, reader


def test_every_tag_has_its_posts(tmp_path: Path) -> None:
    """The bitmap of each tag has the posts whose string has it as a word, and the table counts them."""
    posts = Posts(tmp_path, make_tables(300, seed=3))
    names = pq.read_table(tmp_path / INDEX_NAMES).to_pylist()
    counts = Counter(tag for row in posts.rows() for tag in row["tags"])
    assert {row["value"]: row["posts"] for row in names if row["field"] == "tag"} == counts
    assert [(row["field"], row["value"]) for row in names] == sorted((row["field"], row["value"]) for row in names)
    assert {row["value"]: row["category"] for row in names if row["category"]} == {"cat": "general"}
    with (tmp_path / INDEX_BITMAPS).open("rb") as file:
        for row in names:
            assert len(read_bitmap(file, offset=row["offset"], size=row["bytes"])) == row["posts"]
        assert file.tell() == (tmp_path / INDEX_BITMAPS).stat().st_size


def test_spilling_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same posts give the same bytes, whether they fit into memory or are spilled and read back a few at a time."""
    tables = make_tables(400, seed=4)
    for name, most in (("whole", 10**9), ("spilled", 50)):
        monkeypatch.setattr(index, "_SPILL_PAIRS", most)
        monkeypatch.setattr(index, "_BLOCK_PAIRS", most)
        Posts(tmp_path / name, tables)
    for path in (INDEX_BITMAPS, INDEX_NAMES):
        assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "spilled" / path).read_bytes()


def test_posts_that_an_index_names_are_found(tmp_path: Path) -> None:
    """A takedown asks whether any bitmap has one of its posts."""
    posts = Posts(tmp_path, make_tables(50, seed=5))
    ids = posts.tables["posts"]["id"].to_pylist()
    gone = next(number for number in range(1, 10_000) if number not in ids)
    with (tmp_path / INDEX_BITMAPS).open("rb") as file:
        assert ids_in(pq.read_table(tmp_path / INDEX_NAMES), file, {ids[3], gone, 2**40, -1}) == {ids[3]}


def test_no_posts_have_an_index(tmp_path: Path) -> None:
    """A release without posts has an empty index, in which nothing is found."""
    posts = Posts(tmp_path, {name: table.slice(0, 0) for name, table in make_tables(1 + 6, seed=6).items()})
    assert len(posts.find("-comic").ids) == 0
    assert posts.find("rating:g").total == 0


def test_ids_beyond_32_bits_make_an_index_of_64(tmp_path: Path) -> None:
    """The table of names says that its bitmaps are of 64 bits; a version that nobody knows is refused."""
    posts = Posts(tmp_path, make_tables(50, seed=8, largest=2**60))
    names = pq.read_table(tmp_path / INDEX_NAMES)
    assert kind_of(names.schema) is WIDE
    ids = posts.tables["posts"]["id"].to_pylist()
    with (tmp_path / INDEX_BITMAPS).open("rb") as file:
        assert ids_in(names, file, {ids[3], ids[4] + 1, ids[5] % 2**32, -1}) == {ids[3]}
    with pytest.raises(ValueError, match="later version, as index version 3"):
        kind_of(names.schema.with_metadata({"danbooru_pipeline.index": "3"}))


@pytest.mark.parametrize("empty", [[3], range(20)], ids=["a row", "all rows"])
def test_a_row_without_an_id(tmp_path: Path, empty: Sequence[int]) -> None:
    """A damaged table of posts is one clear error, and leaves no index."""
    tables = make_tables(20, seed=9)
    ids = [None if n in empty else number for n, number in enumerate(tables["posts"]["id"].to_pylist())]
    tables["posts"] = tables["posts"].set_column(0, "id", pa.array(ids, pa.int64()))
    with pytest.raises(IdTooLarge, match="names no post in a row"):
        write_index(tmp_path, reader(tables), sorted(tables), categories={})
    assert not (tmp_path / INDEX_BITMAPS).exists()


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, -1), (10**6, 5)])
def test_a_bitmap_that_is_not_there(tmp_path: Path, offset: int, size: int) -> None:
    """A table of names that points at no bytes, or beyond the file, is an error of the release, and no traceback."""
    Posts(tmp_path, make_tables(20, seed=9))
    with (
        (tmp_path / INDEX_BITMAPS).open("rb") as file,
        pytest.raises(ValueError, match=f"{INDEX_NAMES} names what is not in it"),
    ):
        read_bitmap(file, offset=offset, size=size)


def test_an_id_that_the_bitmaps_of_a_release_cannot_hold(tmp_path: Path) -> None:
    """A table that names a post beyond those of the release is one clear error, and not another post's id."""
    tables = make_tables(10, seed=9)
    tables["duplicates"] = pa.table({"a": [2**32 + 5], "b": [7], "kind": ["variant"]})
    with pytest.raises(IdTooLarge, match=r"names post 4294967301 in a row, and the index .* holds 1 to 4,294,967,295"):
        write_index(tmp_path, reader(tables), sorted(tables), categories={})
    assert not (tmp_path / INDEX_BITMAPS).exists()
