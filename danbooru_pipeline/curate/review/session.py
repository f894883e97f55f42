"""A reviewer at work: pages handed out, answers saved, pages taken back. No HTTP and no terminal."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from danbooru_pipeline.curate.decisions import in_force
from danbooru_pipeline.curate.log import Page, Verdict
from danbooru_pipeline.curate.review.queue import (
    GivenQueue,
    Question,
    ReviewQueue,
    Sheet,
    answered,
    sheet_again,
    without_answers,
)
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.release.takedown.curation import clear_if_removed

_LIKELY: Final = 0.5


class UnknownPage(KeyError):  # noqa: N818 - the name says what is wrong
    """A page that this session did not hand out, or that was answered before."""


@dataclass
class ReviewSession:
    """One reviewer and their queue. Thread-safe.

    Attributes:
        saved: pages answered since the session began.
    """

    queue: ReviewQueue | GivenQueue
    saved: int = 0
    _open: dict[str, Sheet] = field(default_factory=dict)
    _wiki: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> Sheet | None:
        """The next page, which is this reviewer's until it is answered."""
        with self._lock:
            sheet = self.queue.next()
            if sheet is not None:
                self._open[sheet.number] = sheet
            return sheet

    def save(self, number: str, verdicts: Mapping[int, Verdict], *, ms: int) -> Page:
        """Write the answers of a page to the log. When this returns, they are on disk.

        Raises:
            UnknownPage: there is no such page to answer.
        """
        with self._lock:
            if number not in self._open:
                raise UnknownPage(number)
            queue = self.queue
            page = answered(self._open[number], verdicts, who=queue.who, ms=ms, release=queue.about.name)
            queue.log.append(page)
            clear_if_removed(queue.folder.layout, {answer.post for answer in page.answers})
            del self._open[number]
            queue.release_claim(number)
            self.saved += 1
            return page

    def skip(self, number: str) -> None:
        """Show no more pages of this page's tag to this reviewer.

        Raises:
            UnknownPage: there is no such page.
        """
        with self._lock:
            if number not in self._open:
                raise UnknownPage(number)
            sheet = self._open.pop(number)
            self.queue.log.append(without_answers(sheet, who=self.queue.who, skipped=True))
            for other in [each for each in self._open.values() if each.tag == sheet.tag]:
                self._forget(other.number)
            self.queue.release_claim(number)

    def undo(self) -> tuple[Sheet, dict[int, Verdict]] | None:
        """Take back this reviewer's last page, of an earlier session too, and hand it out again with its answers."""
        with self._lock:
            mine = [page for page in in_force(self.queue.log.read()) if page.who == self.queue.who]
            if not mine:
                return None
            self.queue.log.append(without_answers(mine[-1], who=self.queue.who, undoes=mine[-1].number))
            sheet = self.queue.hold(sheet_again(mine[-1]))
            self._open[sheet.number] = sheet
            return sheet, {each.post: each.verdict for each in mine[-1].answers}

    def _forget(self, number: str) -> None:
        self._open.pop(number, None)
        self.queue.release_claim(number)

    def wiki(self, tag: str) -> str:
        """What the site's wiki says of a tag; empty where the release has no such page."""
        if tag not in self._wiki:
            for table in reader(self.queue.release)("wiki_pages", ("title", "body")):
                if {"title", "body"} <= set(table.column_names):
                    titles, bodies = table["title"].to_pylist(), table["body"].to_pylist()
                    self._wiki |= {title: str(body) for title, body in zip(titles, bodies, strict=True) if title == tag}
            self._wiki.setdefault(tag, "")
        return self._wiki[tag]


def captions(sheet: Sheet) -> list[Question]:
    """Whose probability and reason stand under each picture: an answer that is known has a neighbour's."""
    asked = [each for each in sheet.questions if each.known is None] or list(sheet.questions)
    return [each if each.known is None else asked[number % len(asked)] for number, each in enumerate(sheet.questions)]


def preselected(sheet: Sheet) -> dict[int, Verdict]:
    """The likely answer of each picture, which a reviewer only has to correct.

    It follows from the caption alone, so a picture whose answer is known does not stand out.
    """
    found: dict[int, Verdict] = {}
    for each, caption in zip(sheet.questions, captions(sheet), strict=True):
        usual = 1.0 if sheet.asked == "-" else _LIKELY
        found[each.post] = "+" if (usual if caption.p is None else caption.p) >= _LIKELY else "-"
    return found
