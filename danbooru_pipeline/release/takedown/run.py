"""Removal of posts from every published release, from the store, and from whatever is made later.

The list of ids is written before anything is removed, so a takedown that is killed anywhere is finished by running it
again, and no release is made until then; a build that is under way publishes nothing. Releases are never changed: each
that names a post anywhere is made again without it under the next version, from its own files, and replaces the old
one as a whole; a replaced version that names one is removed. What cannot be treated is named, and the takedown stays
unfinished: it is done only when a search of all that lies under the store and the releases finds nothing. Copies that
were published elsewhere are noted with it, until each is published again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline import stop
from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseError, ReleaseRefused
from danbooru_pipeline.io.atomic import remove_folder
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, read_takedowns, with_published, write_takedowns
from danbooru_pipeline.progress import Progress, counted, silent
from danbooru_pipeline.release.mentions import Search, removed_ids
from danbooru_pipeline.release.pointer import is_pointer
from danbooru_pipeline.release.release_json import Release, published, read_release
from danbooru_pipeline.release.removal_part import end_removal_part, removal_parts
from danbooru_pipeline.release.signing import is_signed_by, public_key
from danbooru_pipeline.release.tables.image_rows import release_shards
from danbooru_pipeline.release.takedown.again import plan_again
from danbooru_pipeline.release.takedown.clear import (
    clear_following,
    clear_metadata,
    clear_store,
    is_named_before_release,
    store_files,
)
from danbooru_pipeline.release.takedown.curation import clear_curation, curation_files_about
from danbooru_pipeline.release.tree.grace import remove_superseded
from danbooru_pipeline.release.tree.plan import SnapshotPlan, require_signed_again
from danbooru_pipeline.release.tree.snapshot import apply_snapshot
from danbooru_pipeline.release.tree.swap import heal_releases
from danbooru_pipeline.release.tree.versions import next_version
from danbooru_pipeline.release_paths import RELEASE_JSON, release_name

_BUSY = "another takedown is running; wait for it to end, then run again"
_BUILDING = "{name} is being made; that build will publish nothing"
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class TakedownPlan:
    """What a takedown would do.

    Attributes:
        posts: id -> what is known about it; all ids that were asked for.
        years: of the releases that name a post and are made again.
        badly_signed: years of releases that name none, but are not signed by the key that they name, or signed by one
            that they do not name; who has a key makes them again, too.
        replaced: versions in their grace period that are removed.
        files: in the store that are removed.
        obstacles: one line for each folder that names a post and cannot be made again.
        unknown: ids that nothing under the releases names.
        unfinished: whether an earlier takedown was not finished.
    """

    layout: Layout
    posts: dict[int, TakenDown]
    years: tuple[int, ...]
    badly_signed: tuple[int, ...] = ()
    replaced: tuple[Path, ...] = ()
    files: tuple[Path, ...]
    obstacles: tuple[str, ...] = ()
    unknown: tuple[int, ...] = ()
    unfinished: bool = False

    def is_idle(self, *, signs: bool) -> bool:
        """Whether nothing is left to do of earlier takedowns, with a key or without one. Searches the store."""
        ids, bad = frozenset(self.posts), self.badly_signed if signs else ()
        parts = self.posts and removal_parts(self.layout.releases)
        if self.unfinished or any((self.years, self.replaced, self.files, self.obstacles, bad, parts)):
            return False
        return not (is_named_before_release(self.layout, ids) or curation_files_about(self.layout, ids))

    def lines(self) -> list[str]:
        """The plan for people."""
        posts, files = counted(len(self.posts), "post"), counted(len(self.files), "file")
        lines = [f"would take down {posts} and remove {files} from the store"]
        for year in self.years:
            release = read_release(self.layout.release(year))
            lines.append(f"would make {release.name} {next_version(self.layout, year)} in place of {release.version}")
        lines += [
            f"would make {release_name(year)} again, where DANBOORU_SIGNING_KEY is set, since its signature is bad"
            for year in self.badly_signed
        ]
        lines += [f"would remove {folder.name}, which was replaced" for folder in self.replaced]
        lines += [f"would remove {part}, which apply-removals left" for part in removal_parts(self.layout.releases)]
        lines += [f"would stop: {obstacle}" for obstacle in self.obstacles]
        if self.unknown:
            lines.append(f"in no release, and kept out of later ones: {', '.join(map(str, self.unknown))}")
        return lines


def plan_takedown(layout: Layout, ids: Iterable[int]) -> TakedownPlan:
    """Find out where posts are; without ids, all that were ever taken down, in case some came back. Changes nothing.

    Raises:
        StoreError: the list of earlier takedowns is damaged.
    """
    known = read_takedowns(layout)
    wanted = sorted(set(ids) or known.posts)
    found = survey(layout, known.ids | set(wanted))
    posts = {id_: _find(layout, id_, known) for id_ in wanted}
    named = set[int]().union(*found.years.values(), *found.replaced.values(), *found.others.values())
    return TakedownPlan(
        layout=layout,
        posts=posts,
        years=tuple(found.years),
        badly_signed=tuple(year for year in badly_signed(layout) if year not in found.years),
        replaced=tuple(found.replaced),
        files=tuple(sorted(store_files(layout, posts.keys()))) if posts else (),
        obstacles=tuple(found.lines()),
        unknown=tuple(id_ for id_ in wanted if id_ not in named),
        unfinished=known.unfinished,
    )


def badly_signed(layout: Layout) -> list[int]:
    """Years of the releases that are not signed as they say; one that cannot be read is left to the survey."""
    found = {year: (folder, _readable(folder)) for year, folder in published(layout).items()}
    return [
        year
        for year, (folder, release) in found.items()
        if release is not None and not is_signed_by(folder, release.signer)
    ]


def _readable(folder: Path) -> Release | None:
    with suppress(DanbooruPipelineError):
        return read_release(folder)
    return None


@dataclass(frozen=True, slots=True)
class Survey:
    """Where some posts are named.

    Attributes:
        years: year of a release that can be made again -> posts that it names.
        replaced: a replaced version that is still there, and names one of them or cannot be read.
        others: anything else under the releases -> posts that it names.
        unreadable: one line for each that could not be searched.
    """

    years: dict[int, set[int]] = field(default_factory=dict)
    replaced: dict[Path, set[int]] = field(default_factory=dict)
    others: dict[Path, set[int]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What a takedown cannot treat, for people."""
        return [
            *(
                f"{path} names {_shown(ids)} and is not a finished release; remove it, or put its RELEASE.json back"
                for path, ids in self.others.items()
            ),
            *self.unreadable,
        ]


