"""Verification of manifests and metadata of earlier years that a release carries, against what those years recorded."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.release.checksums import LONGEST_LIST, parse_sums
from danbooru_pipeline.release.release_json import CONTENT, Event
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, readable_shards
from danbooru_pipeline.release.verify.removed import check_not_removed
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import METADATA, REMOVED, SHA256SUMS, metadata_folder, release_name

#: Where later releases have the manifest of a year: until 0.2 below ``manifest/``.
FOLDER = re.compile(r"(?:earlier|manifest)/(\d{4})")
_COLUMNS = ("id", "path", "size", "px512_size")


@dataclass(frozen=True, slots=True)
class Carried:
    """The manifest of an earlier year.

    Attributes:
        folder: where it is.
        files: its parts, in order.
        sums: SHA256SUMS of that year's release; None when it is not carried, as until 0.2, or not the right one.
    """

    year: int
    folder: str
    files: tuple[str, ...]
    sums: Mapping[str, str] | None


def check_carried(run: Verification, removed: set[int] | None) -> dict[int, Carried]:
    """Check all carried manifests, the newest first. Returns those that can be read, by their year."""
    found: dict[int, Carried] = {}
    folders = {match[0]: int(match[1]) for name in run.sums if (match := FOLDER.match(name)) and name.count("/") == 2}
    for folder, year in sorted(folders.items(), key=lambda item: -item[1]):
        carried = _carried(run, folder, year, later=list(found.values()))
        if carried is not None:
            found[year] = carried
            _check_rows(run, carried, removed)
    _check_previous(run)
    _check_metadata(run, found.values(), removed)
    return found


def _check_previous(run: Verification) -> None:
    """Check that the manifest of the release before is here, with its list of checksums, as from 0.3 on."""
    if run.release is None or run.release.previous is None or CONTENT not in run.sums:
        return
    folder = f"earlier/{run.release.previous.name[-4:]}"
    for needed in (f"{folder}/files-", f"{folder}/{SHA256SUMS}"):
        if not any(name.startswith(needed) for name in run.sums):
            run.add(Kind.CARRIED_DIFFER, folder, f"has no {Path(needed).name}, and RELEASE.json names it as previous")


def _check_metadata(run: Verification, newest_first: Iterable[Carried], removed: set[int] | None) -> None:
    """Check metadata of earlier years against the sums of the last year that had it."""
    folders = {name.rpartition("/")[0] for name in run.sums}
    seen: set[str] = set()
    for carried in newest_first:
        sums = {name: sum_ for name, sum_ in (carried.sums or {}).items() if name.startswith(f"{METADATA}/")}
        # A takedown since then has cleared lines, and has made this release of files that it had then.
        is_as_then = not removed or (carried.sums or {}).get(REMOVED) == run.sums.get(REMOVED)
        for name in sorted(sums.keys() - seen):
            folder = name.rpartition("/")[0]
            if name in run.sums:
                if is_as_then and run.sums[name] != sums[name]:
                    run.add(Kind.CARRIED_DIFFER, name, f"is not the file that {release_name(carried.year)} recorded")
            elif not removed or (folder == metadata_folder(carried.year) and folder not in folders):
                run.add(Kind.CARRIED_DIFFER, name, f"is missing, and {release_name(carried.year)} recorded it")
        seen |= sums.keys()


def _carried(run: Verification, folder: str, year: int, *, later: list[Carried]) -> Carried | None:
    if run.release is not None and year >= run.release.year:
        run.add(Kind.CARRIED_DIFFER, folder, "is not of an earlier year")
    files = readable_shards(run, folder, "files")
    if files is None:
        return None
    # A year's list has what its release carried itself, so the lists of later years vouch for earlier ones.
    vouched = {name: sum_ for other in later for name, sum_ in (other.sums or {}).items() if FOLDER.match(name)}
    sums = _sums(run, f"{folder}/{SHA256SUMS}", year, vouched)
    for name in files:
        own = f"manifest/{Path(name).name}"
        recorded = (sums or {}).get(own, vouched.get(name))
        if recorded is not None and recorded != run.sums.get(name):
            run.add(Kind.CARRIED_DIFFER, name, f"is not the file that {release_name(year)} recorded")
    if sums is not None and {f"manifest/{Path(name).name}" for name in files} != set(_own(sums)):
        run.add(Kind.CARRIED_DIFFER, folder, f"has other files than {release_name(year)} recorded")
    return Carried(year, folder, tuple(files), sums)


def _own(sums: Mapping[str, str]) -> Iterator[str]:
    return (name for name in sums if re.fullmatch(r"manifest/files-[^/]*\.parquet", name))


def _sums(run: Verification, name: str, year: int, vouched: Mapping[str, str]) -> Mapping[str, str] | None:
    """The carried list of checksums of a year, if it is the one that its release is known by."""
    if not run.is_readable(name):
        return None
    with run.reading(Kind.CARRIED_DIFFER, name):
        data = read_bytes(run.folder, name, limit=LONGEST_LIST)
        previous = run.release.previous if run.release else None
        known = vouched.get(name)
        if previous is not None and previous.name == release_name(year):
            known = previous.sha256sums_sha256
        if known in {None, hashlib.sha256(data).hexdigest()}:
            return parse_sums(data)
        run.add(Kind.CARRIED_DIFFER, name, f"is not the list of checksums that {release_name(year)} is known by")
    return None


def _check_rows(run: Verification, carried: Carried, removed: set[int] | None) -> None:
    """Check the rows of a manifest against the numbers that the history has of its release."""
    posts = originals = size = last = 0
    with run.reading(Kind.CARRIED_DIFFER, carried.folder):
        for name in carried.files:
            for table in batches(run, name, columns=_COLUMNS):
                check_not_removed(run, removed, table, name)
                posts += table.num_rows
                originals += table.num_rows - table["path"].null_count
                size += sum(pc.sum(table[column]).as_py() or 0 for column in ("size", "px512_size"))
                last = max(last, pc.max(table["id"]).as_py() or 0)
        event = event_of(run, carried.year)
        if event is None:
            return
        # Posts that were taken down since are gone from the manifest, and not from the history.
        since = max(0, len(removed or ()) - event.removed)
        counted = (posts, originals, size, last)
        said = (event.posts, event.originals, event.bytes, event.last_id)
        if not posts <= event.posts <= posts + since or (posts == event.posts and counted != said):
            message = f"its posts, originals, bytes and last id are {counted}; the history has {said}"
            run.add(Kind.CARRIED_DIFFER, carried.folder, message)


def event_of(run: Verification, year: int) -> Event | None:
    """The version of a year's release that is carried."""
    if run.release is None:
        return None
    previous = run.release.previous
    of_year = [event for event in run.release.history if event.name == release_name(year)]
    if previous is not None and previous.name == release_name(year):
        of_year = [event for event in of_year if event.version == previous.version]
    return of_year[-1] if of_year else None
