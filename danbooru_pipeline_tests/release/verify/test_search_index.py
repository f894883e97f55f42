"""Verification holds the index against the release's own tables, also when its checksums were corrected."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.consume import Selection, open_release
from danbooru_pipeline.consume.select import select
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.mentions import Search
from danbooru_pipeline.release_paths import BROWSE_RELEASE, INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline_tests.support.damage import edit_table, made_by_0_2, put, resum, with_column
from danbooru_pipeline_tests.support.yard import Yard


def cut(folder: Path) -> None:
    """Lose the last byte of the bitmaps."""
    put(folder / INDEX_BITMAPS, (folder / INDEX_BITMAPS).read_bytes()[:-1])


def lose_names(folder: Path) -> None:
    """Lose one of the two files."""
    (folder / INDEX_NAMES).unlink()


def miscount(folder: Path) -> None:
    """Let the first row say one post more."""
    edit_table(folder, INDEX_NAMES, with_column("posts", lambda values: [values[0] + 1, *values[1:]]))


def unsort(folder: Path) -> None:
    """Let a value be there twice."""
    edit_table(folder, INDEX_NAMES, with_column("value", lambda values: [values[1], *values[1:]]))


def spoil(folder: Path) -> None:
    """Let every bitmap be something else."""
    put(folder / INDEX_BITMAPS, bytes((folder / INDEX_BITMAPS).stat().st_size))


def rename(folder: Path) -> None:
    """Call the last value another name: sound in itself, and only another index shows it."""
    edit_table(folder, INDEX_NAMES, with_column("value", lambda values: [*values[:-1], f"{values[-1]}x"]))


@pytest.mark.parametrize("damage", [cut, lose_names, miscount, unsort, spoil])
def test_damage_is_found(yard: Yard, damage: Callable[[Path], None]) -> None:
    """What is damaged in the index is found without the full verification, and reading it is one clear error."""
    folder = yard.release()
    damage(folder)
    resum(folder)
    assert set(verify_release(folder).counts) == {Kind.INDEX_DIFFERS.value}
    if damage is spoil:
        with pytest.raises(ReleaseError, match="verify the release"):
            open_release(folder).search_ids("order:score -rating:s -rating:e -rating:g -rating:q -status:deleted")


def test_an_index_that_says_something_else_is_found_in_full(yard: Yard) -> None:
    """An index that is sound in itself is made again and compared, value by value, by the full verification."""
    folder = yard.release()
    last = pq.read_table(folder / INDEX_NAMES).to_pylist()[-1]
    rename(folder)
    resum(folder)
    assert verify_release(folder).ok
    found = verify_release(folder, full=True)
    assert {finding.where for finding in found.findings} == {
        f"{last['field']}:{last['value']}",
        f"{last['field']}:{last['value']}x",
    }


def test_a_release_without_an_index_verifies_and_is_searched(yard: Yard) -> None:
    """An older release has no index: nothing is wrong with it, and a search finds the same posts."""
    folder = yard.release()
    release = open_release(folder)
    found = [release.search_ids(text).tolist() for text in ("", "rating:s", "image:512px order:id")]
    for name in (INDEX_BITMAPS, INDEX_NAMES):
        (folder / name).unlink()
    (folder / INDEX_NAMES).parent.rmdir()
    (folder / BROWSE_RELEASE).unlink()
    resum(folder, made_by_0_2)
    assert verify_release(folder, full=True).ok
    assert [release.search_ids(text).tolist() for text in ("", "rating:s", "image:512px order:id")] == found


def test_ids_beyond_32_bits_are_searched_exported_and_taken_down(yard: Yard) -> None:
    """A release with a post above 2^32 has index and page, verifies, and answers by its index and by a scan alike."""
    large = 2**32 + 7
    yard.post(7, rating="s", tag_string="solo")
    yard.post(large, rating="s", tag_string="1girl solo", parent_id=7, score=5)
    folder = yard.release()
    assert (folder / BROWSE_RELEASE).exists()
    assert verify_release(folder, full=True).ok
    release = open_release(folder)
    texts = [
        "rating:s 1girl",
        f"id:{large}",
        f"bucket:{large % 1000} score:5",
        "child:any or parent:7",
        "order:score limit:1",
    ]
    found = [release.search_ids(text).tolist() for text in texts]
    assert all(large in ids for ids in found)
    chosen = list(select(folder, Selection(search=f"id:>{2**32}")))
    assert [(post.id, post.path) for post in chosen] == [(large, f"512px/{large % 1000:04d}/{large}.jpg")]
    assert release.search("1girl id:>4294967296")["id"].tolist() == [large]
    assert Search(frozenset({large, large + 1})).of_files(sorted((folder / "index").iterdir())) == {large}
    for name in (INDEX_BITMAPS, INDEX_NAMES):
        (folder / name).unlink()
    assert [release.search_ids(text).tolist() for text in texts] == found


def test_the_index_names_its_posts(yard: Yard) -> None:
    """A search for mentions of a post, by which takedowns end, sees it in the index alone."""
    folder = yard.release()
    ids = open_release(folder).search_ids("").tolist()
    for path in [*folder.rglob("*.json"), *folder.glob("parquet/*"), *folder.glob("manifest/*")]:
        path.unlink()
    assert Search(frozenset({ids[0], 999_999})).of_files(sorted((folder / "index").iterdir())) == {ids[0]}
