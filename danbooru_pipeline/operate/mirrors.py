"""What mirrors hold, by the traces that they serve beside their copies: ``releases/mirrors.html`` and ``mirrors.json``.

``mirror.sh`` writes ``danbooru2022.trace`` beside ``danbooru2022/``, and the mirror serves both, so whoever can read
the copy can read the trace. We ask the mirrors that the operator names; nobody sends us anything, so no host of ours is
open for writing. The page lies beside the releases, since what changes later cannot be in a signed tree. A trace is a
claim of its mirror, read within limits.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from danbooru_pipeline.consume.get.origins import HttpOrigin, RsyncOrigin
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.layout import SHA256_FORM, Layout
from danbooru_pipeline.operate.grace import end_grace_periods
from danbooru_pipeline.operate.publication import publish_page
from danbooru_pipeline.release import Release, published, read_release
from danbooru_pipeline.release.release_json import instant_text
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release.tree.versions import read_published

_THREADS: Final = 4
#: A trace has some 300 bytes.
_LONGEST: Final = 4096
#: How far two clocks that are looked after may be apart. Beyond the second, no clock of a machine in use is.
_ASIDE, _ABSURD = timedelta(minutes=5), timedelta(days=2)
_NONE_OF_RELEASE: Final = "its trace is none of this release"
_AHEAD: Final = "its clock is ahead"
_NO_TIME: Final = "its trace is of a time far ahead; its clock is wrong"
_FORMS: Final = {
    "succeeded": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "release": r"danbooru\d{4} \d{4}\.\d{1,6}",
    "checksum": SHA256_FORM,
    "tool": r"[ -~]{1,100}",
}


class Holds(StrEnum):
    """What a mirror has, compared with what is published."""

    CURRENT = "current"
    OUTDATED = "outdated"
    REMOVED = "has posts that were taken down"
    LOST = "a version that we published and no longer have"
    OTHER = "not a version that we published"
    NOTHING = "no trace"


class Mirrored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One release at one mirror.

    Attributes:
        address: of the mirror.
        release: that was asked about.
        version, succeeded, checksum, tool: as the newest trace has them that could be read.
        asked_at: when we last asked.
        problem: why there was no answer then, or what is wrong with the one that came.
    """

    address: str
    release: str
    holds: Holds = Holds.NOTHING
    version: str = ""
    succeeded: str = ""
    checksum: str = ""
    tool: str = ""
    asked_at: str = ""
    problem: str = ""

    @property
    def note(self) -> str:
        """The problem for everybody; what a network said is for the operator alone."""
        return self.problem if self.problem in {"", _NONE_OF_RELEASE, _AHEAD, _NO_TIME} else "no answer now"

    def line(self) -> str:
        """For people."""
        since = f" {self.version}, copied {self.succeeded}" if self.version else ""
        return f"{self.address}: {self.release}{since}: {self.holds}" + (f" ({self.problem})" if self.problem else "")


