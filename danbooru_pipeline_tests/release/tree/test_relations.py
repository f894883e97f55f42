"""Ids of tags, pools and favourites of posts: joined from the side tables, and written as 2017 had them."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.posts import LineTyper, posts_table
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.takedown.run import apply_takedown, plan_takedown
from danbooru_pipeline.release.tree.relations import RelationFiller
from danbooru_pipeline.release.verify.run import verify_release
from danbooru_pipeline_tests.support.lines_of import REAL_2017
from danbooru_pipeline_tests.support.side_tables import lines, side_tables
from danbooru_pipeline_tests.support.yard import NOW, Yard


def post(post_id: int, **more: Any) -> dict[str, Any]:
    """A post with one general tag, and one meta tag that no table knows."""
    created = pa.scalar(0, pa.timestamp("us", tz="UTC")).as_py()
    return {
        "id": post_id,
        "created_at": created,
        "tag_string": "1girl new",
        "tag_string_general": "1girl",
        "tag_string_meta": "new",
        **more,
    }


def test_lists_come_from_the_side_tables(tmp_path: Path) -> None:
    """Known tags get ids, pools and favourites are sorted by id, each once; a post without any has an empty list."""
    with RelationFiller(side_tables(tmp_path), tmp_path) as members:
        rows = members.fill(posts_table([post(1002), post(3000)])).to_pylist()
    assert rows[0]["tags"] == [
        {"id": 470575, "name": "1girl", "category": 0},
        {"id": None, "name": "new", "category": 5},
    ]
    assert (rows[0]["pools"], rows[0]["favs"]) == ([4162, 10152], [3, 5])
    assert (rows[1]["pools"], rows[1]["favs"]) == ([], [])


def test_without_side_tables_nothing_is_claimed(tmp_path: Path) -> None:
    """Without a table of pools the column is null, not empty; without a table of tags the tags have no ids."""
    with RelationFiller({}, tmp_path) as members:
        (row,) = members.fill(posts_table([post(1)])).to_pylist()
    assert (row["pools"], row["favs"]) == (None, None)
    assert [tag["id"] for tag in row["tags"]] == [None, None]


def test_what_the_source_said_stays(tmp_path: Path) -> None:
    """Posts of 2017 have their own lists, whatever the side tables say."""
    table = LineTyper().type(REAL_2017, name="real").table
    with RelationFiller(side_tables(tmp_path), tmp_path) as members:
        filled = members.fill(table.sort_by("id"))
        assert filled.select(["tags", "pools", "favs"]).equals(table.sort_by("id").select(["tags", "pools", "favs"]))
        assert sorted(members.encode_2017(filled).splitlines()) == sorted(REAL_2017.splitlines())


pairs = st.lists(st.tuples(st.integers(1, 2_000_000) | st.sampled_from([1, 2, 199_999, 200_000]), st.integers(1, 9)))


@given(pairs, st.sets(st.integers(1, 2_000_000) | st.sampled_from([1, 2, 199_999, 200_000]), min_size=1))
def test_any_pairs_are_joined_as_a_dictionary_would(favorites: list[tuple[int, int]], ids: set[int]) -> None:
    """However posts are cut into tables, each gets the users of its own pairs, in order."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "favorites.json")
        path.write_bytes(lines([{"user_id": user, "post_id": post_id} for post_id, user in favorites]))
        with RelationFiller({"favorites": path}, Path(name)) as members:
            ordered = sorted(ids)
            found = {
                row["id"]: row["favs"]
                for start in range(0, len(ordered), 3)
                for row in members.fill(posts_table([post(i) for i in ordered[start : start + 3]])).to_pylist()
            }
    assert found == {i: sorted(user for post_id, user in favorites if post_id == i) for i in ids}


def test_release_is_also_written_for_readers_of_2017(yard: Yard, tmp_path: Path) -> None:
    """On request each post is also written as in 2017: tags with ids, pools with categories, no nulls; it verifies.

    A post that is taken down leaves that file too, and no other line changes.
    """
    yard.tables |= {name: path.read_bytes() for name, path in side_tables(tmp_path).items()}
    yard.manifest()
    yard.snapshot(DocumentOptions(dialect_2017=True))
    folder = yard.layout.release(2021)
    path = folder / "metadata/2021-old/2021000000000000.json"
    before = path.read_bytes().splitlines()
    posts = {int(record["id"]): record for record in map(json.loads, before)}
    assert posts.keys() == yard.rows.keys()
    assert posts[2003]["pools"] == ["10152", "series"]
    assert posts[2003]["favs"] == ["9"]
    assert posts[2003]["tags"][0] == {"id": "470575", "name": "1girl", "category": "0"}
    assert (posts[2003]["parent_id"], posts[2003]["last_noted_at"]) == ("0", "1970-01-01 00:00:00 UTC")
    assert len(posts[2003]) == 30
    assert all(value is not None for record in posts.values() for value in record.values())
    assert verify_release(folder, full=True).ok
    tags = {row["id"]: row["tags"] for row in pq.read_table(sorted(folder.glob("parquet/posts-*"))).to_pylist()}
    assert [tag["name"] for tag in tags[2003]] == sorted(yard.rows[2003]["tag_string"].split())
    apply_takedown(plan_takedown(yard.layout, [3004]), created_at=NOW)
    after = yard.layout.release(2021).joinpath(path.relative_to(folder)).read_bytes().splitlines()
    assert after == [line for line in before if not line.startswith(b'{"id":"3004"')]
    assert verify_release(yard.layout.release(2021), full=True).ok
