"""Tags of a release, counted the second way: as plain Python counts them, whatever the texts are and however cut."""

from collections import Counter
from datetime import UTC, datetime
from statistics import median
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.posts import TIMESTAMP
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.tables.tag_totals import POSTS_COLUMNS, TagTally

_YEAR = 2021
_TEXTS = st.none() | st.lists(st.sampled_from(["a", "b", "c_(d)", "ä", ""]), max_size=4).map(" ".join)
_POSTS = st.fixed_dictionaries(
    {
        "id": st.integers(1, 60),
        "created_at": st.none() | st.sampled_from([datetime(year, 5, 4, tzinfo=UTC) for year in (2019, 2021, 2023)]),
        "rating": st.sampled_from(["g", "s", "q", "e", "x", None]),
        "tag_string": _TEXTS,
        **{f"tag_string_{name}": _TEXTS for name in CATEGORIES.values()},
    }
)
_SCHEMA = pa.schema(
    [(name, {"id": pa.int64(), "created_at": TIMESTAMP}.get(name, pa.string())) for name in POSTS_COLUMNS]
)


def _words(text: str | None) -> list[str]:
    return [word for word in (text or "").split(" ") if word]


def _counted(posts: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Name and category -> the row of the table."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for post in posts:
        for category in CATEGORIES.values():
            for name in _words(post[f"tag_string_{category}"]):
                found.setdefault((name, category), []).append(post)
    rows = {}
    for key, mine in found.items():
        ratings = Counter(post["rating"] if post["rating"] in set("gsqe") else "other" for post in mine)
        years = [post["created_at"].year if post["created_at"] else 0 for post in mine]
        rows[key] = {
            "posts": len(mine),
            **{f"posts_{rating}": ratings[rating] for rating in ("g", "s", "q", "e", "other")},
            "posts_of_year": years.count(_YEAR),
            "first_id": min(post["id"] for post in mine),
            "new": min(years) >= _YEAR,
        }
    return rows


@given(st.lists(_POSTS, max_size=12), st.integers(1, 5))
def test_every_tag_is_counted_as_a_loop_counts_it(posts: list[dict[str, Any]], cut: int) -> None:
    """Odd spaces, no time, no rating, ids in any order: the rows and the totals are those of plain Python."""
    tally = TagTally(_YEAR)
    for start in range(0, len(posts), cut):
        tally.add(pa.Table.from_pylist(posts[start : start + cut], schema=_SCHEMA))
    rows = tally.table().to_pylist()
    expected = _counted(posts)
    assert {(row.pop("name"), row.pop("category")): row for row in rows} == expected
    sizes = [len(_words(post["tag_string"])) for post in posts]
    said = tally.statistics()
    assert (said.posts, said.tag_instances) == (len(posts), sum(sizes))
    assert tally.tags == len({word for post in posts for word in _words(post["tag_string"])})
    assert said.tags_per_post["median"] == (median(sizes) if sizes else 0)
    assert said.new_tags == len({name for name, _ in expected}) - len(
        {name for (name, _), row in expected.items() if not row["new"]}
    )
