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
    """The last post of a source that was created up to `limit`; ids and creation times ascend together.

    Raises:
        SourceError: the source cannot be used, or its ids do not end.
    """
    first = _posts_after(source, 0)
    if not first or first[0].created_at > limit:
        return LastId(None, covers=bool(first))
    low = _last_up_to(first, limit)  # a post of this id was created up to the limit
    high = source.newest_id("posts") or 1  # becomes an id above which no post was created up to the limit
    while (page := _posts_after(source, high)) and page[0].created_at <= limit:
        low = max(low, _last_up_to(page, limit))
        high *= 2
        if high > ID_LIMIT:
            raise SourceUnusable(f"{source.name} has ids above {ID_LIMIT}; check DANBOORU_API_URL")
    covers = bool(page)
    while low < high:
        middle = (low + high) // 2
        page = _posts_after(source, middle)
        if page and page[0].created_at <= limit:
            low = _last_up_to(page, limit)
            if low < page[-1].id:  # the next post of the same page is a later one
                return LastId(low, covers=True)
        else:
            covers = covers or bool(page)
            high = middle
    return LastId(low, covers=covers)


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
