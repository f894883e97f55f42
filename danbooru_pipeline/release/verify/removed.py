"""Verification of ``removed.txt``: nothing that it names is in the release, and it is a list of ids.

``removals.jsonl``, which releases of before 0.3 lack, has the same ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.untrusted import opened, read_bytes
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.posts.tombstones import tombstone_lines
from danbooru_pipeline.release.post_lines import LINES, LineSearch, is_about_posts
from danbooru_pipeline.release.release_json import Release, patch_of
from danbooru_pipeline.release.removal_feed import VERSION, feed_lines, parse_feed
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import METADATA, REMOVALS, REMOVED
from danbooru_pipeline.years import FIRST_YEAR_WITH_POSTS

_LONGEST = 64 * 2**20
#: Some 900,000 ids, of which each takes 200 bytes of memory.
_LONGEST_LIST = 8 * 2**20
_CHUNK = 2**22
_ID = re.compile(rb"[1-9][0-9]{0,18}")


def read_removed(run: Verification) -> set[int] | None:
    """The ids that were taken down; None, and a finding, where the list cannot be read."""
    if not run.has(REMOVED):
        return None  # another check says so
    try:
        data = read_bytes(run.folder, REMOVED, limit=_LONGEST_LIST)
    except (OSError, ValueError) as error:
        run.add(Kind.REMOVED_DIFFER, REMOVED, f"cannot be read: {error}")
        return None
    lines = data.splitlines()
    wrong = [line for line in lines if not _ID.fullmatch(line) or int(line) > INT64_MAX]
    for line in wrong:
        run.add(Kind.REMOVED_DIFFER, REMOVED, f"has a line that is no id: {line[:40].decode(errors='replace')}")
    ids = [int(line) for line in lines if line not in set(wrong)]
    if ids != sorted(set(ids)):
        run.add(Kind.REMOVED_DIFFER, REMOVED, "does not ascend")
    elif not wrong and data != tombstone_lines(ids):
        run.add(Kind.REMOVED_DIFFER, REMOVED, "is not one id a line, each with a line feed at its end")
    _check_feed(run, set(ids))
    return set(ids)


def _check_feed(run: Verification, removed: set[int]) -> None:
    """Check that the feed has exactly these ids, in the form of every feed, and versions that can be."""
    if not run.has(REMOVALS):
        return
    try:
        data = read_bytes(run.folder, REMOVALS, limit=_LONGEST)
        feed = parse_feed(data)
    except (OSError, ValueError) as error:
        run.add(Kind.REMOVED_DIFFER, REMOVALS, f"cannot be read: {error}")
        return
    for id_ in sorted(removed ^ feed.keys()):
        run.add(Kind.REMOVED_DIFFER, REMOVALS, f"disagrees with {REMOVED} about post {id_}")
    if data != feed_lines(feed, feed, version=""):
        run.add(Kind.REMOVED_DIFFER, REMOVALS, "is not written as every feed is, byte for byte")
    if run.release is not None and VERSION.fullmatch(run.release.version):
        _check_versions(run, run.release, feed)


def _check_versions(run: Verification, release: Release, feed: Mapping[int, str]) -> None:
    """Check that each post can be gone from the version that is named, as far as the history tells."""
    events = [event for event in release.history if VERSION.fullmatch(event.version)]
    known = [event.version for event in events] + [release.version]
    for id_, version in feed.items():
        if (wrong := _why_not_since(version, known)) is not None:
            run.add(Kind.REMOVED_DIFFER, REMOVALS, f"has post {id_} gone from {version}, {wrong}")
    for event in events:
        year, patch = _parts(event.version)
        gone = sum(year == other and number <= patch for other, number in map(_parts, feed.values()))
        if gone > event.removed:
            said = f"has {gone} posts gone from {event.version} or before, and the history says {event.removed}"
            run.add(Kind.REMOVED_DIFFER, REMOVALS, said)


def _why_not_since(version: str, known: Sequence[str]) -> str | None:
    """Why no post can be gone from a version; the last one that is known is that of the release itself."""
    if version in known:
        return None
    (year, patch), (last, _) = _parts(version), _parts(known[-1])
    if not FIRST_YEAR_WITH_POSTS <= year <= last:
        return "which is no version of its year or one before"
    # One of an earlier year may be newer than those that were there when the history was written.
    of_year = [number for other, number in map(_parts, known) if other == year]
    return "which is not in the history" if year == last or patch <= max(of_year, default=-1) else None


def _parts(version: str) -> tuple[int, int]:
    return int(version.partition(".")[0]), patch_of(version)


def check_not_removed(run: Verification, removed: set[int] | None, table: pa.Table, where: str) -> None:
    """Check that no row of a table is of a post that was taken down."""
    if removed:
        found = table["id"].filter(pc.is_in(table["id"], pa.array(sorted(removed), pa.int64())))
        for id_ in found.to_pylist():
            run.add(Kind.REMOVED_DIFFER, where, f"has post {id_}, which removed.txt names")


def check_metadata(run: Verification, removed: set[int] | None) -> None:
    """Check that any year's metadata is JSON lines, and none of, or about, a post that was taken down."""
    for name in (name for name in run.sums if name.startswith(f"{METADATA}/")):
        if not name.endswith(LINES):
            run.add(Kind.METADATA_UNREADABLE, name, "is not a file of JSON lines")
        elif removed and run.has(name):
            with run.reading(Kind.METADATA_UNREADABLE, name):
                _check_lines(run, name, frozenset(removed))


def _check_lines(run: Verification, name: str, removed: frozenset[int]) -> None:
    search = LineSearch(removed, is_about_posts(name.rpartition("/")[2]))
    wrong = 0
    for block in blocks_of_lines(run, name):
        lines = block.removesuffix(b"\n").split(b"\n")
        # In the form in which they are written, nothing else need be looked at.
        if all(line[:2] == b'{"' and line[-1:] == b"}" for line in lines) and not search.may_be_in(block):
            continue
        for line in lines:
            wrong += not re.fullmatch(rb"(\s*\{.*\}\s*)?", line, re.DOTALL)
            for id_ in sorted(search.of_line(line)):
                run.add(Kind.REMOVED_DIFFER, name, f"has a line of post {id_}, which removed.txt names")
    if wrong:
        run.add(Kind.METADATA_UNREADABLE, name, f"has {wrong} lines that are no JSON objects")


def blocks_of_lines(run: Verification, name: str) -> Iterator[bytes]:
    """A file in blocks of whole lines. Raises as `opened`, and ValueError for a line that is too long."""
    with opened(run.folder, name) as file:
        held = b""
        while data := file.read(_CHUNK):
            whole, newline, rest = (held + data).rpartition(b"\n")
            yield whole + newline
            held = rest
            if len(held) > _LONGEST:
                raise ValueError("has a line that is too long")
        yield held
