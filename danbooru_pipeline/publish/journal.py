"""What a place is known to have: one file a group, a line before and a line after each piece that is sent.

A piece that was begun and not ended may have arrived, so the place is asked for its digest. A journal that is lost, or
has a line that cannot be read, says nothing: what it does not name could be a removed post. It costs reading, never a
second upload of what is there.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from danbooru_pipeline.io.append_log import line_of, read_lines
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import PublishedCopy


class _Line(msgspec.Struct, omit_defaults=True):
    name: str
    fingerprint: str = ""
    paths: list[str] = []
    begun: bool = False


@dataclass(slots=True)
class Sent:
    """A piece that a place has, or may have: the paths that it is under."""

    fingerprint: str
    paths: tuple[str, ...]
    begun: bool = False


@dataclass(slots=True)
class Journal:
    """The journal of one group at one place; `known` is None where there is none yet."""

    path: Path
    known: dict[str, Sent] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, path: Path) -> "Journal":
        """Read what a place is known to have; nothing is known by one that has a torn line."""
        if not path.exists():
            return cls(path)
        known: dict[str, Sent] = {}
        for line in read_lines(path, _Line):
            if line is None:
                return cls(path)
            if line.fingerprint:
                known[line.name] = Sent(line.fingerprint, tuple(line.paths), line.begun)
            else:
                known.pop(line.name, None)
        return cls(path, known)

    def restart(self) -> None:
        """Forget everything, to be told by the place."""
        self.path.unlink(missing_ok=True)
        self.known = None

    def begin(self, name: str, sent: Sent) -> None:
        """Say that a piece is about to be sent, in one write, which a kill of this process cannot lose."""
        self._append(_Line(name, sent.fingerprint, list(sent.paths), begun=True))

    def end(self, name: str, sent: Sent) -> None:
        """Say that it arrived."""
        sent.begun = False
        self._append(_Line(name, sent.fingerprint, list(sent.paths)))
        self._known()[name] = sent

    def drop(self, name: str) -> None:
        """Say that it is no longer there."""
        self._append(_Line(name))
        self._known().pop(name, None)

    def compact(self) -> None:
        """Write only what the place has."""
        lines = (_Line(name, sent.fingerprint, list(sent.paths), sent.begun) for name, sent in self._known().items())
        write_atomic(self.path, b"".join(map(line_of, lines)))

    def _known(self) -> dict[str, Sent]:
        if self.known is None:
            self.known = {}
        return self.known

    def _append(self, line: _Line) -> None:
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(line_of(line))


def place_digest(address: str) -> str:
    """By what a place is known; the address is not written out, since it may be private."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def copy_at(address: str, release: str) -> PublishedCopy:
    """The copy of a release at a place, as the list of takedowns names it."""
    return PublishedCopy(place=place_digest(address), release=release, address=address)


def journal_folder(layout: Layout, address: str, release: str) -> Path:
    """Where the journals of a release at a place are."""
    return layout.publication(place_digest(address), release)
