"""Lists of changes between any two releases that somebody has, where the newer one brings none from the older."""

import collections
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.atomic import commit_part, remove_part, remove_parts_of, write_atomic
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.layout import PART_SUFFIX
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release.change_rows import Change
from danbooru_pipeline.release.changes import ChangedPaths, changed_rows, write_paths, write_rows
from danbooru_pipeline.release.checksums import LONGEST_LIST, read_sums
from danbooru_pipeline.release.outside import require_outside
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release_paths import RELEASE_JSON, REMOVED, SHA256SUMS, SIGNATURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a copy of one release needs to become another.

    Attributes:
        label: stem of the lists' names, like ``2022.0-from-2021.1``.
        counts: kind of change -> how many.
        fetch: paths that it lacks, or has in another form; sorted.
        remove: paths that it has no longer; sorted.
    """

    old: Release
    new: Release
    label: str
    counts: Mapping[str, int]
    fetch: tuple[str, ...]
    remove: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result for people."""
        kinds = ", ".join(f"{self.counts.get(kind, 0):,} {kind}" for kind in Change)
        return [
            f"{self.old.name} {self.old.version} to {self.new.name} {self.new.version}: {kinds}",
            f"to fetch: {counted(len(self.fetch), 'file')}; to remove: {len(self.remove):,}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "old": {"name": self.old.name, "version": self.old.version},
            "new": {"name": self.new.name, "version": self.new.version},
            "label": self.label,
            "counts": {kind.value: self.counts.get(kind, 0) for kind in Change},
            "fetch": list(self.fetch),
            "remove": list(self.remove),
        }


def compare_releases(old: Path, new: Path, *, into: Path | None = None, threads: int = 1) -> Comparison:
    """Find out what changed from one release to another, in either direction of time.

    Args:
        old: folder of a release.
        new: folder of another one.
        into: folder, made if it is missing, that gets ``LABEL.parquet``, ``.files.txt``, ``.remove.txt`` and, last, the
            report ``LABEL.md``: where it is, the others are whole and of the same run.
        threads: for joining.

    Raises:
        SettingsError: `into` lies in a release, or another run writes the same lists.
        NotARelease: one of the folders is not a release.
        ReleaseError: one of them is not whole, or damaged.
    """
    before, after = read_release(old), read_release(new)
    label = f"{after.version}-from-{before.version}"
    if Path(label).name != label:
        raise ReleaseError(f"{label!r} has no versions of releases; verify both")
    with _unfinished(into, label) as part:
        found = _compare(before, after, label=label, folders=(old, new), part=part, threads=threads)
        if into is not None and part is not None:
            _write_lists(part, found)
            _commit(part, into, label)
    return found


def _compare(
    before: Release, after: Release, *, label: str, folders: tuple[Path, Path], part: Path | None, threads: int
) -> Comparison:
    """What changed; its rows go to a table in the folder of what is not finished."""
    old, new = folders
    images = ChangedPaths()
    rows = images.note(changed_rows(old, new, taken_down=_removed(old) | _removed(new), threads=threads))
    if part is None:
        collections.deque(rows, maxlen=0)
    else:
        write_rows(part / f"{label}.parquet", rows)
    was, now = _documents(old), _documents(new)
    fetch = images.fetch | {name for name, sum_ in now.items() if sum_ is None or was.get(name) != sum_}
    remove = (images.remove | (was.keys() - now.keys())) - fetch
    return Comparison(
        old=before,
        new=after,
        label=label,
        counts=dict(images.counts),
        fetch=tuple(sorted(fetch)),
        remove=tuple(sorted(remove)),
    )


@contextmanager
def _unfinished(into: Path | None, label: str) -> Iterator[Path | None]:
    """The hidden folder of lists that are not finished, locked, without what a killed run left; None for no lists."""
    if into is None:
        yield None
        return
    require_outside(into)
    part = into / f".{label}{PART_SUFFIX}"
    part.mkdir(parents=True, exist_ok=True)
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another run writes {label} to {into}; wait for it, or give another folder") from None
        try:
            remove_parts_of(into / label)
            for path in part.iterdir():
                remove_part(path)
            yield part
        finally:
            remove_part(part)
    finally:
        os.close(lock)


def _commit(part: Path, into: Path, label: str) -> None:
    """Give the lists their names: the report, by which a set is known to be whole, goes first and comes last."""
    report = f"{label}.md"
    (into / report).unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == report):
        commit_part(path, into / path.name)


def _write_lists(into: Path, found: Comparison) -> None:
    values = {"release": found.new, "old": found.old, "counts": found.counts, "kinds": list(Change)}
    write_atomic(into / f"{found.label}.md", render("changes.md", label=found.label, **values))
    write_paths(into / f"{found.label}.files.txt", found.fetch)
    write_paths(into / f"{found.label}.remove.txt", found.remove)


def _documents(folder: Path) -> dict[str, str | None]:
    """Path -> SHA-256 of the documents of a release; None for those that are fetched each time."""
    apart = {SHA256SUMS: None, RELEASE_JSON: None}
    return {**read_sums(folder), **apart, **({SIGNATURE: None} if is_plain(folder, SIGNATURE) else {})}


def _removed(folder: Path) -> set[int]:
    """Ids that a release names as taken down."""
    if not is_plain(folder, REMOVED):
        return set()
    try:
        return set(map(int, read_bytes(folder, REMOVED, limit=LONGEST_LIST).split()))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{folder / REMOVED} cannot be read ({error}); verify the release") from error