def survey(layout: Layout, ids: frozenset[int]) -> Survey:
    """Search everything under the releases, except what a build or a takedown is making."""
    found, search = Survey(), Search(ids)
    releases = {folder: year for year, folder in published(layout).items()}
    entries = sorted(layout.releases.iterdir()) if ids and layout.releases.is_dir() else []
    hidden = (layout.staging, layout.retired, layout.takedown, layout.release_lock)
    ours = {path for name in hidden for path in layout.there(name).values()} | set(removal_parts(layout.releases))
    replaced = layout.superseded_releases
    for path in entries:
        year = releases.get(path)
        try:
            if path in replaced:
                found.replaced.update(_of_replaced(search, path))
            elif year is not None:
                named = search.of_release(path)
                found.years.update({year: named} if named else {})
            elif not (path in ours or is_pointer(path)):
                named = search.of_anything(path)
                found.others.update({path: named} if named else {})
        except DanbooruPipelineError as error:
            found.unreadable.append(str(error))
    return found


def _of_replaced(search: Search, folder: Path) -> dict[Path, set[int]]:
    """A replaced version with what it names of some posts; nothing where it names none."""
    try:
        named = search.of_anything(folder) if not is_plain(folder, RELEASE_JSON) else search.of_release(folder)
    except DanbooruPipelineError:
        return {folder: set()}
    return {folder: named} if named else {}


