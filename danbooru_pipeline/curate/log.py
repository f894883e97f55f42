"""The log of decisions: one line of JSON a page, appended and flushed before the reviewer sees the next page.

Several processes append to it at once (`io.append_log`). Nothing is ever taken out: undoing a page is a line, too.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from danbooru_pipeline.io.append_log import append_line, read_lines

#: What a person says: the post shows the tag, does not, or it cannot be told.
Verdict = Literal["+", "-", "?"]
#: Why a page was shown.
Asked = Literal["+", "-", "gold"]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said about one post.

    Attributes:
        post: its id.
        verdict: whether it shows the tag of the page.
        p: the probability that was shown.
        signals: what each signal had said.
        evidence: what was shown under the picture.
        known: what should be said, where that was known before.
        md5: of the file that was looked at.
    """

    post: int
    verdict: Verdict
    p: float | None = None
    signals: dict[str, float] = {}
    evidence: str = ""
    known: Verdict | None = None
    md5: str | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One page as it was answered.

    Attributes:
        number: of the page, made up by whoever showed it.
        tag: that was asked about.
        asked: ``+`` about posts without the tag, ``-`` about posts with it, ``gold`` about drawn ones.
        who: answered.
        at: UTC, ISO 8601.
        ms: from when it was shown.
        release: like ``danbooru2022``.
        model: signals that the candidates came from.
        undoes: the page that this line takes back; it has no answers then.
        skipped: whether the reviewer wants no more of this tag.
    """

    number: str
    tag: str
    asked: Asked
    who: str
    at: str
    ms: int = 0
    release: str = ""
    model: str = ""
    answers: tuple[Answer, ...] = ()
    undoes: str | None = None
    skipped: bool = False


@dataclass(slots=True)
class DecisionLog:
    """The log at a path.

    Attributes:
        path: of the file; it need not exist.
        torn: lines that the last `read` passed over.
    """

    path: Path
    torn: int = 0

    def append(self, page: Page) -> None:
        """Add a page; when this returns, a power cut cannot lose it."""
        append_line(self.path, page)

    def read(self) -> list[Page]:
        """All pages in the order in which they were saved."""
        found = list(read_lines(self.path, Page))
        pages = [page for page in found if page is not None]
        self.torn = len(found) - len(pages)
        return pages
