"""The last id of a year in a source, found by bisection."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.sources.last_id import LastId, find_last_id
from danbooru_pipeline.sources.source import Page

LIMIT = datetime(2021, 12, 31, 23, 59, 59, tzinfo=UTC)


@dataclass
class Posts:
    """A source with posts of these ids; those up to `last` were created up to the limit. Counts its pages."""

    ids: list[int]
    last: int
    per_page: int = 200
    newest: int | None = None
    name: str = "test"
    identity: dict[str, str] = field(default_factory=dict)
    pages: int = field(default=0)

    def probe(self) -> None:
        """It is there."""

    def posts_after(self, cursor: int) -> Page:
        """The next posts by id, one second apart; every seventh shows no id."""
        self.pages += 1
        found = [id_ for id_ in self.ids if id_ > cursor][: self.per_page]
        records: list[dict[str, Any]] = [
            {"id": id_ if id_ % 7 else None, "created_at": (LIMIT + timedelta(seconds=id_ - self.last)).isoformat()}
            for id_ in found
        ]
        return Page(records=tuple(records), last_id=found[-1] if found else None)

    def table_after(self, table: str, cursor: int) -> Page | None:
        """No side tables."""
        assert table or cursor
        return None

    def count_posts(self, *, up_to: int) -> int | None:
        """The source does not say."""
        assert up_to
        return None

    def newest_id(self, table: str) -> int | None:
        """What the test says."""
        assert table == "posts"
        return self.newest


@given(
    st.sets(st.integers(1, 400), max_size=80),
    st.integers(0, 420),
    st.integers(1, 9),
    st.none() | st.integers(1, 500),
)
def test_last_id_is_that_of_a_full_read(ids: set[int], last: int, per_page: int, newest: int | None) -> None:
    """Whatever the ids, the pages and the hint about the newest id, the answer is that of reading all posts."""
    posts = Posts(sorted(ids), last, per_page, newest)
    shown = [id_ for id_ in ids if id_ % 7]
    expected = max((id_ for id_ in shown if id_ <= last), default=None)
    assert find_last_id(posts, LIMIT) == LastId(expected, covers=any(id_ > last for id_ in shown))


@pytest.mark.parametrize(("newest", "most"), [(9_000_000, 25), (None, 50)])
def test_a_large_source_takes_few_pages(newest: int | None, most: int) -> None:
    """Nine million ids take some twenty pages where the newest id is known, and twice as many where it is not."""

    @dataclass
    class Many(Posts):
        def posts_after(self, cursor: int) -> Page:
            self.ids = list(range(cursor + 1, min(cursor + 1 + self.per_page, 9_000_001)))
            return super().posts_after(cursor)

    posts = Many([], 5_020_994, newest=newest)
    assert find_last_id(posts, LIMIT) == LastId(5_020_994, covers=True)
    assert posts.pages <= most


@pytest.mark.parametrize("newest", [None, 4000])
@pytest.mark.parametrize("backdated", [{2101}, {2049, 4000}, {2101, 2049, 2500}, {3000, 3500}])
def test_posts_with_an_old_date_do_not_end_the_year(backdated: set[int], newest: int | None) -> None:
    """An import with its old date among later posts hides none of them, wherever the search meets it."""

    @dataclass
    class Backdated(Posts):
        def posts_after(self, cursor: int) -> Page:
            page = super().posts_after(cursor)
            old = LIMIT.replace(year=2010).isoformat()
            records = [{**each, "created_at": old} if each["id"] in backdated else each for each in page.records]
            return Page(records=tuple(records), last_id=page.last_id)

    posts = Backdated(list(range(1, 4001)), 2000, newest=newest)
    assert find_last_id(posts, LIMIT) == LastId(2000, covers=True)
    assert posts.pages <= 60


def test_ids_without_end_are_an_error() -> None:
    """A source that always has another post of the year is unusable, and no endless loop."""

    @dataclass
    class Endless(Posts):
        def posts_after(self, cursor: int) -> Page:
            self.last = cursor + 10
            self.ids = [cursor + 1, cursor + 2]
            return super().posts_after(cursor)

    with pytest.raises(SourceUnusable, match="has ids above"):
        find_last_id(Endless([], 0), LIMIT)