def _shown(ids: Iterable[int]) -> str:
    ordered = sorted(ids)
    return ", ".join(map(str, ordered[:_SHOWN])) + (" and more" if len(ordered) > _SHOWN else "")


def _find(layout: Layout, post_id: int, known: Takedowns) -> TakenDown:
    """What releases say about a post. What was known before counts too, since they may be made again already."""
    before = known.posts.get(post_id, TakenDown())
    paths, first = set(before.paths), before.first_year
    for year, folder in published(layout).items():
        for row in _manifest_rows(folder, post_id):
            paths.update(path for path in (row["path"], row["px512_path"]) if path)
            first = year if first is None else min(first, year)
    return TakenDown(paths=tuple(sorted(paths)), first_year=first)


def _manifest_rows(folder: Path, post_id: int) -> list[dict[str, str | None]]:
    try:
        return [
            row
            for path in release_shards(folder, "manifest/files")
            for table in read_batches(path, columns=("id", "path", "px512_path"))
            for row in table.filter(pc.equal(table["id"], pa.scalar(post_id, pa.int64()))).to_pylist()
        ]
    except (OSError, pa.ArrowException):
        return []  # the survey names it


def apply_takedown(
    plan: TakedownPlan,
    *,
    created_at: datetime,
    signing_key: Path | None = None,
    places: Mapping[str, str] | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[Release]:
    """Do what a plan says, and finish what an earlier takedown left. Returns the new releases, oldest first.

    Args:
        plan: from `plan_takedown`.
        created_at: the time that each RELEASE.json records.
        signing_key: private key for SHA256SUMS.sig, which the releases then name. With it, those that are badly signed
            are made again, too; without it, none that is signed can be.
        places: digest -> address of the places that the settings name.
        threads: that link, hash and compress; default one per core.
        progress: see `apply_snapshot`.

    Raises:
        StoreError: another takedown runs, or its list is damaged.
        ReleaseRefused: something names a post and cannot be treated; all else is done.
        DanbooruPipelineError: as `require_key`; nothing is done.
    """
    layout = plan.layout
    make = partial(apply_snapshot, created_at=created_at, signing_key=signing_key, threads=threads, progress=progress)
    with exclusive(layout.takedowns_lock, busy=_BUSY):
        require_key(layout, plan.years, signing_key)
        known = read_takedowns(layout)
        copies = partial(with_published, layout, known.copies, places or {})
        takedowns = Takedowns(posts={**known.posts, **plan.posts}, unfinished=True, copies=copies())
        write_takedowns(layout, takedowns)
        work = _Removal(layout, takedowns)
        work.clear_unpublished()
        made = work.make_again(make, signing_key)
        work.clear_segments(made_again=bool(made))
        work.require_done()
        write_takedowns(layout, replace(takedowns, unfinished=False, copies=copies()))  # one may have begun before us
    return made


def require_key(layout: Layout, years: Iterable[int], signing_key: Path | None) -> None:
    """Refuse to make releases again that are signed, unless there is a key that can sign.

    Raises:
        SettingsError: the key cannot sign.
        ReleaseRefused: there is none.
    """
    if signing_key is not None:
        public_key(signing_key)
    for year in years:
        release = _readable(layout.release(year))
        if release is not None:  # one that is not readable is not made again, and is named as such
            require_signed_again(layout.release(year), release, signs=signing_key is not None)


def _is_made_without(folder: Path, ids: frozenset[int]) -> bool:
    """Whether a hidden tree is a finished release, and verified, without these posts: its version may be taken."""
    try:
        return is_plain(folder, RELEASE_JSON) and ids <= removed_ids(folder)
    except ReleaseError:
        return False


@dataclass(slots=True)
class _Removal:
    """One takedown, and what it could not do: each failure costs its own part only, and none is forgotten."""

    layout: Layout
    takedowns: Takedowns
    obstacles: list[str] = field(default_factory=list)
    was_packed: bool = False  # whether an archive that nobody published may contain a post

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Go on after an error of this part, and begin none after a signal."""
        stop.check()
        try:
            yield
        except (DanbooruPipelineError, OSError, ValueError, pa.ArrowException) as error:
            self.obstacles.append(str(error))

    def clear_unpublished(self) -> None:
        """Clear metadata before files: a bucket that is built in between finds no post to fetch."""
        layout, ids = self.layout, self.takedowns.ids
        for year in layout.metadata_years:
            with self.attempt():
                self.was_packed |= clear_metadata(layout, year, ids)
        for bucket in sorted({bucket_of(id_) for id_ in ids}):
            with self.attempt():
                clear_store(layout, {id_ for id_ in ids if bucket_of(id_) == bucket})
        with self.attempt():
            clear_following(layout, ids)
        with self.attempt():
            clear_curation(layout, ids)
        for part in removal_parts(layout.releases):
            with self.attempt():
                end_removal_part(part)
        with self.attempt():
            heal_releases(layout)
        for year, folder in layout.there(layout.staging).items():
            with self.attempt(), exclusive(layout.release_lock(year), busy=_BUILDING.format(name=release_name(year))):
                if not _is_made_without(folder, ids):
                    remove_folder(folder)
                    self.was_packed = True
        for folder in layout.there(layout.takedown).values():  # a takedown that was killed once its release was made
            with self.attempt():
                remove_folder(folder)

    def end_grace(self) -> Survey:
        """Remove replaced versions that name a post; mirrors begin again. Returns what else there is."""
        found = survey(self.layout, self.takedowns.ids)
        for folder in found.replaced:
            with self.attempt(), exclusive(self.layout.release_lock(self.layout.superseded_releases[folder])):
                remove_superseded(folder)
        return found

    def make_again(self, make: Callable[[SnapshotPlan], Release], signing_key: Path | None) -> list[Release]:
        """Make the releases again that name a post, and with a key those that are badly signed; oldest first."""
        layout, made = self.layout, list[Release]()
        years = self.end_grace().years.keys() | (set(badly_signed(layout)) if signing_key else set())
        for year in sorted(years):
            with self.attempt():
                require_key(layout, [year], signing_key)
                made.append(make(plan_again(layout, year, self.takedowns)))
            with self.attempt():
                remove_folder(layout.takedown(year))
        return made

    def clear_segments(self, *, made_again: bool) -> None:
        """Drop compressed metadata that an unpublished archive may have left; a new archive has done so itself."""
        if self.was_packed and not made_again:
            with self.attempt():
                remove_folder(self.layout.segments)

    def require_done(self) -> None:
        """Search again, and refuse to call it done unless nothing is left.

        Raises:
            ReleaseRefused: something could not be treated.
        """
        ids = self.takedowns.ids
        left = survey(self.layout, ids)
        named = {year: f"{self.layout.release(year)} still names {_shown(ids)}" for year, ids in left.years.items()}
        files = [f"{path} is still there" for path in store_files(self.layout, ids)]
        replaced = [f"{folder} is still there" for folder in left.replaced]
        with self.attempt():
            files += [f"{path} still names {_shown(ids)}" for path in curation_files_about(self.layout, ids)]
        found = list(dict.fromkeys([*self.obstacles, *left.lines(), *named.values(), *replaced, *files]))
        if found:
            raise ReleaseRefused(
                f"the takedown is not finished: {'; '.join(found)}. Nothing is built until it is; mend that, then run "
                "danbooru-pipeline takedown --resume",
                rows=found,
            )
