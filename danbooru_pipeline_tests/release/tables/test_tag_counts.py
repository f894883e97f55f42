"""Tags of a release: counted from its posts, as a dictionary would."""

from collections import Counter
from datetime import UTC, datetime
from statistics import median

import msgspec
import pyarrow.parquet as pq

from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline_tests.support.yard import Yard


def test_counts_are_those_of_the_posts(yard: Yard) -> None:
    """By category and rating, new ones known by the year of their posts, whatever the table of tags says."""
    yard.post(30_001, rating="g", created_at=datetime(2021, 6, 1, tzinfo=UTC), tag_string="solo fresh",
              tag_string_general="solo fresh", tag_string_meta="")  # fmt: skip
    folder = yard.release()
    posts = list(yard.rows.values())
    categories = {"general": "tag_string_general", "meta": "tag_string_meta"}
    instances = [
        (name, category, row)
        for row in posts
        for category, column in categories.items()
        for name in row[column].split()
    ]
    expected = Counter((name, category) for name, category, _ in instances)
    rows = pq.read_table(sorted(folder.glob("parquet/tag_counts-*.parquet"))).to_pylist()
    assert {(row["name"], row["category"]): row["posts"] for row in rows} == expected
    assert [row["posts"] for row in rows] == sorted(expected.values(), reverse=True)
    for row in rows:
        mine = [post for name, category, post in instances if (name, category) == (row["name"], row["category"])]
        by_rating = Counter(post["rating"] for post in mine)
        assert {rating: row[f"posts_{rating}"] for rating in "gsqe"} == {rating: by_rating[rating] for rating in "gsqe"}
        assert row["posts_other"] == 0
        assert row["first_id"] == min(post["id"] for post in mine)
        assert row["new"] == all(post["created_at"].year == 2021 for post in mine) == (row["name"] == "fresh")
    said = read_release(folder).tag_statistics
    sizes = [len(row["tag_string"].split()) for row in posts]
    assert (said.posts, said.tag_instances, said.tags, said.new_tags) == (len(posts), sum(sizes), len(expected), 1)
    assert said.tags_per_post == {
        "mean": round(sum(sizes) / len(sizes), 3), "median": median(sizes), "most": max(sizes)
    }  # fmt: skip
    assert msgspec.to_builtins(said.by_category["meta"])["instances"] == sum(
        count for (_, category), count in expected.items() if category == "meta"
    )
    assert {rating: count.posts for rating, count in said.by_rating.items()} == Counter(row["rating"] for row in posts)
