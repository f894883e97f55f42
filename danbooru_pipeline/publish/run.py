"""Plans and makes the copy of a release at a place. Killed anywhere, the next run goes on; nothing is sent twice.

RELEASE.json is taken away first and comes back last. What the place has and the release lacks is removed before
anything is sent, so a removed post goes first of all.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from danbooru_pipeline import stop
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import mark_of, note_cleared, read_takedowns
from danbooru_pipeline.progress import Progress, human_bytes, silent
from danbooru_pipeline.publish.journal import Journal, Sent, copy_at, journal_folder, place_digest
from danbooru_pipeline.publish.pieces import DOCUMENTS, LAST, Group, Piece
from danbooru_pipeline.publish.place import Place
from danbooru_pipeline.release.mentions import Search, removed_ids
from danbooru_pipeline.release.release_json import published, read_release
from danbooru_pipeline.release.verify.run import verify_release
from danbooru_pipeline.release_paths import RELEASE_JSON, release_name

_LOST = "the release was replaced, or posts were taken down, while it was published; publish it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """What is done about one group.

    Attributes:
        send: pieces that the place lacks, or may lack.
        drop: names of pieces that the release lacks -> their paths.
    """

    group: Group
    send: tuple[Piece, ...]
    drop: dict[str, tuple[str, ...]]

    @property
    def is_empty(self) -> bool:
        """Whether the place has the group as it is."""
        return not self.send and not self.drop


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicationPlan:
    """What publishing a release at a place would do.

    Attributes:
        newest: whether the place shall say that this is the newest release.
    """

    layout: Layout
    year: int
    folder: Path
    name: str
    version: str
    place: Place
    newest: bool
    pieces: int = 0
    bytes: int = 0
    dropped: int = 0

    def lines(self) -> list[str]:
        """The plan for people."""
        if not self.pieces and not self.dropped:
            return [f"{self.place.address} has {self.name} {self.version} already"]
        what = f"{self.pieces:,} files or tars ({human_bytes(self.bytes)}) of {self.name} {self.version}"
        return [f"send {what} to {self.place.address}, and remove {self.dropped:,}"]


def plan_publication(layout: Layout, year: int, place: Place) -> PublicationPlan:
    """Compare a release with what a place is known to have. Changes nothing.

    Raises:
        ReleaseError: there is no such release.
        ReleaseRefused: a takedown is not finished.
    """
    _require_finished(layout)
    folder = layout.release(year)
    about = read_release(folder)
    newest = year == max(published(layout))
    plan = PublicationPlan(
        layout=layout, year=year, folder=folder, name=about.name, version=about.version, place=place, newest=newest
    )
    pieces = size = dropped = 0
    known = journal_folder(layout, place.address, plan.name).glob("*.jsonl")
    for group in _all_groups(plan, [path.stem for path in known]):
        found = _plan_group(group, _journal(plan, group))
        pieces += len(found.send)
        size += sum(piece.size for piece in found.send)
        dropped += len(found.drop)
    return replace(plan, pieces=pieces, bytes=size, dropped=dropped)


def _require_finished(layout: Layout) -> None:
    if read_takedowns(layout).unfinished:
        raise ReleaseRefused("a takedown was not finished; run danbooru-pipeline takedown --resume, then publish again")


def _require_cleared(plan: PublicationPlan) -> None:
    """Refuse a release that names a post that was taken down: it came back from a backup, or by hand."""
    gone = read_takedowns(plan.layout).ids - removed_ids(plan.folder)
    if found := Search(gone).of_release(plan.folder):
        named = ", ".join(map(str, sorted(found)))
        raise ReleaseRefused(
            f"{plan.folder} names posts that were taken down ({named}); run danbooru-pipeline takedown --resume first"
        )


def published_years(layout: Layout, address: str) -> list[int]:
    """Years of which a place has something, as far as is known here."""
    noted = {copy.release for copy in read_takedowns(layout).copies if copy.place == place_digest(address)}
    return [
        year
        for year in published(layout)
        if release_name(year) in noted or journal_folder(layout, address, release_name(year)).is_dir()
    ]


def _all_groups(plan: PublicationPlan, held: Sequence[str]) -> list[Group]:
    """The groups of the release, after those that the place has and the release does not: their posts are gone."""
    groups = plan.place.groups(plan.folder)
    others = sorted(set(held) - {group.name for group in groups})
    return [*(Group(name, name.replace("-", "/"), lambda: iter(())) for name in others), *groups]


def _journal(plan: PublicationPlan, group: Group) -> Journal:
    return Journal.read(journal_folder(plan.layout, plan.place.address, plan.name) / f"{group.name}.jsonl")


def _plan_group(group: Group, journal: Journal) -> GroupPlan:
    known = journal.known or {}
    pieces = {piece.name: piece for piece in group.pieces()}
    send = [
        piece
        for piece in pieces.values()
        if (sent := known.get(piece.name)) is None or sent.begun or sent.fingerprint != piece.fingerprint
    ]
    drop = {name: sent.paths for name, sent in known.items() if name not in pieces}
    return GroupPlan(group=group, send=tuple(send), drop=drop)


def apply_publication(plan: PublicationPlan, *, progress: Progress = silent) -> None:
    """Do what a plan says; it is made anew, group by group, so nothing that happened since is lost.

    The copy is then noted as cleared of all posts that were taken down before.

    Raises:
        ReleaseRefused: the release does not verify, or was replaced meanwhile.
        PublishError: the place cannot be used.
    """
    lock = journal_folder(plan.layout, plan.place.address, plan.name) / ".lock"
    with exclusive(lock, busy=f"another process publishes {plan.name} at {plan.place.address}; wait for it"):
        _require_finished(plan.layout)
        _require_cleared(plan)
        ids = read_takedowns(plan.layout).ids
        report = verify_release(plan.folder)
        if not report.ok:
            raise ReleaseRefused(f"{plan.folder} does not verify; it is not published", rows=report.lines())
        _Publication(plan, progress, ids).run()
        note_cleared(plan.layout, copy_at(plan.place.address, plan.name), ids=ids)


def files_beside(layout: Layout) -> dict[str, Path]:
    """Name -> file of what lies beside the releases: the page of the mirrors."""
    return {path.name: path for path in (layout.mirrors, layout.mirrors_page) if path.is_file()}


@dataclass(slots=True)
class _Publication:
    """One publication that is under way."""

    plan: PublicationPlan
    progress: Progress
    ids: frozenset[int]  # taken down before it began
    _marks: tuple[object, ...] = ()

    def run(self) -> None:
        """Compare, take RELEASE.json away, drop, send, and put RELEASE.json back."""
        plan, place = self.plan, self.plan.place
        self._marks = self._now()
        _require_finished(plan.layout)  # a takedown that began since the caller looked
        place.open(plan.name)
        folder = journal_folder(plan.layout, place.address, plan.name)
        groups = _all_groups(plan, [*place.held(), *(path.stem for path in folder.glob("*.jsonl"))])
        journals = [_journal(plan, group) for group in groups]
        self._ask_place(groups, journals)
        changed = [not _plan_group(*pair).is_empty for pair in zip(groups, journals, strict=True)]
        if any(changed):
            self._take_away(journals[-1])
        for group, journal in zip(groups, journals, strict=True):
            self._drop(group, journal)
        for number, (group, journal) in enumerate(zip(groups, journals, strict=True), start=1):
            if group.name == LAST:
                self._require_same()
            self._send(group, journal)
            self.progress("groups", number, len(groups))
        self._require_same()
        place.end(plan.name, newest=plan.newest)
        place.beside(files_beside(plan.layout))

    def _now(self) -> tuple[object, ...]:
        return mark_of(self.plan.layout.takedowns), mark_of(self.plan.folder / RELEASE_JSON)

    def _require_same(self) -> None:
        """Stop as soon as a post is taken down: the next run begins by removing it."""
        stop.check()
        now = self._now()
        if now == self._marks:
            return
        # A copy elsewhere that was cleared changes the list, and nothing for this one.
        known = read_takedowns(self.plan.layout)
        if now[1:] != self._marks[1:] or known.unfinished or known.ids != self.ids:
            raise ReleaseRefused(_LOST)
        self._marks = now

    def _ask_place(self, groups: Sequence[Group], journals: Sequence[Journal]) -> None:
        """Where nothing is known, take all that the place has for sent, and in doubt.

        A document may be in any of their groups, so these are known together or not at all.
        """
        of_documents = [pair for pair in zip(groups, journals, strict=True) if not pair[0].folder]
        unknown = any(journal.known is None for _, journal in of_documents)
        documents = {path for group, _ in of_documents for path in self._paths(group)} if unknown else set()
        for group, journal in zip(groups, journals, strict=True):
            if journal.known is None or (unknown and not group.folder):
                journal.restart()
                pieces = self._paths(group)
                for path in self.plan.place.listed(group.folder):
                    if path in pieces:
                        journal.begin(pieces[path].name, Sent(pieces[path].fingerprint, (path,), begun=True))
                    elif path not in documents and (group.folder or group.name == DOCUMENTS):
                        journal.begin(path, Sent("?", (path,), begun=True))
                journal.known = Journal.read(journal.path).known or {}

    def _paths(self, group: Group) -> dict[str, Piece]:
        return {path: piece for piece in group.pieces() for path in self.plan.place.paths_of(piece)}

    def _take_away(self, journal: Journal) -> None:
        self.plan.place.remove([RELEASE_JSON])
        journal.drop(RELEASE_JSON)

    def _drop(self, group: Group, journal: Journal) -> None:
        for name, paths in _plan_group(group, journal).drop.items():
            self._require_same()
            self.plan.place.remove(paths)
            journal.drop(name)

    def _send(self, group: Group, journal: Journal) -> None:
        pieces = _plan_group(group, journal).send
        place = self.plan.place
        batches = [pieces[at : at + place.batch] for at in range(0, len(pieces), place.batch)]
        threads = 1 if group.name == LAST else place.threads
        send = partial(self._send_batch, journal=journal)
        with ordered_map(send, batches, threads=threads, name="publish") as sent:
            for _ in sent:
                pass
        if pieces:
            journal.compact()

    def _send_batch(self, pieces: Sequence[Piece], *, journal: Journal) -> None:
        self._require_same()
        with ExitStack() as stack:
            files = {piece.name: dict(stack.enter_context(piece.files())) for piece in pieces}
            sent = {piece.name: Sent(piece.fingerprint, tuple(files[piece.name]), begun=True) for piece in pieces}
            doubts = [name for name in sent if (known := (journal.known or {}).get(name)) and known.begun]
            arrived = {name for name in doubts if self._has(files[name])}
            new = [name for name in sent if name not in arrived]
            for name in new:
                journal.begin(name, sent[name])
            if missing := {path: file for name in new for path, file in files[name].items()}:
                self._put(missing)
            for name, piece in sent.items():
                journal.end(name, piece)

    def _put(self, files: dict[str, Path]) -> None:
        try:
            self.plan.place.put(files)
        except FileNotFoundError as error:
            raise ReleaseRefused(_LOST) from error

    def _has(self, files: dict[str, Path]) -> bool:
        return all(self.plan.place.digest(path) == sha256_of(file) for path, file in files.items())
