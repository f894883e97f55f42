"""Query parameters of lists: page, limit, tags and only, with the site's own limits and errors. No HTTP."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from danbooru_pipeline.demo.site.records import Record

MAX_PAGE = 1000
MAX_TAGS = 2
POSTS_DEFAULT, POSTS_MAX = 20, 200
OTHERS_MAX = 1000
#: Metatags that do not count towards the limit of two tags.
FREE_METATAGS = frozenset(
    {
        "age", "child", "date", "downvotes", "duration", "embedded", "favcount", "filesize", "filetype", "height", "id",
        "limit", "md5", "mpixels", "parent", "pixiv", "pixiv_id", "ratio", "rating", "score", "status", "tagcount",
        "upvote", "width",
    }
)  # fmt: skip
_RATINGS = {"general": "g", "safe": "s", "sensitive": "s", "questionable": "q", "explicit": "e"}
_NUMBERS = {
    "id": "id", "score": "score", "width": "image_width", "height": "image_height", "filesize": "file_size",
    "favcount": "fav_count", "tagcount": "tag_count", "pixiv_id": "pixiv_id", "pixiv": "pixiv_id",
    "parent": "parent_id",
}  # fmt: skip
_ONLY_ITEM = re.compile(r"(\w+)(?:\[([^\]]*)\])?")

Condition = Callable[[Record], bool]


class QueryError(Exception):
    """A query that the site refuses.

    Attributes:
        status: HTTP status.
        name: the site's name for the error.
    """

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.name = name


def record_not_found() -> QueryError:
    """The error for a record that does not exist."""
    return QueryError(404, "ActiveRecord::RecordNotFound", "That record was not found.")


@dataclass(frozen=True, slots=True)
class Page:
    """The requested part of a list: by page number, or before or after an id."""

    limit: int
    number: int = 1
    before: int | None = None
    after: int | None = None


def parse_page(params: Mapping[str, str], *, default: int, max_limit: int) -> Page:
    """Parse `page` and `limit`."""
    text = params.get("limit", "").strip()
    limit = max(0, min(max_limit, int(text) if re.fullmatch(r"-?\d+", text) else 0)) if text else default
    page = params.get("page", "").strip() or "1"
    match = re.fullmatch(r"([ab]?)(\d+)", page)
    if not match:
        raise QueryError(400, "ActionController::BadRequest", f"'{page}' is not a page.")
    kind, number = match[1], int(match[2])
    if kind == "b":
        return Page(limit, before=number)
    if kind == "a":
        return Page(limit, after=number)
    if number > MAX_PAGE:
        raise QueryError(410, "PaginationExtension::PaginationError", f"You cannot go beyond page {MAX_PAGE}.")
    return Page(limit, number=max(1, number))


def take_page(records: Sequence[Record], page: Page) -> list[Record]:
    """Cut one page out of records with ascending ids. Every page has descending ids."""
    if page.after is not None:
        return [record for record in records if record["id"] > page.after][: page.limit][::-1]
    if page.before is not None:
        return [record for record in reversed(records) if record["id"] < page.before][: page.limit]
    start = (page.number - 1) * page.limit
    return list(reversed(records))[start : start + page.limit]


def take_events(events: Sequence[Record], params: Mapping[str, str], page: Page) -> list[Record]:
    """Cut one page out of events in the order of time: newest first unless the search says otherwise.

    They have no ids, so there are numbered pages only; ``search[event_at]`` takes ``>=TIME`` and ``TIME..``.
    """
    text = params.get("search[event_at]", "").removeprefix(">=").removesuffix("..")
    try:
        since = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise QueryError(400, "ActionController::BadRequest", f"'{text}' is not a time.") from None
    found = [event for event in events if since is None or datetime.fromisoformat(event["event_at"]) >= since]
    ordered = found if params.get("search[order]") == "event_at_asc" else found[::-1]
    start = (page.number - 1) * page.limit
    return ordered[start : start + page.limit]


def parse_range(text: str) -> Callable[[int | None], bool] | None:
    """Parse a numeric condition: 5, 1,2,3, 1..9, 1.., ..9, >=5, >5, <=5 or <5; None for anything else."""
    if re.fullmatch(r"\d+(,\d+)*,?", text):
        wanted = {int(part) for part in text.split(",") if part}
        return lambda value: value in wanted
    if match := re.fullmatch(r"(\d*)\.\.(\d*)", text):
        low, high = int(match[1] or 0), int(match[2]) if match[2] else None
        return lambda value: value is not None and low <= value and (high is None or value <= high)
    if match := re.fullmatch(r"(>=|>|<=|<)(\d+)", text):
        edge = int(match[2])
        compare: dict[str, Callable[[int], bool]] = {
            ">=": lambda value: value >= edge,
            ">": lambda value: value > edge,
            "<=": lambda value: value <= edge,
            "<": lambda value: value < edge,
        }
        check = compare[match[1]]
        return lambda value: value is not None and check(value)
    return None


def _match_status(text: str) -> Condition:
    conditions: dict[str, Condition] = {
        "deleted": lambda record: bool(record["is_deleted"]),
        "banned": lambda record: bool(record["is_banned"]),
        "pending": lambda record: bool(record["is_pending"]),
        "flagged": lambda record: bool(record["is_flagged"]),
        "active": lambda record: not (record["is_deleted"] or record["is_pending"] or record["is_flagged"]),
    }
    return conditions.get(text, lambda _record: True)


def _match_metatag(name: str, text: str) -> Condition:
    if name in _NUMBERS:
        column, check = _NUMBERS[name], parse_range(text)
        return (lambda record: check(record[column])) if check else (lambda _record: False)
    if name == "md5":
        wanted = {part.lower() for part in text.split(",")}
        return lambda record: record.get("md5") in wanted
    if name == "rating":
        ratings = {_RATINGS.get(part, part[:1]) for part in text.lower().split(",")}
        return lambda record: record["rating"] in ratings
    if name == "filetype":
        types = set(text.lower().split(","))
        return lambda record: record["file_ext"] in types
    return _match_status(text) if name == "status" else lambda _record: True


def parse_tags(text: str) -> Condition:
    """Parse a search. More than two tags are refused, not counting free metatags."""
    conditions: list[Condition] = []
    counted = 0
    for term in text.split():
        negated, bare = term.startswith("-") and len(term) > 1, term.lstrip("-") or term
        name, colon, value = bare.partition(":")
        if colon and name.lower() in FREE_METATAGS:
            condition = _match_metatag(name.lower(), value)
        else:
            counted += 1
            condition = _match_tag(bare)
        conditions.append(_negate(condition) if negated else condition)
    if counted > MAX_TAGS:
        message = f"You cannot search for more than {MAX_TAGS} tags at a time."
        raise QueryError(422, "PostQuery::TagLimitError", message)
    return lambda record: all(condition(record) for condition in conditions)


def _match_tag(name: str) -> Condition:
    if name.startswith("order:"):
        return lambda _record: True
    return lambda record: name in record["tag_string"].split(" ")


def _negate(condition: Condition) -> Condition:
    return lambda record: not condition(record)


def parse_only(text: str) -> dict[str, tuple[str, ...]]:
    """Parse ``only=id,media_asset[md5,variants]``: attribute -> its requested sub-attributes, empty for all."""
    return {match[1]: tuple(filter(None, (match[2] or "").split(","))) for match in _ONLY_ITEM.finditer(text)}


def keep_only(records: Iterable[Record], only: Mapping[str, tuple[str, ...]]) -> list[Record]:
    """Keep only the requested attributes. Hidden ones stay absent; the order is the site's."""
    if not only:
        return list(records)
    return [
        {
            key: {inner: value[inner] for inner in value if inner in only[key]}
            if only[key] and isinstance(value, dict)
            else value
            for key, value in record.items()
            if key in only
        }
        for record in records
    ]
