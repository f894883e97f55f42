"""What a booru says of the time since the last visit: new posts, replaced files, posts that moderators touched.

New posts are read by id (``page=a<ID>``), which has no limit and needs no overlap. Replacements and events are read by
time, with an overlap, since transactions do not end in the order in which they begin. Votes, favourites and tags are
left to the sweep in January: they move no file. Facts: danbooru app/models/post_event.rb, post_replacement.rb; events
have no ids and pages end at number 1000, so a full page is followed by a search from its last moment on.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from danbooru_pipeline.errors import SettingsError, SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.fetch.site_clock import believable_until, is_believable
from danbooru_pipeline.posts import (
    CompleteRow,
    PostRow,
    complete_rows,
    parse_api_record,
    parse_timestamp,
)
from danbooru_pipeline.sources.api import ABOVE_ALL_IDS, RECORDS_PER_PAGE, id_of
from danbooru_pipeline.sources.source import Source

EVENTS, REPLACEMENTS = "/post_events.json", "/post_replacements.json"
#: Events after which a post may have another file or another status. Uploads are found by id; approvals and
#: disapprovals change neither (an approval that undeletes a post is a moderator's action as well).
TELLING: Final = frozenset({"PostReplacement", "ModAction", "PostFlag", "PostAppeal"})
_EVENT_KEYS: Final = frozenset({"post_id", "event_at", "model_type"})
#: So many ids below the newest one are looked at, to see what time it is on the site.
_NEWEST_IDS: Final = 10
#: A site whose newest posts are older than this is dead, or the clock is ahead.
_OLD: Final = timedelta(days=366)
#: The site's last numbered page.
MAX_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class NewPosts:
    """Posts that follow an id and have settled, by id.

    Attributes:
        last_id: the id that reading goes on after.
        is_all: whether no settled post follows.
    """

    rows: tuple[CompleteRow, ...]
    last_id: int
    is_all: bool


def read_new_posts(
    source: Source, after: int, *, settled: datetime, now: datetime, pages: int, says_banned: bool
) -> NewPosts:
    """Read posts in the order of their ids, up to the first that was created after `settled`.

    Args:
        source: gives the lowest ids above another, without gaps.
        after: the id.
        settled: posts created later are left to the next visit.
        now: posts created far ahead of it count as settled.
        pages: read at most so many.
        says_banned: whether the site is known to say of its posts if they are banned.

    Raises:
        SourceError: the source cannot be used.
    """
    rows: list[PostRow] = []
    last_id, is_all = after, False
    for _ in range(pages):
        page = source.posts_after(last_id)
        # What cannot be placed in a release is passed over, and the sweep reports it.
        found = [row for row in map(parse_api_record, page.records) if isinstance(row, dict)]
        young = (number for number, row in enumerate(found) if settled < row["created_at"] < believable_until(now))
        end = next(young, None)
        rows += found[:end]
        if end is not None or page.last_id is None:
            is_all = True
            last_id = rows[-1]["id"] if found[:end] else last_id
            break
        last_id = page.last_id
    return NewPosts(tuple(complete_rows(rows, says_banned=says_banned)), last_id, is_all=is_all)


def require_posts_of_now(source: Source, *, now: datetime, is_sure: bool) -> None:
    """Refuse a clock by which most of the newest posts of a source have still to come, or are of more than a year ago.

    Some may be errors of the site.

    Args:
        source: has the posts.
        now: what time it is by the clock.
        is_sure: whether the site says so, too; then it is one that has had no post for long.

    Raises:
        SettingsError: the clock is behind or ahead.
        SourceError: the source cannot be used.
    """
    newest = source.newest_id("posts") or 0
    page = source.posts_after(max(0, newest - _NEWEST_IDS))
    created = [row["created_at"] for row in map(parse_api_record, page.records) if isinstance(row, dict)]
    to_come = sum(not is_believable(at, now=now) for at in created)
    old = 0 if is_sure else sum(now - at > _OLD for at in created)
    if 2 * max(to_come, old) > len(created):
        raise SettingsError(
            f"by the clock of this machine it is {now:%Y-%m-%d}, and the newest posts of the site are of "
            f"{max(created):%Y-%m-%d}; set it, preferably by NTP, then run again"
        )


@dataclass(frozen=True, slots=True)
class Touched:
    """Posts that something happened to.

    Attributes:
        ids: of the posts.
        until: of the newest event; None when there was none.
    """

    ids: frozenset[int]
    until: datetime | None


def read_touched(client: BooruClient, since: datetime, skipped: Counter[str] | None = None) -> Touched | None:
    """Posts whose file or status may have changed since a moment; None when the site does not tell.

    Args:
        client: asks the site.
        since: the moment.
        skipped: counts events that could not be read, which are passed over.

    Raises:
        SourceError: the site cannot be used.
    """
    ids: set[int] = set()
    newest: datetime | None = None
    number, is_first = 1, True
    while True:
        page = _events(client, since, number)
        if page is None:
            return None if is_first else _ends_early(EVENTS)
        ids |= {event.post_id for event in page.events if event.model in TELLING}
        newest = max((event.at for event in page.events), default=newest)
        _count(skipped, EVENTS, page.unread)
        if page.is_last:
            return Touched(frozenset(ids), newest)
        last, is_first = newest or since, False
        number = 1 if last > since else number + 1
        since = last
        if number > MAX_PAGE:
            _ends_early(EVENTS)


def _count(skipped: Counter[str] | None, path: str, unread: int) -> None:
    if skipped is not None and unread:
        skipped[path] += unread


@dataclass(frozen=True, slots=True)
class _Event:
    post_id: int
    at: datetime
    model: str


@dataclass(frozen=True, slots=True)
class _Page:
    """Events of a page, how many of its records are none that can be read, and whether it is the last one."""

    events: tuple[_Event, ...]
    unread: int
    is_last: bool


def _events(client: BooruClient, since: datetime, number: int) -> _Page | None:
    """A page of events since a moment, oldest first; None from a site that does not answer this question."""
    query: dict[str, str | int] = {
        "limit": RECORDS_PER_PAGE,
        "page": number,
        "search[event_at]": f">={since.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')}",
        "search[order]": "event_at_asc",
    }
    records = _list_of(client, EVENTS, query)
    if records is None:
        return None
    if records and not any(record.keys() >= _EVENT_KEYS for record in records):
        return None
    events = tuple(event for event in map(_event_of, records) if event is not None)
    times = [event.at for event in events]
    # Rounded to milliseconds above. A site that ignores the search gives the newest events first.
    knows_search = times == sorted(times) and all(at > since - timedelta(seconds=1) for at in times)
    page = _Page(events, len(records) - len(events), len(records) < RECORDS_PER_PAGE)
    return page if knows_search else None


def _event_of(record: Mapping[str, Any]) -> _Event | None:
    post_id, model = id_of(record, "post_id"), record.get("model_type")
    try:
        at = parse_timestamp(record["event_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return _Event(post_id, at, model) if post_id is not None and isinstance(model, str) else None


@dataclass(frozen=True, slots=True)
class Replacement:
    """A file that a post had until it was replaced.

    Attributes:
        at: when.
        md5, ext, size: of the old file; None where the site does not say.
    """

    post_id: int
    at: datetime
    md5: str | None
    ext: str | None
    size: int | None


def read_replacements(
    client: BooruClient, since: datetime, skipped: Counter[str] | None = None
) -> list[Replacement] | None:
    """Files that were replaced since a moment, newest first; None when the site does not tell.

    Args:
        client: asks the site.
        since: the moment.
        skipped: counts replacements that could not be read, which are passed over.

    Raises:
        SourceError: the site cannot be used.
    """
    found: list[Replacement] = []
    before = ABOVE_ALL_IDS
    while True:
        records = _list_of(client, REPLACEMENTS, {"limit": RECORDS_PER_PAGE, "page": f"b{before}"})
        if records is None:
            return None if before == ABOVE_ALL_IDS else _ends_early(REPLACEMENTS)
        ids = [id_ for id_ in map(id_of, records) if id_ is not None and id_ < before]
        replacements = _replacements_of(records)
        found += [each for each in replacements if each.at >= since]
        _count(skipped, REPLACEMENTS, len(records) - len(replacements))
        if not ids or len(records) < RECORDS_PER_PAGE or any(each.at < since for each in replacements):
            return found
        before = min(ids)


def _replacements_of(records: Iterable[Mapping[str, Any]]) -> list[Replacement]:
    """Those that can be read, in their order; the old file is a row like that of any post."""
    rows = [row for row in map(parse_api_record, map(_old_record, records)) if isinstance(row, dict)]
    return [
        Replacement(row["id"], row["created_at"], row["md5"], row["file_ext"], _size(row["file_size"]))
        for row in complete_rows(rows, says_banned=False)
    ]


def _old_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The post of a replacement as it was before; until 2022 the columns were named md5_was and so on."""
    old = {name: record.get(f"old_{name}", record.get(f"{name}_was")) for name in ("md5", "file_ext", "file_size")}
    return {"id": record.get("post_id"), "created_at": record.get("created_at"), **old}


def _size(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


def _list_of(client: BooruClient, path: str, query: Mapping[str, str | int]) -> list[Mapping[str, Any]] | None:
    answer = client.get_json(path, query, may_be_refused=True)
    is_list = answer.status == 200 and isinstance(answer.value, list)
    # What is no record is one that cannot be read: a page is full by how many it has.
    return [record if isinstance(record, Mapping) else {} for record in answer.value] if is_list else None


def _ends_early(path: str) -> NoReturn:
    raise SourceUnusable(f"{path} answered, and then answered no more; run again later: what was done so far is kept")
