"""Verification of ``removed.txt``: nothing that it names is in the release, and it is a list of ids.

``removals.jsonl``, which releases of before 0.3 lack, has the same ids.
"""

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.untrusted import opened, read_bytes
from danbooru_pipeline.release.removal_feed import parse_feed
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import REMOVALS, REMOVED

_LONGEST = 64 * 2**20
_CHUNK = 2**22
_ID = re.compile(rb"[1-9][0-9]{0,18}")
_INT64_MAX = 2**63 - 1
#: The id of a post at the start of its line, and ids of posts in lines of side tables.
_POST = re.compile(rb'^\{"id":"?([0-9]+)"?[,}]', re.MULTILINE)
_ABOUT = re.compile(rb'"post_id":"?([0-9]+)"?[,}]')
_POSTS_FILE = re.compile(r"(posts|20[0-9]{2})[0-9]{12}\.json")


def read_removed(run: Verification) -> set[int] | None:
    """The ids that were taken down; None, and a finding, where the list cannot be read."""
    if not run.has(REMOVED):
        return None  # another check says so
    try:
        lines = read_bytes(run.folder, REMOVED, limit=_LONGEST).splitlines()
    except (OSError, ValueError) as error:
        run.add(Kind.REMOVED_DIFFER, REMOVED, f"cannot be read: {error}")
        return None
    wrong = [line for line in lines if not _ID.fullmatch(line) or int(line) > _INT64_MAX]
    for line in wrong:
        run.add(Kind.REMOVED_DIFFER, REMOVED, f"has a line that is no id: {line[:40].decode(errors='replace')}")
    ids = [int(line) for line in lines if line not in set(wrong)]
    if ids != sorted(set(ids)):
        run.add(Kind.REMOVED_DIFFER, REMOVED, "does not ascend")
    _check_feed(run, set(ids))
    return set(ids)


def _check_feed(run: Verification, removed: set[int]) -> None:
    """Check that the feed has exactly these ids."""
    if not run.has(REMOVALS):
        return
    try:
        feed = parse_feed(read_bytes(run.folder, REMOVALS, limit=_LONGEST))
    except (OSError, ValueError) as error:
        run.add(Kind.REMOVED_DIFFER, REMOVALS, f"cannot be read: {error}")
        return
    for id_ in sorted(removed ^ feed.keys()):
        run.add(Kind.REMOVED_DIFFER, REMOVALS, f"disagrees with {REMOVED} about post {id_}")


def check_not_removed(run: Verification, removed: set[int] | None, table: pa.Table, where: str) -> None:
    """Check that no row of a table is of a post that was taken down."""
    if removed:
        found = table["id"].filter(pc.is_in(table["id"], pa.array(sorted(removed), pa.int64())))
        for id_ in found.to_pylist():
            run.add(Kind.REMOVED_DIFFER, where, f"has post {id_}, which removed.txt names")


def check_metadata(run: Verification, removed: set[int] | None) -> None:
    """Check that no line of any year's metadata is of, or about, a post that was taken down."""
    if not removed:
        return
    for name in (name for name in run.sums if name.startswith("metadata/") and name.endswith(".json")):
        if run.has(name):
            with run.reading(Kind.METADATA_UNREADABLE, name):
                pattern = _POST if _POSTS_FILE.fullmatch(name.rpartition("/")[2]) else _ABOUT
                for block in _blocks(run, name):
                    for found in pattern.findall(block):
                        if len(found) < 20 and int(found) in removed:
                            said = f"has a line of post {int(found)}, which removed.txt names"
                            run.add(Kind.REMOVED_DIFFER, name, said)


def _blocks(run: Verification, name: str) -> Iterator[bytes]:
    """A file in blocks of whole lines."""
    with opened(run.folder, name) as file:
        held = b""
        while data := file.read(_CHUNK):
            whole, newline, rest = (held + data).rpartition(b"\n")
            yield whole + newline
            held = rest
            if len(held) > _LONGEST:
                raise ValueError("has a line that is too long")
        yield held
