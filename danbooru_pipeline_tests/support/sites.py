"""Sources of made-up posts: pages in memory, and answers of a site."""

from collections.abc import Callable
from typing import Any

from danbooru_pipeline.sources import ApiSource, Page
from danbooru_pipeline_tests.support.raw_server import RawServer

Record = dict[str, Any]
#: What a site answers with: path and parameters -> anything that becomes JSON.
Give = Callable[[str, dict[str, str]], Any]
#: The fixture ``site`` of `sources/`: starts a server, and opens a source that reads it.
Site = Callable[..., tuple[ApiSource, RawServer]]
SOON = "2021-06-01T00:00:00.000-04:00"


def record_of(post_id: int, *, created_at: str = SOON, **more: Any) -> Record:
    """A small record."""
    known = {"id": post_id, "created_at": created_at, "score": post_id % 7, "rating": "s"}
    return {**known, "md5": "0" * 32, "file_ext": "png", **more}


class Killed(Exception):  # noqa: N818 - not an error of ours
    """Ends a sweep from within its source."""


class Paged:
    """A source of pages that are in memory; dies at one of them when asked to."""

    name = "paged"

    def __init__(
        self, records: list[Record], *, size: int = 1, dies_at: int = 0, address: str = "memory", lost: int = 0
    ) -> None:
        self.identity = {"address": address}
        self.records = sorted(records, key=lambda record: record["id"])
        self.size = size
        self.left = dies_at
        self.lost = lost

    def probe(self) -> None:
        """Always fine."""

    def posts_after(self, cursor: int) -> Page:
        """The next few."""
        self.left -= 1
        if self.left == 0:
            raise Killed
        found = [record for record in self.records if record["id"] > cursor][: self.size]
        return Page(records=tuple(found), last_id=found[-1]["id"] if found else None)

    def table_after(self, table: str, cursor: int) -> Page | None:  # noqa: ARG002 - the protocol names them
        """None at all."""
        return None

    def count_posts(self, *, up_to: int) -> int | None:
        """What is in memory, and what was said to be lost."""
        return self.lost + len([record for record in self.records if record["id"] <= up_to])

    def newest_id(self, table: str) -> int | None:
        """The last one."""
        assert table == "posts"
        return self.records[-1]["id"] if self.records else None


def give_posts(records: list[dict[str, Any]], *, most: int = 200, ascending: bool = False) -> Give:
    """A site with these posts, in the order of their true ids, and at most so many a page.

    A record may hold its true id as ``_id`` and show another one, or none.
    """

    def true_id(record: dict[str, Any]) -> int:
        return int(record.get("_id", record.get("id", 0)))

    def give(path: str, params: dict[str, str]) -> Any:
        if path != "/posts.json":
            return None
        ordered = sorted(records, key=true_id)
        page, size = params.get("page", "b999999999999"), min(int(params["limit"]), most)
        page = "b999999999999" if page.isdigit() else page
        if page[0] == "a":
            chosen = [record for record in ordered if true_id(record) > int(page[1:])][:size]
        else:
            chosen = [record for record in ordered if true_id(record) < int(page[1:])][-size:]
        shown = [{key: value for key, value in record.items() if key != "_id"} for record in chosen]
        return shown if ascending else shown[::-1]

    return give
