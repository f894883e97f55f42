"""The vectors in a whole release: what they say, their documents, and what a takedown leaves of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import Kind, apply_takedown, plan_takedown, verify_release
from danbooru_pipeline.release.mentions import Search
from danbooru_pipeline.release.tables.vectors import learn
from danbooru_pipeline.release_paths import BROWSE_RELEASE
from danbooru_pipeline_tests.support.damage import edit_table, linked_copy, made_by_0_2, resum, with_column
from danbooru_pipeline_tests.support.yard import NOW, Yard

TAGS = "parquet/tag_vectors-00000-of-00001.parquet"
POSTS = "parquet/post_vectors-00000-of-00001.parquet"
#: Tags that go together; the third of each is of every third post of its group.
GROUPS = (("sea", "beach", "sand"), ("snow", "scarf", "coat"))


def grow(yard: Yard) -> None:
    """Posts of two groups of tags, and one with no tag that has a vector."""
    for number in range(120):
        tags = GROUPS[number % 2]
        general = " ".join(("outdoors", *tags[: 2 + (number % 3 == 0)]))
        meta = f"highres tag_{number}"
        yard.post(number + 1, tag_string=f"{general} {meta}", tag_string_general=general, tag_string_meta=meta)
    yard.post(400, tag_string="highres", tag_string_general="", tag_string_meta="highres")


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A yard with a release."""
    yard = Yard(Layout(tmp_path_factory.mktemp("grown")))
    grow(yard)
    yard.release()
    return yard


@pytest.fixture
def folder(grown: Yard, tmp_path: Path) -> Path:
    """A copy of that release."""
    return linked_copy(grown.layout.release(2021), tmp_path / "danbooru2021")


def test_what_goes_together_lies_together(grown: Yard) -> None:
    """The nearest tags of a tag are those of its group, and so are the nearest posts of a post; meta tags have none."""
    folder = grown.layout.release(2021)
    tags = {row["name"]: row for row in pq.read_table(folder / TAGS).to_pylist()}
    assert list(tags) == sorted([*GROUPS[0], *GROUPS[1], "outdoors"])
    for group in GROUPS:
        for tag in group:
            assert set([name for name in tags[tag]["nearest"] if name != "outdoors"][:2]) == set(group) - {tag}
            assert tags[tag]["category"] == "general"
    posts = pq.read_table(folder / POSTS)
    vectors = {row["id"]: np.array(row["vector"]) for row in posts.to_pylist()}
    assert list(vectors) == sorted(grown.rows)
    assert not vectors[400].any()
    assert vectors[1] @ vectors[3] > vectors[1] @ vectors[2]


def test_documents_name_the_tables(grown: Yard) -> None:
    """The card and Croissant let them be loaded, and the sums cover them."""
    folder = grown.layout.release(2021)
    card, croissant = (folder / "README.md").read_text(), (folder / "croissant.json").read_text()
    for table in ("tag_vectors", "post_vectors"):
        assert f"config_name: {table}" in card
        assert f"{table}/vector" in croissant
    for path in (TAGS, POSTS):
        assert f"  {path}\n" in (folder / "SHA256SUMS").read_text()


def test_rarer_tags_lie_where_their_posts_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags outside of the core, which are learned from their posts, lie with their group as well."""
    monkeypatch.setattr(learn, "_CORE", 5)
    yard = Yard(Layout(tmp_path))
    grow(yard)
    tags = {row["name"]: row["nearest"] for row in pq.read_table(yard.release() / TAGS).to_pylist()}
    assert set(tags["coat"][:2]) == {"snow", "scarf"}
    assert set(tags["sand"][:2]) == {"sea", "beach"}


def test_post_that_is_taken_down_leaves_the_table(tmp_path: Path) -> None:
    """The next version has the vectors of the other posts, and a search for mentions looks into them."""
    yard = Yard(Layout(tmp_path / "taken"))
    grow(yard)
    folder = yard.release()
    assert Search(frozenset({7, 999})).of_files([folder / POSTS]) == {7}
    apply_takedown(plan_takedown(yard.layout, [7]), created_at=NOW, threads=2)
    assert 7 not in pq.read_table(folder / POSTS)["id"].to_pylist()
    assert verify_release(folder, full=True).ok


def lose(folder: Path) -> None:
    """Lose one of the two tables."""
    (folder / TAGS).unlink()


def shorten(folder: Path) -> None:
    """Let a vector have 63 numbers."""
    edit_table(folder, POSTS, with_column("vector", lambda values: [values[0][:-1], *values[1:]]))


def swap(folder: Path) -> None:
    """Let two posts change their places."""
    edit_table(folder, POSTS, with_column("id", lambda values: [values[1], values[0], *values[2:]]))


@pytest.mark.parametrize("damage", [lose, shorten, swap])
def test_damage_is_found(folder: Path, damage: Callable[[Path], None]) -> None:
    """What is damaged in itself is found without the full verification."""
    damage(folder)
    resum(folder)
    assert set(verify_release(folder).counts) == {Kind.VECTORS_DIFFER.value}


@pytest.mark.parametrize(("path", "where"), [(TAGS, "beach"), (POSTS, "post 1")])
def test_other_vectors_are_found_in_full(folder: Path, path: str, where: str) -> None:
    """Vectors that are sound in themselves are learned again and compared by the full verification."""

    def turn(values: list[list[int]]) -> list[list[int]]:
        return [[-number for number in values[0]], *values[1:]]

    edit_table(folder, path, with_column("vector", turn))
    resum(folder)
    assert verify_release(folder).ok
    assert [finding.where for finding in verify_release(folder, full=True).findings] == [where]


def test_a_release_without_vectors_verifies(folder: Path) -> None:
    """An older release has none, and nothing is wrong with it."""
    for path in (TAGS, POSTS):
        (folder / path).unlink()
    (folder / BROWSE_RELEASE).unlink()
    resum(folder, made_by_0_2)
    assert verify_release(folder, full=True).ok
