"""Gets a release or a part of it: lists, tables and index, then the chosen images, each verified.

A file gets its name when its digest is right, so a killed run goes on with what is missing. RELEASE.json comes after
the tables that it counts. Paths are checked before they are used, and nothing is longer than it may be: who publishes a
release may be anybody. What lies in the folder and is no part of a release stays.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from danbooru_pipeline import stop
from danbooru_pipeline.consume.get.origins import Origin
from danbooru_pipeline.consume.get.target import Target
from danbooru_pipeline.consume.get.tars import bring_from_tars, has_tars
from danbooru_pipeline.consume.select import Chosen, Selection, choose
from danbooru_pipeline.errors import PublishError, ReleaseError, ReleaseReplaced, full_disk_named
from danbooru_pipeline.io.atomic import commit_part, fsync_folder, remove_folder
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.progress import Progress, counted, silent
from danbooru_pipeline.release.checksums import LONGEST_LIST, LONGEST_PATHS, TREES, is_image, parse_sums
from danbooru_pipeline.release.release_json import LONGEST, Release, read_release
from danbooru_pipeline.release.signing import LONGEST_SIGNATURE, Signature, check_signature, is_one_signature
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS, SHARD, SIGNATURE

#: What is brought whatever is searched for: all that searches and exports read, and what must go with images.
_TABLES: Final = re.compile(
    r"(parquet|parquet-corrected|corrections|manifest|index)/[\w.-]+|(README|NOTICE)\.md|allowed_signers|CITATION\.cff"
)
_LISTS: Final = re.compile(r"removed\.txt|removals\.jsonl|RELEASE\.content\.json|provenance\.intoto\.jsonl")
_CHANGES: Final = re.compile(r"changes/[\w.-]+\.(remove|files)\.txt")
#: How often the head of a release is fetched until its parts belong together: it may be replaced between two of them.
_TRIES: Final = 3
#: In the hidden folder: what a place has now.
_NOW: Final = ".now"
_BATCH: Final = 500
#: The most bytes of a table or of an index, of which no list says how long they are: far more than a table of a million
#: posts has, or the index of ten million.
_LONGEST_TABLE: Final = 2**32


@dataclass(slots=True)
class GetReport:
    """What was done.

    Attributes:
        fetched, kept, removed: files.
        missing: paths that the origin lacks, or has with other bytes than the release says.
        refused: path -> why, of those of them that were not brought to their end.
    """

    release: str
    fetched: int = 0
    kept: int = 0
    removed: int = 0
    missing: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            (
                f"{self.release}: {counted(self.fetched, 'file')} fetched, {self.kept:,} here already, "
                f"{self.removed:,} removed"
            )
        ]
        return [*lines, *map(self._of_missing, self.missing[:20])]

    def _of_missing(self, path: str) -> str:
        why = f" ({self.refused[path]})" if path in self.refused else ""
        return f"missing, or not what the release says: {path}{why}"


def get_release(
    origin: Origin,
    target: Path,
    selection: Selection | None,
    *,
    update: bool = False,
    signers: Path | None = None,
    progress: Progress = silent,
) -> GetReport:
    """Bring a release, or what a selection chooses of it, into a folder.

    Args:
        origin: that has it.
        target: a new or empty folder, a release, or what an earlier run left.
        selection: of images; None brings tables and index alone.
        update: whether a copy of another version becomes one of this.
        signers: keys that must have signed it, as ``ssh-keygen -Y`` reads them.
        progress: called with counts of files.

    Raises:
        PublishError: the origin cannot be read, or what it has is not a release.
        SettingsError: the folder has files of somebody else, or lies in a release.
        ReleaseError: the folder has another version, and is not to be updated; or the signature is not good.
        ReleaseReplaced: another version took the place of the one there meanwhile.
        DiskFull: the folder's disk is full.
    """
    place = Target(target)
    place.check()
    with full_disk_named(target):
        return _Get(origin, place, GetReport(target.name), progress).run(selection, update=update, signers=signers)


def _standing(target: Path, about: Release, *, update: bool) -> Release | None:
    """The other version that the folder has; None where it has this one or none."""
    if not is_plain(target, RELEASE_JSON):
        return None
    old = read_release(target)
    if old.ref == about.ref:
        return None
    if not update:
        raise ReleaseError(
            f"{target} has {old.version}, and {about.version} is there; add --update, or give a new folder"
        )
    return old


@dataclass(slots=True)
class _Get:
    origin: Origin
    place: Target
    report: GetReport
    progress: Progress
    sums: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        return self.place.folder

    @property
    def work(self) -> Path:
        return self.place.work

    def run(self, selection: Selection | None, *, update: bool, signers: Path | None) -> GetReport:
        """See `get_release`."""
        about = self.begin(signers)
        old = _standing(self.target, about, update=update)
        with self.of_one_version(about):
            self.tables(about)
            if old is not None:
                self.leave(old, about)
            commit_part(self.work / RELEASE_JSON, self.target / RELEASE_JSON)
            if selection is not None:
                self.images(selection)
        remove_folder(self.work)
        return self.report

    def begin(self, signers: Path | None) -> Release:
        """Fetch RELEASE.json and SHA256SUMS, which must belong together."""
        self.work.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            about, data = self._head()
            if hashlib.sha256(data).hexdigest() == about.sha256sums_sha256:
                break
        else:
            raise ReleaseReplaced(
                "RELEASE.json and SHA256SUMS there do not belong together, as while a release is replaced; run again "
                "later, or get it from another place"
            )
        if signers is not None and check_signature(self.work, signers) is not Signature.GOOD:
            raise ReleaseError(f"the release is not signed by a key of {signers}; get it from its publisher")
        if is_plain(self.work, SIGNATURE) and not is_one_signature(self.work):
            raise ReleaseError(f"{SIGNATURE} there is not one signature and nothing else; get it from its publisher")
        try:
            self.sums = parse_sums(data)
        except ValueError as error:
            raise ReleaseError(f"{SHA256SUMS} there cannot be used ({error}); get it from another place") from error
        self.report.release = f"{about.name} {about.version}"
        return about

    def _head(self) -> tuple[Release, bytes]:
        """RELEASE.json and SHA256SUMS as they are there now, in the hidden folder with the signature."""
        self.place.keep_list()
        for name in (RELEASE_JSON, SHA256SUMS, SIGNATURE):  # never resumed: they may be of another version
            (self.work / name).unlink(missing_ok=True)
        limits = {RELEASE_JSON: LONGEST, SHA256SUMS: LONGEST_LIST, SIGNATURE: LONGEST_SIGNATURE}
        for path, why in self.origin.fetch(limits, self.work).items():
            raise PublishError(f"{path} there cannot be taken ({why}); get the release from another place")
        about = read_release(self.work)
        return about, (self.work / SHA256SUMS).read_bytes() if is_plain(self.work, SHA256SUMS) else b""

    @contextlib.contextmanager
    def of_one_version(self, about: Release) -> Iterator[None]:
        """Tell what goes wrong in a block, or is missing after it, from a release that was replaced meanwhile.

        Raises:
            ReleaseReplaced: it was.
        """
        try:
            yield
        except (PublishError, ReleaseError) as error:
            if self._has_another(about):
                raise self._replaced(about) from error
            raise
        if self.report.missing and self._has_another(about):
            raise self._replaced(about)

    def _has_another(self, about: Release) -> bool:
        """Whether the place has another version by now, or none while one comes."""
        now = self.work / _NOW
        now.mkdir(parents=True, exist_ok=True)
        try:
            self.origin.fetch({RELEASE_JSON: LONGEST}, now)
            return not is_plain(now, RELEASE_JSON) or read_release(now).ref != about.ref
        except (PublishError, ReleaseError):
            return False  # what is there cannot be told, so the error stays what it was
        finally:
            remove_folder(now)

    def _replaced(self, about: Release) -> ReleaseReplaced:
        option = ", with --update" if is_plain(self.target, RELEASE_JSON) else ""
        return ReleaseReplaced(f"{about.name} {about.version} was replaced while it was read; run again{option}")

    def tables(self, about: Release) -> None:
        """Fetch tables, index and lists; without all of them nothing can be chosen."""
        self.place.begin()
        wanted = {
            path: sha256 for path, sha256 in self.sums.items() if _TABLES.fullmatch(path) or _LISTS.fullmatch(path)
        }
        self._bring((path, sha256, _longest(path)) for path, sha256 in wanted.items())
        for missing in self.report.missing:
            if why := self.report.refused.get(missing):
                raise PublishError(f"{missing} there cannot be taken ({why}); get the release from another place")
            raise PublishError(f"{about.name} there lacks {missing}, or has it damaged; run again later")
        self._remove(sorted(self._stale(wanted)))
        if not is_plain(self.target, SHA256SUMS) or sha256_of(self.target / SHA256SUMS) != about.sha256sums_sha256:
            self.place.remove(SIGNATURE)  # before the list that it is not of
        for name in (SHA256SUMS, SIGNATURE):
            if (self.work / name).exists():
                commit_part(self.work / name, self.target / name)

    def _stale(self, wanted: Mapping[str, str]) -> set[str]:
        """Documents of other versions that this one lacks, or has otherwise and does not bring.

        What such a document is called must not make a file of somebody else go: of what no run brings, only that goes
        which has the other version's bytes.
        """
        stale = set()
        for sums in self.place.lists():
            for path, sha256 in sums.items():
                if path in wanted or is_image(path) or self.sums.get(path) == sha256:
                    continue
                if _is_brought(path) or (is_plain(self.target, path) and sha256_of(self.target / path) == sha256):
                    stale.add(path)
        return stale | self._other_shards(wanted)

    def _other_shards(self, wanted: Mapping[str, str]) -> set[str]:
        """Parts of the release's tables as another version divides them, which no reader could tell from its own."""
        tables = {table for path in wanted if (table := _table_of(path))}
        names = (path.relative_to(self.target).as_posix() for path in self.target.glob("*/*.parquet"))
        return {name for name in names if name not in wanted and _table_of(name) in tables}

    def leave(self, old: Release, about: Release) -> None:
        """Remove images that the newer release lacks or has otherwise, by its list of changes; without one, all."""
        labels = (f"{about.version}-from-{old.version}", f"{about.year}-from-{old.year}")
        for label in labels:
            names = [f"changes/{label}.{kind}.txt" for kind in ("remove", "files")]
            if old.ref in {about.previous, about.replaces} and all(name in self.sums for name in names):
                self._bring((name, self.sums[name], _longest(name)) for name in names)
                paths = {line for name in names for line in (self.target / name).read_text().splitlines()}
                self._remove(path for path in paths if is_image(path))
                return
        images = (path for tree in TREES for path in self.target.glob(f"{tree.name}/*/*"))
        self._remove(sorted(path.relative_to(self.target).as_posix() for path in images))

    def _remove(self, paths: Iterable[str]) -> None:
        self.report.removed += sum(map(self.place.remove, paths))

    def images(self, selection: Selection) -> None:
        """Fetch the images that a selection chooses."""
        with choose(self.target, selection) as chosen:
            done, before, wanted = 0, self.report.kept, self._not_here(chosen)
            first = next(wanted, None)
            if first is None:
                return
            wanted = chain([first], wanted)
            if has_tars(self.origin, chosen.tree, first.id):
                for brought in bring_from_tars(self.origin, wanted, target=self.target, work=self.work):
                    self.report.fetched += brought.fetched
                    self.report.missing += brought.missing
                    done += brought.posts
                    self.progress("images", self.report.kept - before + done, chosen.posts)
                return
            while batch := list(islice(wanted, _BATCH)):
                stop.check()
                self._bring((post.path, post.sha256, post.size) for post in batch)
                done += len(batch)
                self.progress("images", self.report.kept - before + done, chosen.posts)
            buckets = (self.target / chosen.tree / bucket for bucket in BUCKETS)
            for folder in filter(Path.is_dir, buckets):
                fsync_folder(folder)  # once for all images

    def _not_here(self, posts: Iterable[Chosen]) -> Iterator[Chosen]:
        """The posts whose image is still to be fetched; the others count as kept."""
        for post in posts:
            if _is_here(self.target, post):
                self.report.kept += 1
            else:
                yield post

    def _bring(self, files: Iterable[tuple[str, str, int]]) -> None:
        """Fetch files that are not here as they should be, and give them their names once their digests are right.

        Args:
            files: path, SHA-256, and the most bytes that it may have.
        """
        wanted, limits, refused = dict[str, str](), dict[str, int](), dict[str, str]()
        for path, sha256, longest in files:
            if is_plain(self.target, path) and sha256_of(self.target / path) == sha256:
                self.report.kept += 1
            else:
                wanted[path], limits[path] = sha256, longest
        for again in (False, True):
            lacking = [path for path in wanted if not self._is_whole(path, wanted[path], discard=again)]
            if lacking:  # one that is too long may be so because of what a killed run has of another version
                refused = self.origin.fetch({path: limits[path] for path in lacking}, self.work)
        for path, sha256 in wanted.items():
            if self._is_whole(path, sha256, discard=True):
                (self.target / path).parent.mkdir(parents=True, exist_ok=True)
                # A flush for each image would take longer than to fetch it; the folders are flushed in the end.
                commit_part(self.work / path, self.target / path, flush_folder=not is_image(path))
                self.report.fetched += 1
            else:
                self.report.missing.append(path)
        self.report.refused |= refused

    def _is_whole(self, path: str, sha256: str, *, discard: bool) -> bool:
        """Whether a file arrived; a wrong one is discarded, so it is fetched from its beginning."""
        if not is_plain(self.work, path):
            return False
        right = sha256_of(self.work / path) == sha256
        if not right and discard:
            (self.work / path).unlink()
        return right


def _is_brought(path: str) -> bool:
    """Whether a document of this name is one that runs bring."""
    return any(pattern.fullmatch(path) for pattern in (_TABLES, _LISTS, _CHANGES))


def _table_of(path: str) -> tuple[str, str] | None:
    """Folder and name of the table that a file is a part of."""
    folder, _, name = path.rpartition("/")
    shard = SHARD.fullmatch(name)
    return (folder, shard[1]) if shard and _TABLES.fullmatch(path) else None


def _longest(document: str) -> int:
    """The most bytes of a document."""
    if document.endswith((".parquet", ".roar")):
        return _LONGEST_TABLE
    return LONGEST_PATHS if document.startswith("changes/") else LONGEST_LIST


def _is_here(target: Path, post: Chosen) -> bool:
    """Whether a post's image is here: it got its name when its digest was right."""
    return is_plain(target, post.path) and (target / post.path).stat().st_size == post.size
