"""Plans what a feed removes from an export or a copy of a release, and applies the plan.

What kind a file has is told by its name, so what others made from a release is treated like our own exports. Files that
cannot be read are named, and nothing else is held up by them; kinds that nobody knows are counted and said.
"""

import sqlite3
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from danbooru_pipeline import stop
from danbooru_pipeline.consume.exports.readme import TITLE
from danbooru_pipeline.consume.removals.archives import index_beside, is_index, tar_without, zip_without
from danbooru_pipeline.consume.removals.databases import duckdb_without, md5s_only_of, sqlite_without
from danbooru_pipeline.consume.removals.gone import Gone
from danbooru_pipeline.consume.removals.json_files import json_without, look_into_json
from danbooru_pipeline.consume.removals.lines import (
    csv_without,
    jsonl_without,
    parquet_without,
    sums_without,
)
from danbooru_pipeline.consume.removals.of_release import heal_release, remove_from_release
from danbooru_pipeline.errors import ReleaseRefused, SettingsError
from danbooru_pipeline.layout import STORED_EXTENSIONS, Layout
from danbooru_pipeline.progress import Progress, counted, silent
from danbooru_pipeline.release.outside import release_around, root_around
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release_paths import RELEASE_JSON

Rewrite = Callable[[Path, Gone, Path | None], int]
_BY_SUFFIX: Final[dict[str, Rewrite]] = {
    ".tar": tar_without,
    ".zip": zip_without,
    ".jsonl": jsonl_without,
    ".json": json_without,
    ".csv": csv_without,
    ".parquet": parquet_without,
}
_BY_NAME: Final[dict[str, Rewrite]] = {"MD5SUMS": sums_without, "optimised.txt": sums_without}
_BY_HEAD: Final[dict[bytes, Rewrite]] = {b"SQLite format 3\0": sqlite_without}
_DUCKDB: Final = (8, b"DUCK")
#: Kinds that name no post but in their own name, which was looked at.
_HARMLESS: Final = frozenset({"txt", "md", "yml", "yaml", "npz"}) | STORED_EXTENSIONS
_ERRORS: Final = (
    *(OSError, ValueError, EOFError, sqlite3.Error, duckdb.Error, pa.ArrowException, tarfile.TarError),
    zipfile.BadZipFile,
)


@dataclass(frozen=True, slots=True)
class Change:
    """A file that names a post that is gone: `rewrite` leaves out `count` rows or members; without it the file goes."""

    path: Path
    count: int
    rewrite: Rewrite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalPlan:
    """What is removed.

    Attributes:
        target: an export or a release.
        is_release: whether it is a release, which is made again without the posts.
        unreadable: one line for each file that could not be searched.
        unknown: suffix -> files of a kind that is not looked into, or that name a post in a form that is not known.
        unclear: the latter.
    """

    target: Path
    gone: Gone
    changes: tuple[Change, ...]
    is_release: bool = False
    unreadable: tuple[str, ...] = ()
    unknown: tuple[tuple[str, int], ...] = ()
    unclear: tuple[Path, ...] = ()

    def counts(self) -> str:
        """What of an export goes."""
        files = sum(each.rewrite is None for each in self.changes)
        rows = sum(each.count for each in self.changes if each.rewrite is not None)
        of = counted(len(self.changes) - files, "file")
        return f"{counted(files, 'file')}, and {counted(rows, 'row or member', 'rows and members')} of {of}"

    def lines(self) -> list[str]:
        """The plan for people."""
        if self.is_release:
            return [f"make {self.target} again without {counted(len(self.gone.ids), 'post')}, if it names any of them"]
        unknown = ", ".join(f"{count:,} of {suffix}" for suffix, count in self.unknown)
        return [
            f"remove {self.counts()}, by a feed of {counted(len(self.gone.ids), 'post')}",
            *([f"not looked into, since their kind or form is unknown: {unknown}"] if unknown else []),
            *(f"names such a post in a form that is unknown; look at it yourself: {path}" for path in self.unclear),
            *(f"cannot be read: {line}" for line in self.unreadable),
        ]


def plan_removals(target: Path, ids: Collection[int]) -> RemovalPlan:
    """Find out what of an export names these posts. Changes nothing, but finishes a swap that was killed.

    Raises:
        SettingsError: there is nothing at the target, or it is a part of a release, or of what a root publishes.
    """
    for folder in (target, Layout(target).releases):
        if (root := root_around(folder)) is not None:
            raise SettingsError(
                f"{target} has releases that {root} publishes, which a takedown alone may change; run "
                f"danbooru-pipeline takedown ID... with DANBOORU_ROOT={root}, or give a copy that lies elsewhere"
            )
    heal_release(target)
    if not target.exists():
        raise SettingsError(f"{target} does not exist; give the folder or file of an export, or a release")
    if (release := release_around(target)) is not None:
        raise SettingsError(f"{target} is a part of the release {release}; give the whole release")
    if (target / RELEASE_JSON).is_file():
        return RemovalPlan(target=target, gone=Gone(frozenset(ids)), changes=(), is_release=True)
    files = list(_files(target))
    gone = Gone(frozenset(ids), _md5s(files, frozenset(ids)))
    found = _Found()
    unreadable: list[str] = []
    for path in files:
        stop.check()
        try:
            _look(path, gone, found)
        except _ERRORS as error:
            unreadable.append(f"{path} ({str(error).partition(chr(10))[0]})")
    return RemovalPlan(
        target=target,
        gone=gone,
        changes=tuple(found.changes),
        unreadable=tuple(unreadable),
        unknown=tuple(sorted(found.unknown.items())),
        unclear=tuple(found.unclear),
    )


