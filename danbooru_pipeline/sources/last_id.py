"""The last id of a year in a source, found by bisection: some thirty pages, whatever the size of the source."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.posts import RejectedRow, parse_api_record
from danbooru_pipeline.sources.source import Source

#: Above every id that a booru will ever have; bounds the search.
ID_LIMIT: Final = 2**40
#: So many ids below the last post of a year are looked at; fewer than any page has.
NEIGHBOURS: Final = 100


@dataclass(frozen=True, slots=True)
class LastId:
    """Where the posts up to a moment end.

    Attributes:
        id: of the last post that was created up to then; None if there is no such post.
        covers: whether a later post exists, which proves that none before it is missing at the end.
    """

    id: int | None
    covers: bool


@dataclass(frozen=True, slots=True)
class _Post:
    """A post that can be placed in a release: it has an id and a creation time."""

    id: int
    created_at: datetime


def find_last_id(source: Source, limit: datetime) -> LastId:
    """The last post of a source that was created up to `limit`; ids and creation times ascend together, but for a few.

    A post of the year that the search meets among later ones, such as an import with its old date, does not end it.

    Raises:
        SourceError: the source cannot be used.
    """
    first = _posts_after(source, 0)
    if not first or first[0].created_at > limit:
        return LastId(None, covers=bool(first))
    start = _last_up_to(first, limit)
    low, high, covers = _bound(source, limit, start)
    found, follows = _bisect(source, limit, low, high)
    covers = covers or follows
    while found > start and (last := _last_of_most(source, found, limit)) != found:
        if last is not None:
            return LastId(last, covers=True)
        found, _ = _bisect(source, limit, start, found - 1)
    return LastId(found, covers=covers)


def _bound(source: Source, limit: datetime, low: int) -> tuple[int, int, bool]:
    """The highest known id of a post up to the limit, an id above which there is none, and whether a later post is.

    Args:
        source: of the posts.
        limit: the moment.
        low: the id of a post that was created up to it.
    """
    high = source.newest_id("posts") or 1
    while (page := _posts_after(source, high)) and page[0].created_at <= limit:
        low = max(low, _last_up_to(page, limit))
        high *= 2
        if high > ID_LIMIT:
            raise SourceUnusable(f"{source.name} has ids above {ID_LIMIT}; check DANBOORU_API_URL")
    return low, high, bool(page)


def _bisect(source: Source, limit: datetime, low: int, high: int) -> tuple[int, bool]:
    """The last post up to the limit between an id of one and one above which there is none; whether a later post is."""
    covers = False
    while low < high:
        middle = (low + high) // 2
        page = _posts_after(source, middle)
        if page and page[0].created_at <= limit:
            low = _last_up_to(page, limit)
            if low < page[-1].id:  # the next post of the same page is a later one
                return low, True
        else:
            covers = covers or bool(page)
            high = middle
    return low, covers


def _last_of_most(source: Source, last: int, limit: datetime) -> int | None:
    """Where the year ends among a post of it and those just below; the post itself, unless later ones precede it.

    It ends where fewest posts are on the wrong side. None if it ends before all of them.
    """
    posts, cursor = list[_Post](), max(0, last - NEIGHBOURS - 1)
    while cursor < last and (page := _posts_after(source, cursor)):
        posts += [post for post in page if post.id <= last]
        cursor = page[-1].id
    signs = [1 if post.created_at <= limit else -1 for post in posts]
    sums = list(itertools.accumulate(signs, initial=0))
    end = sums.index(max(sums))
    return posts[end - 1].id if end else None


def _last_up_to(page: Sequence[_Post], limit: datetime) -> int:
    """The last id of a page whose first post was created up to the limit."""
    return list(itertools.takewhile(lambda post: post.created_at <= limit, page))[-1].id


def _posts_after(source: Source, cursor: int) -> list[_Post]:
    """Posts that follow an id, by id: the first page that has any; empty when no post follows."""
    while True:
        page = source.posts_after(cursor)
        rows = [row for row in map(parse_api_record, page.records) if not isinstance(row, RejectedRow)]
        posts = sorted((_Post(row["id"], row["created_at"]) for row in rows if row["id"] > cursor), key=lambda p: p.id)
        if posts or page.last_id is None:
            return posts
        cursor = page.last_id
