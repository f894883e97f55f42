"""The log of decisions: one line of JSON a page, appended and flushed before the reviewer sees the next page.

Several processes append to it at once: each line is one write under a lock. A process that is killed leaves a whole
line or, after a power cut, a torn one, which was never confirmed to anybody; readers pass over it, and the next line
begins on a line of its own. Nothing is ever taken out: undoing a page is a line, too.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from danbooru_pipeline.io.locks import locked

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
    """

    post: int
    verdict: Verdict
    p: float | None = None
    signals: dict[str, float] = {}
    evidence: str = ""
    known: Verdict | None = None


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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The newline before it ends a torn line.
        data = b"\n" + msgspec.json.encode(page) + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            with locked(descriptor):
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Page]:
        """All pages in the order in which they were saved."""
        self.torn = 0
        return list(self._pages())

    def _pages(self) -> Iterator[Page]:
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield msgspec.json.decode(line, type=Page)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    self.torn += 1