def _files(target: Path) -> Iterator[Path]:
    if not target.is_dir():
        yield target
        yield from sorted(target.parent.glob(f"{target.name}.*.csv"))
        return
    yield from (path for path in sorted(target.rglob("*")) if path.is_file() and not path.is_symlink())


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    changes: list[Change] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unclear: list[Path] = field(default_factory=list)


def _look(path: Path, gone: Gone, found: _Found) -> None:
    if is_index(path):
        return  # goes with its tar
    if gone.of_name(path.name):
        found.changes.append(Change(path, 1))
        return
    rewrite = _rewriter_of(path)
    if rewrite in {json_without, jsonl_without}:
        _look_into_json(path, gone, found, rewrite)
    elif rewrite is not None:
        count = rewrite(path, gone, None)
        found.changes.extend([Change(path, count, rewrite)] if count or _lacks_index(path) else [])
    elif path.suffix.lower()[1:] not in _HARMLESS:
        found.unknown[path.suffix or path.name] += 1


def _look_into_json(path: Path, gone: Gone, found: _Found, rewrite: Rewrite | None) -> None:
    """A file that is one row goes as a file does; what names a post in another form is told."""
    has = look_into_json(path, gone)
    if has.rows:
        found.changes.append(Change(path, has.rows, None if has.is_row else rewrite))
    if has.left:
        found.unknown[path.suffix] += 1
        found.unclear.append(path)


def _lacks_index(path: Path) -> bool:
    """Whether a killed run of an earlier version left a tar that was rewritten and no index of it."""
    return path.suffix == ".tar" and (index := index_beside(path)) is not None and not index.exists()


def _rewriter_of(path: Path) -> Rewrite | None:
    if found := _BY_NAME.get(path.name) or _BY_SUFFIX.get(path.suffix.lower()):
        return found
    with path.open("rb") as file:
        head = file.read(16)
    if head[_DUCKDB[0] :].startswith(_DUCKDB[1]):
        return duckdb_without
    return _BY_HEAD.get(head)


def _md5s(files: Collection[Path], ids: frozenset[int]) -> frozenset[str]:
    """MD5s under which an export of DeepDanbooru has files of these posts alone."""
    found: frozenset[str] = frozenset()
    for path in files:
        if path.name == "danbooru.sqlite":
            try:
                found |= md5s_only_of(path, ids)
            except _ERRORS:
                continue  # told when it is looked at
    return found


def apply_removals(plan: RemovalPlan, *, created_at: datetime, progress: Progress = silent) -> str:
    """Do what a plan says. Files go first and the tables that name them last, so a killed run finds all that is left.

    Returns what was done, as a line for people.

    Args:
        plan: from `plan_removals`.
        created_at: the time that a release records which is made again.
        progress: called with counts of files.

    Raises:
        ReleaseRefused: something could not be read or rewritten, so it may name a post still; all else is done.
    """
    if plan.is_release:
        named = remove_from_release(plan.target, plan.gone.ids, created_at=created_at, progress=progress)
        return _made_again(plan.target, named)
    left = list(plan.unreadable)
    changes = sorted(plan.changes, key=lambda each: each.rewrite is not None)
    for number, change in enumerate(changes, start=1):
        stop.check()
        try:
            _apply(change, plan.gone)
        except _ERRORS as error:
            left.append(f"{change.path} ({str(error).partition(chr(10))[0]})")
        progress("files", number, len(changes))
    _note(plan)
    if left:
        raise ReleaseRefused(
            f"the removal is not finished, since these cannot be read or written: {'; '.join(left)}. "
            "Remove them or put them right, then run again",
            rows=left,
        )
    return f"removed {plan.counts()}"


def _made_again(target: Path, named: Collection[int]) -> str:
    if not named:
        return f"{target} names none of these posts; nothing was changed"
    about = read_release(target)
    return (
        f"made {target} again without the {len(named):,} of these posts that it named: {about.name} {about.version}, "
        "without a signature"
    )


def _apply(change: Change, gone: Gone) -> None:
    if change.rewrite is None:
        change.path.unlink(missing_ok=True)
    else:
        change.rewrite(change.path, gone, change.path)


def _note(plan: RemovalPlan) -> None:
    """Say in the README of an export that its count of posts is that of before."""
    target = plan.target
    path = target / "README.md" if target.is_dir() else target.with_name(f"{target.name}.README.md")
    line = "Posts that a feed of removals names were removed since; the counts above are those of before.\n"
    if plan.changes and path.is_file():
        text = path.read_text(encoding="utf-8")
        if text.startswith(TITLE) and line not in text:
            path.unlink()  # it may be a link
            path.write_text(text.replace("\n## Terms", f"{line}\n## Terms", 1), encoding="utf-8")
