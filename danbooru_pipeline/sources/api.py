"""The booru's JSON API as a source.

``page=a<ID>`` gives the lowest ids above ID, without the limit on page numbers; an empty answer is the end. The order
within a page does not matter. Facts: danbooru app/logical/pagination_extension.rb. Other boorus give the newest records
above ID instead. That is recognised by a record below the first page; from then on the same records are fetched by
``page=b<ID>``, which is unambiguous.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from danbooru_pipeline.errors import SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.fetch.client import JsonAnswer
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.sources.source import Page
from danbooru_pipeline.version import version

#: Most records per page: 200 of /posts.json, 1000 of other tables.
POSTS_PER_PAGE = 200
RECORDS_PER_PAGE = 1000
#: The site's ids are 32-bit numbers, and it refuses to compare them with larger ones.
ABOVE_ALL_IDS = 2**31 - 1
#: How many times in a row a page may be empty where records should follow.
EMPTY_PAGES = 3


class ApiSource:
    """Pages of posts and side tables over HTTP."""

    name = "api"

    def __init__(self, client: BooruClient) -> None:
        self._client = client
        self._walks: dict[str, _Walk] = {}
        self._any_status: dict[str, str] | None = None  # unknown before the first page

    @property
    def identity(self) -> Mapping[str, str]:
        """Address, account and code: pages that differ in one of them do not belong together."""
        settings = self._client.settings
        return {"address": settings.api_url, "account": settings.login or "anonymous", "code": version().number}

    def probe(self) -> None:
        """Ask for one post.

        Raises:
            SourceError: the answer is not a booru's.
        """
        _checked(self._client, "/posts.json", self._client.get_json("/posts.json", {"limit": 1}))

    def posts_after(self, cursor: int) -> Page:
        """Some hundred posts with the lowest ids above `cursor`."""
        if self._any_status is None:
            self._any_status = {"tags": "status:any"} if self._hides_deleted() else {}
        return self._walk("/posts.json", POSTS_PER_PAGE, query=self._any_status).after(cursor)

    def table_after(self, table: str, cursor: int) -> Page | None:
        """Some hundred records of a side table with the lowest ids above `cursor`; None if there is no such table."""
        path = f"/{table}.json"
        first: dict[str, str | int] = {"limit": 1, "page": "a0"}
        if cursor == 0 and not _is_list(self._client.get_json(path, first, may_be_refused=True)):
            return None
        return self._walk(path, RECORDS_PER_PAGE).after(cursor)

    def count_posts(self, *, up_to: int) -> int | None:
        """How many posts a search for these ids finds, by ``/counts/posts.json``; None from a site without it."""
        any_status = (self._any_status or {}).get("tags", "")
        # Exact, since by default the site estimates, and gives the number of some hours ago.
        query = {"tags": f"id:1..{up_to} {any_status}".strip(), "estimate_count": "false", "skip_cache": "true"}
        try:
            answer = self._client.get_json("/counts/posts.json", query, may_be_refused=True)
        except (SourceUnreachable, SourceUnusable):  # it may time out on this question, and still give its pages
            return None
        counts = answer.value.get("counts") if answer.status == 200 and isinstance(answer.value, dict) else None
        found = counts.get("posts") if isinstance(counts, dict) else None
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def newest_id(self, table: str) -> int | None:
        """About the highest id of a table, which shows how far a read is."""
        answer = self._client.get_json(f"/{table}.json", {"limit": 1, "page": f"b{ABOVE_ALL_IDS}"}, may_be_refused=True)
        return next(iter(map(id_of, answer.value)), None) if _is_list(answer) else None

    def _walk(self, path: str, limit: int, *, query: Mapping[str, str] = MappingProxyType({})) -> "_Walk":
        return self._walks.setdefault(path, _Walk(self._client, path, limit, query=query))

    def _hides_deleted(self) -> bool:
        """Whether lists leave out deleted posts unless they ask for any status, as of some accounts and sites.

        Such a sweep would call all of them expunged. A site that does not know the word shows no deleted post for it.
        """
        deleted = self._first({"tags": "status:deleted", "page": "1"})
        found = id_of(deleted) if deleted is not None and deleted.get("is_deleted") is True else None
        if found is None:
            return False
        at = {"page": f"b{found + 1}"}
        plain, any_status = self._first(at), self._first({**at, "tags": "status:any"})
        return (plain is None or id_of(plain) != found) and any_status is not None and id_of(any_status) == found

    def _first(self, query: Mapping[str, str]) -> Mapping[str, Any] | None:
        try:
            answer = self._client.get_json("/posts.json", {"limit": 1, **query}, may_be_refused=True)
        except SourceUnusable:  # it may refuse the question, and still give its lists
            return None
        return answer.value[0] if _is_list(answer) and answer.value else None


class _Walk:
    """All records of one address, by ascending id."""

    def __init__(self, client: BooruClient, path: str, limit: int, *, query: Mapping[str, str]) -> None:
        self._client, self._path, self._limit, self._query = client, path, limit, query
        self._upwards: bool | None = None  # whether page=a gives the lowest ids; unknown before the first page
        self._newest = 0
        self._width = limit

    def after(self, cursor: int) -> Page:
        """The records that follow an id, without gaps."""
        if self._upwards is None:
            page = self._first_page(cursor)
        else:
            page = self._page_above(cursor) if self._upwards else self._window_above(cursor)
        return page if page.last_id is not None else self._page_after_all(cursor)

    def _page_after_all(self, cursor: int) -> Page:
        """What follows after an empty page: nothing, if the newest record is not above the cursor.

        Otherwise a server in trouble that sends one empty page would end a sweep, and the release would have half the
        posts.
        """
        newest = None
        for _ in range(EMPTY_PAGES):
            records = self._records("1")
            newest = max((i for i in map(id_of, records) if i is not None), default=None)
            is_end = newest <= cursor if newest else bool(records) or not cursor  # the newest may hide their ids
            if is_end:
                return Page(records=(), last_id=None)
            page = self._page_above(cursor) if self._upwards else self._window_above(cursor)
            if page.last_id is not None:
                return page
        raise SourceUnusable(
            f"{self._client.settings.api_url}{self._path} gives nothing above id {cursor}, but its newest id is "
            f"{newest or 'missing'}; run again later: what was read so far is kept",
        )

    def _first_page(self, cursor: int) -> Page:
        page = self._page_above(cursor)
        ids = [i for i in map(id_of, page.records) if i is not None]
        self._upwards = not ids or not self._stands_between(cursor, min(ids))
        return page if self._upwards else self._window_above(cursor)

    def _stands_between(self, cursor: int, lowest: int) -> bool:
        """Whether a record lies between the cursor and the lowest id of a page that should start just above it."""
        if lowest <= cursor + 1:
            return False
        answer = self._client.get_json(self._path, {"limit": 1, "page": f"b{lowest}", **self._query})
        below = (id_of(record) for record in answer.value) if _is_list(answer) else ()
        return any(i is not None and cursor < i < lowest for i in below)

    def _page_above(self, cursor: int) -> Page:
        records = self._records(f"a{cursor}")
        ids = [(id_of(record), record) for record in records]
        if cursor and records and all(i is None for i, _ in ids):
            # Hidden posts came without id in 2021 and 2022. They have the lowest ids above the cursor, whatever those
            # are, so a step of as many ids as there are records skips nothing.
            return Page(records=tuple(records), last_id=cursor + len(records))
        # Records at or below the cursor came with an earlier page.
        above = sorted(((i, record) for i, record in ids if i is None or i > cursor), key=lambda pair: pair[0] or 0)
        last_id = above[-1][0] if above else None
        if records and last_id is None:
            raise SourceUnusable(
                f"{self._path}?page=a{cursor} gives no ids above {cursor}, so this source cannot be read to its end; "
                "check that DANBOORU_API_URL is the address of a Danbooru",
            )
        return Page(records=tuple(record for _, record in above), last_id=last_id)

    def _window_above(self, cursor: int) -> Page:
        """The same by ``page=b``: a window of ids, read from its upper end down; wider where ids are sparse."""
        if cursor >= self._newest:
            self._newest = max((i for i in map(id_of, self._records("1")) if i is not None), default=0)
        start = cursor
        while start < self._newest:
            end = min(start + self._width, self._newest)
            found, nameless = self._between(start, end + 1)
            if len(found) < self._limit // 2:
                self._width *= 2
            elif len(found) > 4 * self._limit:
                self._width = max(self._limit, self._width // 2)
            if found or nameless:
                ordered = [found[i] for i in sorted(found)]
                return Page(records=(*nameless, *ordered), last_id=max(found, default=end))
            start = end
        return Page(records=(), last_id=None)

    def _between(self, low: int, high: int) -> tuple[dict[int, Mapping[str, Any]], list[Mapping[str, Any]]]:
        """All records with ids above `low` and below `high`, and separately those that show no id."""
        found: dict[int, Mapping[str, Any]] = {}
        nameless: list[Mapping[str, Any]] = []
        while high > low + 1:
            records = self._records(f"b{high}")
            page = {i: record for record in records if (i := id_of(record)) is not None and i < high}
            found |= {i: record for i, record in page.items() if i > low}
            nameless += [record for record in records if id_of(record) is None]
            # Records without id are the highest below `high` too, so a step of as many ids as there are skips nothing.
            high = min(page) if page else high - len(records) if records else low
        return found, nameless

    def _records(self, page: str) -> list[dict[str, Any]]:
        answer = self._client.get_json(self._path, {"limit": self._limit, "page": page, **self._query})
        return _checked(self._client, self._path, answer)


def _checked(client: BooruClient, path: str, answer: JsonAnswer) -> list[dict[str, Any]]:
    if not _is_list(answer):
        raise SourceUnusable(
            f"{client.settings.api_url}{path} answers HTTP {answer.status} without a list of records; "
            "check that DANBOORU_API_URL is the address of a Danbooru",
        )
    records: list[dict[str, Any]] = answer.value
    return records


def _is_list(answer: JsonAnswer) -> bool:
    value = answer.value
    return answer.status == 200 and isinstance(value, list) and all(isinstance(record, dict) for record in value)


def id_of(record: Mapping[str, Any], key: str = "id") -> int | None:
    """The id that a record has under a key, given as a number or as text; None if it has no valid one."""
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if 0 < number <= INT64_MAX else None
