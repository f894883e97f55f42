"""Sites and accounts that leave deleted posts out of their lists: the sweep asks them for posts of any status."""

from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import ApiSource, sweep_posts
from danbooru_pipeline_tests.support.sites import Give, Site, give_posts, record_of

NOW = datetime(2022, 1, 12, tzinfo=UTC)
POSTS = [record_of(i, is_deleted=i % 3 == 0) for i in range(1, 60)]


def site_that(*, hides: bool, knows: bool, upwards: bool = True) -> Give:
    """A site that hides deleted posts from plain lists or not, and knows the status metatag or takes it for a tag.

    Without `upwards` it gives the newest posts above an id.
    """

    def give(path: str, params: dict[str, str]) -> Any:
        tags = params.get("tags", "")
        if tags and not knows:
            return []
        status = tags.removeprefix("status:")
        shown = [
            p for p in POSTS if status == "any" or (p["is_deleted"] if status else not (hides and p["is_deleted"]))
        ]
        page = params["page"]
        if page[0] == "a" and not upwards:
            return [p for p in shown if p["id"] > int(page[1:])][: -int(params["limit"]) - 1 : -1]
        return give_posts(shown)(path, params)

    return give


def swept_ids(source: ApiSource, layout: Layout) -> list[int]:
    """Ids of what a sweep brings, in the order of the file."""
    sweep_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    ids: list[int] = pq.read_table(layout.posts(2021))["id"].to_pylist()
    return ids


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("hides", [True, False])
def test_deleted_posts_are_swept_wherever_they_are_hidden(
    site: Site, layout: Layout, *, hides: bool, upwards: bool
) -> None:
    """Deleted posts are in the sweep, though the account or the site leaves them out of plain lists."""
    source, server = site(site_that(hides=hides, knows=True, upwards=upwards))
    assert swept_ids(source, layout) == [post["id"] for post in POSTS]
    lists = [target for target in server.targets if "limit=200" in target]
    assert all(("status%3Aany" in target) == hides for target in lists), "a list without tags is cheaper for the site"


@pytest.mark.parametrize("answer", [[], {"success": False}, [{"id": 59, "is_deleted": "yes"}], [{"name": 1}], ["x"]])
def test_site_that_does_not_know_the_word_is_listed_as_ever(site: Site, layout: Layout, answer: Any) -> None:
    """Whatever another booru makes of a status, its lists are read without one."""
    plain = site_that(hides=False, knows=True)
    source, server = site(lambda path, params: answer if "tags" in params else plain(path, params))
    assert swept_ids(source, layout) == [post["id"] for post in POSTS]
    assert sum("tags=" in target for target in server.targets if target.startswith("/posts")) == 1
