"""The table of duplicates has exactly the pairs that its rules describe, however they are searched for."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.release.tables.duplicates import find
from danbooru_pipeline.release.tables.duplicates.find import find_duplicates
from danbooru_pipeline.release.tables.duplicates.rules import DUPLICATES_SCHEMA, LARGEST_CROWD
from danbooru_pipeline_tests.support.hashed import Hashed, all_pairs, flipped, tables_of

DICE = random.Random(8)
DHASH, PHASH = DICE.getrandbits(256), DICE.getrandbits(256)


def found(posts: list[Hashed], folder: Path) -> list[dict[str, Any]]:
    """The rows of the table, after checking its form."""
    table = find_duplicates(tables_of(posts, folder))
    assert table.schema.equals(DUPLICATES_SCHEMA, check_metadata=True)
    rows: list[dict[str, Any]] = table.to_pylist()
    keys = [(row["a"], row["b"]) for row in rows]
    assert keys == sorted(set(keys))
    assert all(a < b for a, b in keys)
    return rows


def near(id_: int, *, dhash: int = 0, phash: int = 0, seed: int = 0, **changes: Any) -> Hashed:
    """A post whose hashes differ from the common ones in so many bits."""
    dice = random.Random(f"{id_} {seed}")
    return Hashed(
        id=id_,
        dhash=flipped(DHASH, dice.sample(range(256), dhash)),
        phash=flipped(PHASH, dice.sample(range(256), phash)),
        **changes,
    )


@st.composite
def worlds(draw: st.DrawFn) -> list[Hashed]:
    """Posts in a few clusters, at distances around all limits, with artists, parents and sources in common."""
    dice = random.Random(draw(st.integers(0, 2**32)))
    centres = [(dice.getrandbits(256), dice.getrandbits(256)) for _ in range(3)]
    ids = dice.sample(range(1, 400), draw(st.integers(0, 40)))
    posts = []
    for id_ in ids:
        dhash, phash = dice.choice(centres)
        held = dice.random() < 0.9
        plain = dice.random() < 0.1
        moved = flipped(dhash, dice.sample(range(256), dice.choice([0, 2, 4, 7, 8, 20, 30])))
        posts.append(
            Hashed(
                id=id_,
                dhash=(dice.getrandbits(256) & 0xFFFF if plain else moved) if held else None,
                phash=flipped(phash, dice.sample(range(256), dice.choice([0, 2, 6, 12, 45, 70]))) if held else None,
                pixel_hash=f"{dice.randint(0, 25):032x}" if dice.random() < 0.9 else None,
                artists=tuple(dice.sample(["ann", "bob", "cho"], dice.randint(0, 2))),
                parent=dice.choice([None, None, dice.choice(ids)]),
                pixiv=dice.choice([None, None, None, 7, 8]),
            )
        )
    return posts


@given(posts=worlds())
def test_table_equals_a_comparison_of_every_two(posts: list[Hashed]) -> None:
    """No pair is missed and none is too many; which are identical, and which lack a parent, is as compared."""
    with TemporaryDirectory() as folder:
        rows = found(posts, Path(folder))
    assert {(row["a"], row["b"]): (row["kind"] == "identical", row["unlinked"]) for row in rows} == all_pairs(posts)


def test_kinds_say_what_the_hashes_tell(tmp_path: Path) -> None:
    """Same pixels; the same but recompressed; bits moved everywhere or another shape; bits moved in one place."""
    corner = [255 - 16 * row - column for row in range(4) for column in range(4)]
    posts = [
        near(1, pixel_hash="a" * 32, artists=("ann",)),
        near(2, pixel_hash="a" * 32),
        near(3, dhash=3, phash=2),
        Hashed(id=4, dhash=flipped(DHASH, corner), phash=flipped(PHASH, range(20)), artists=("ann",)),
        near(5, dhash=24, phash=40, artists=("ann",)),
        near(6, sides=(500, 400)),
        near(7, sides=(400, 600), orientation=6),
        near(8, phash=4),
        near(9, phash=4, sides=(300, 200)),
    ]
    kinds = {(row["a"], row["b"]): row["kind"] for row in found(posts, tmp_path)}
    assert kinds[1, 2] == "identical"
    assert kinds[1, 3] == "recompressed"
    assert kinds[1, 4] == "variant"
    assert kinds[1, 5] == "cropped"
    assert kinds[1, 6] == "cropped"
    assert kinds[1, 7] == "recompressed"  # turned by its EXIF, it has the same shape
    assert kinds[1, 8] == "variant"  # of the same size: perhaps another expression
    assert kinds[1, 9] == "recompressed"  # smaller
    assert (2, 5) not in kinds  # too far for posts that have nothing in common


def test_parents_and_those_who_lack_one(tmp_path: Path) -> None:
    """Parent and child, and siblings, are related; a near pair of one artist that is not asks for a curator."""
    ann: dict[str, Any] = {"dhash": 15, "phash": 30, "artists": ("ann",)}
    posts = [near(1, **ann), near(2, parent=1, **ann), near(3, parent=1, **ann), near(4, **ann)]
    rows = {(row["a"], row["b"]): row for row in found(posts, tmp_path)}
    assert {pair for pair, row in rows.items() if row["same_parent"]} == {(1, 2), (1, 3), (2, 3)}
    assert {pair for pair, row in rows.items() if row["unlinked"]} == {(1, 4), (2, 4), (3, 4)}


@pytest.mark.parametrize("work", [1, 2**31 - 1, 2**31, 2**62])
def test_works_of_any_number_are_compared(tmp_path: Path, work: int) -> None:
    """Two pictures from one work, too far apart for strangers, are a pair, whatever the number of the work."""
    posts = [near(id_, dhash=15, phash=30, pixiv=pixiv) for id_, pixiv in ((1, work), (2, 5), (3, work))]
    assert [(row["a"], row["b"]) for row in found(posts, tmp_path)] == [(1, 3)]


@pytest.mark.parametrize(("largest", "pairs"), [(3, 3), (2, 0)])
def test_crowds_of_one_artist_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int, pairs: int
) -> None:
    """An artist of more pictures than the limit is no reason to compare them; those without content do not count."""
    monkeypatch.setattr(find, "LARGEST_GROUP", largest)
    posts = [near(id_, dhash=15, phash=30, artists=("ann", f"other_{id_}")) for id_ in (1, 2, 3)]
    blank = [Hashed(id=id_, dhash=0, phash=1, artists=("ann",)) for id_ in (4, 5)]
    assert len(found([*posts, *blank], tmp_path)) == pairs


def test_animation_is_identical_without_hashes(tmp_path: Path) -> None:
    """Files without a 512px image are compared by their pixel hash; their distances are not known."""
    posts = [Hashed(id=1, pixel_hash="b" * 32), Hashed(id=9, pixel_hash="b" * 32), Hashed(id=5)]
    (row,) = found(posts, tmp_path)
    assert (row["a"], row["b"], row["kind"]) == (1, 9, "identical")
    assert (row["distance_dhash"], row["distance_phash"]) == (None, None)


def test_blank_pages_make_no_group(tmp_path: Path) -> None:
    """Pictures of one colour are near nothing; a thousand identical ones are a thousand pairs, not half a million."""
    blank = [Hashed(id=id_, dhash=0, phash=1, pixel_hash=f"{id_ % 2:032x}", artists=("ann",)) for id_ in range(1, 2001)]
    rows = found(blank, tmp_path)
    assert {row["kind"] for row in rows} == {"identical"}
    pairs = LARGEST_CROWD * (LARGEST_CROWD - 1) // 2 + 1000 - LARGEST_CROWD
    assert len(rows) == 2 * pairs
    assert {row["b"] for row in rows} == set(range(3, 2001)) | {4}


def test_crowd_of_one_picture_stays_small(tmp_path: Path) -> None:
    """Five hundred files of one picture are tied to the first, and everything near it is still found."""
    crowd = [near(id_, phash=1, seed=id_) for id_ in range(1, 501)]
    rows = found([*crowd, near(600, dhash=4, phash=2)], tmp_path)
    assert len(rows) < 2000
    assert {id_ for row in rows for id_ in (row["a"], row["b"])} == {*range(1, 501), 600}


def test_another_post_changes_nothing_for_the_others(tmp_path: Path) -> None:
    """The pairs without a post are those of a release that never had it, so a takedown is told by no other row."""
    posts = [near(id_, dhash=id_ % 13, phash=id_ % 30, artists=("ann",)) for id_ in range(1, 40)]
    every = [row for row in found(posts, tmp_path) if 7 not in {row["a"], row["b"]}]
    assert every == found([post for post in posts if post.id != 7], tmp_path)


def test_release_without_posts_has_no_pairs(tmp_path: Path) -> None:
    """Nothing to compare is an empty table."""
    assert found([], tmp_path) == []


def test_manifest_of_an_earlier_version_has_identical_pairs_only(tmp_path: Path) -> None:
    """Without the columns of perceptual hashes, pixel hashes are still compared."""
    tables = tables_of([near(1, pixel_hash="c" * 32), near(2, pixel_hash="c" * 32), near(3)], tmp_path)
    path = tmp_path / "files.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["px512_dhash", "px512_phash"]), path)
    assert find_duplicates(tables)["b"].to_pylist() == [2]