class _Page(msgspec.Struct):
    mirrors: list[Mirrored]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found.

    Attributes:
        ended: names of replaced versions that are removed, since their grace period is over.
        failed: a line for each place that the page could not be brought to.
    """

    mirrors: list[Mirrored]
    ended: list[str]
    failed: list[str]

    def lines(self) -> list[str]:
        """For people."""
        ended = [f"{name} is removed: its grace period is over" for name in self.ended]
        mirrors = [each.line() for each in self.mirrors] or ["no mirrors to ask; DANBOORU_MIRRORS names them"]
        return [*ended, *mirrors, *self.failed]


def look_after_mirrors(context: RunContext, *, end_grace: bool = True) -> Round:
    """One round: end grace periods, ask the mirrors, and bring the page to where releases are published."""
    ended = end_grace_periods(context) if end_grace else []
    found = ask_mirrors(context)
    return Round(found, ended, publish_page(context.settings))


def ask_mirrors(context: RunContext) -> list[Mirrored]:
    """Ask every mirror about every release, and write the page. What does not answer keeps its last trace."""
    layout = context.layout
    known = {(each.address, each.release): each for each in read_mirrors(layout)}
    releases = [read_release(folder) for folder in published(layout).values()]
    wanted = [
        known.get((address, release.name), Mirrored(address=address, release=release.name))
        for address in context.settings.mirrors
        for release in reversed(releases)
    ]
    with ordered_map(partial(_ask, clock=context.now), wanted, threads=_THREADS, name="mirrors") as answers:
        by_name = {release.name: release for release in releases}
        recorded = {(ref.name, ref.version): ref.sha256sums_sha256 for ref in read_published(layout)}
        found = [_judged(answer, by_name[answer.release], recorded) for answer in answers]
    write_mirrors(layout, found, now=instant_text(context.now()))
    return found


def read_mirrors(layout: Layout) -> list[Mirrored]:
    """What was found when we last asked; nothing where that cannot be read, since asking again tells it."""
    try:
        return msgspec.json.decode(layout.mirrors.read_bytes(), type=_Page).mirrors
    except (OSError, ValueError):
        return []


def make_page(context: RunContext) -> None:
    """Write the page where there is none yet, since the pages of releases name it."""
    if not context.layout.mirrors_page.exists():
        write_mirrors(context.layout, [], now=instant_text(context.now()))


def write_mirrors(layout: Layout, found: list[Mirrored], *, now: str) -> None:
    """Write the page and its numbers beside the releases."""
    write_atomic(layout.mirrors, msgspec.json.format(msgspec.json.encode(_Page(found))) + b"\n")
    write_atomic(layout.mirrors_page, render("mirrors.html", mirrors=found, now=now, states=Holds))


def _ask(known: Mirrored, *, clock: Callable[[], datetime]) -> Mirrored:
    try:
        data = _trace(known.address, f"{known.release}.trace")
    except PublishError as error:
        return msgspec.structs.replace(known, asked_at=instant_text(clock()), problem=str(error).partition(";")[0])
    # A mirror that ends its copy while it is asked has a time after that of the question.
    now, said = instant_text(clock()), parse_trace(data or b"")
    name, _, version = said.get("release", "").partition(" ")
    if name != known.release:
        problem = "" if data is None else _NONE_OF_RELEASE
        return Mirrored(address=known.address, release=known.release, asked_at=now, problem=problem)
    return Mirrored(
        address=known.address,
        release=known.release,
        version=version,
        succeeded=said["succeeded"],
        checksum=said["checksum"],
        tool=said["tool"],
        asked_at=now,
    )


def _trace(address: str, name: str) -> bytes | None:
    if not address.startswith("rsync://"):
        with closing(HttpOrigin(address)) as origin:
            return origin.part(name, offset=0, size=_LONGEST)
    with TemporaryDirectory(prefix="danbooru-trace-") as work:
        RsyncOrigin(address).fetch({name: _LONGEST}, Path(work))
        return read_bytes(Path(work), name, limit=_LONGEST) if is_plain(Path(work), name) else None


def parse_trace(data: bytes) -> dict[str, str]:
    """What a trace says; nothing where any line of ours is missing or not what it should be."""
    lines = (line.partition(": ") for line in data.decode("ascii", "replace").splitlines())
    said = {key: value for key, colon, value in lines if colon and re.fullmatch(_FORMS.get(key, "$^"), value)}
    return said if said.keys() == _FORMS.keys() and _is_time(said["succeeded"]) else {}


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text) is not None
    except ValueError:
        return False


def _judged(found: Mirrored, release: Release, recorded: Mapping[tuple[str, str], str]) -> Mirrored:
    """What a trace means. Its checksum says what was copied; a time that has not come yet, that a clock is wrong.

    One that is absurd is the time of no copy, so nothing is called current by it.
    """
    holds = _compare(found, release, recorded)
    if not _is_time(found.succeeded):
        return msgspec.structs.replace(found, holds=holds)
    ahead = datetime.fromisoformat(found.succeeded) - datetime.fromisoformat(found.asked_at)
    problem = found.problem or (_NO_TIME if ahead > _ABSURD else _AHEAD if ahead > _ASIDE else "")
    if ahead > _ABSURD and holds is Holds.CURRENT:
        holds = Holds.NOTHING
    return msgspec.structs.replace(found, holds=holds, problem=problem)


def _compare(found: Mirrored, release: Release, recorded: Mapping[tuple[str, str], str]) -> Holds:
    """What a mirror has, by version and checksum.

    Args:
        found: what the mirror says.
        release: that stands here.
        recorded: the checksums of all that we published. The release that stands may come from a backup, and know
            nothing of the versions that came after it.
    """
    if not found.version:
        return Holds.NOTHING
    known = {**recorded, (release.name, release.version): release.sha256sums_sha256}
    checksum = known.get((release.name, found.version))
    if checksum not in {found.checksum, None}:
        return Holds.OTHER
    if found.version == release.version:
        return Holds.CURRENT
    removed = {e.version: e.removed for e in release.history if e.name == release.name}
    if found.version in removed:
        return Holds.REMOVED if removed[found.version] < release.taken_down else Holds.OUTDATED
    return Holds.OTHER if checksum is None else Holds.LOST
