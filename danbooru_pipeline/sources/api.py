"""The booru's JSON API as a source.

``page=a<ID>`` gives the lowest ids above ID, without the limit on page numbers; an empty answer is the end. In which
order they come does not matter. Facts: danbooru app/logical/pagination_extension.rb.
"""

from collections.abc import Mapping
from typing import Any

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.fetch.client import JsonAnswer
from danbooru_pipeline.posts import INT64_MAX
from danbooru_pipeline.sources.source import Page

#: The most that /posts.json gives at once; other tables give up to 1000.
POSTS_PER_PAGE = 200
RECORDS_PER_PAGE = 1000


class ApiSource:
    """Pages of posts and side tables over HTTP."""

    name = "api"

    def __init__(self, client: BooruClient) -> None:
        self._client = client

    def probe(self) -> None:
        """Ask for one post.

        Raises:
            SourceError: the source does not answer as a booru does.
        """
        self._records("/posts.json", {"limit": 1})

    def posts_after(self, cursor: int) -> Page:
        """Up to 200 posts with the lowest ids above `cursor`."""
        records = self._records("/posts.json", {"limit": POSTS_PER_PAGE, "page": f"a{cursor}"})
        if cursor and records and all(_id_of(record) is None for record in records):
            # Hidden posts came without id in 2021 and 2022. These are the lowest ids above the cursor, whatever they
            # are, so nothing is skipped by a step as wide as there are of them.
            return Page(records=tuple(records), last_id=cursor + len(records))
        page = _page("/posts.json", records, cursor)
        if cursor == 0 and page.last_id is not None:
            self._require_nothing_below(page)
        return page

    def table_after(self, table: str, cursor: int) -> Page | None:
        """Up to 1000 records of a side table; None when the API does not offer it."""
        path = f"/{table}.json"
        answer = self._client.get_json(path, {"limit": RECORDS_PER_PAGE, "page": f"a{cursor}"})
        if cursor == 0 and not _is_list(answer):
            return None
        return _page(path, self._checked(path, answer), cursor)

    def _require_nothing_below(self, first: Page) -> None:
        """Refuse a site that answers ``page=a0`` with its newest posts: a sweep would find just these, and end."""
        lowest = min(i for i in map(_id_of, first.records) if i is not None)
        answer = self._client.get_json("/posts.json", {"limit": 1, "page": f"b{lowest}"})
        below = [i for i in map(_id_of, answer.value) if i is not None and i < lowest] if _is_list(answer) else []
        if below:
            raise SourceUnusable(
                f"{self._client.settings.api_url}/posts.json?page=a0 leaves out posts, {max(below)} among them; check "
                "that DANBOORU_API_URL is the address of a Danbooru",
            )

    def _records(self, path: str, params: Mapping[str, str | int]) -> list[dict[str, Any]]:
        return self._checked(path, self._client.get_json(path, params))

    def _checked(self, path: str, answer: JsonAnswer) -> list[dict[str, Any]]:
        if not _is_list(answer):
            raise SourceUnusable(
                f"{self._client.settings.api_url}{path} answers HTTP {answer.status} without a list of records; "
                "check that DANBOORU_API_URL is the address of a Danbooru",
            )
        records: list[dict[str, Any]] = answer.value
        return records


def _is_list(answer: JsonAnswer) -> bool:
    value = answer.value
    return answer.status == 200 and isinstance(value, list) and all(isinstance(record, dict) for record in value)


def _page(path: str, records: list[dict[str, Any]], cursor: int) -> Page:
    """The records above a cursor, lowest id first; what was had before is left out."""
    ids = [(_id_of(record), record) for record in records]
    above = sorted(((i, record) for i, record in ids if i is None or i > cursor), key=lambda pair: pair[0] or 0)
    last_id = above[-1][0] if above else None
    if records and last_id is None:
        raise SourceUnusable(
            f"{path}?page=a{cursor} gives no ids above {cursor}, so this source cannot be read to its end; check that "
            "DANBOORU_API_URL is the address of a Danbooru",
        )
    return Page(records=tuple(record for _, record in above), last_id=last_id)


def _id_of(record: Mapping[str, Any]) -> int | None:
    """The id of a record, as a number or as text; None without one that can be an id."""
    value = record.get("id")
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if 0 < number <= INT64_MAX else None
