"""Verification holds the table of duplicates against posts and manifest, also when its checksums were corrected."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.release_json import DuplicateCounts, read_release, write_release
from danbooru_pipeline.release.tables.duplicates.rules import DUPLICATES_SCHEMA
from danbooru_pipeline.release.tables.duplicates.write import count_duplicates
from danbooru_pipeline_tests.support.hashed import plant_duplicates
from danbooru_pipeline_tests.support.yard import Yard

TABLE = "parquet/duplicates-00000-of-00001.parquet"
Rows = list[dict[str, Any]]


@pytest.fixture
def release(yard: Yard) -> Path:
    """A release with an identical pair and a near one, without parents."""
    plant_duplicates(yard)
    return yard.release()


def rows_of(folder: Path) -> Rows:
    """The rows of the table."""
    rows: Rows = pq.read_table(folder / TABLE).to_pylist()
    return rows


def rewrite(folder: Path, rows: Rows) -> None:
    """Replace the rows of the table, and correct its checksum and the numbers of RELEASE.json."""
    path = folder / TABLE
    table = pa.Table.from_pylist(rows, schema=DUPLICATES_SCHEMA)
    path.chmod(0o644)
    pq.write_table(table, path)
    resummed(folder, duplicates=count_duplicates(table))


def resummed(folder: Path, **changes: Any) -> None:
    """Correct the checksum of the table, which may be gone, and RELEASE.json."""
    sums = folder / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(TABLE)]
    if (folder / TABLE).exists():
        lines.append(f"{hashlib.sha256((folder / TABLE).read_bytes()).hexdigest()}  {TABLE}")
    for path in (sums, folder / "RELEASE.json"):
        path.chmod(0o644)
    sums.write_text("".join(f"{line}\n" for line in sorted(lines, key=lambda line: line[66:])))
    digest = hashlib.sha256(sums.read_bytes()).hexdigest()
    write_release(folder, dataclasses.replace(read_release(folder), sha256sums_sha256=digest, **changes))


def test_table_of_a_release_verifies(release: Path) -> None:
    """The pairs are there, RELEASE.json counts them, and both forms of verification agree with them."""
    rows = rows_of(release)
    assert [(row["a"], row["b"], row["kind"]) for row in rows] == [
        (4001, 8001, "recompressed"),
        (4001, 12_001, "identical"),
        (8001, 12_001, "recompressed"),
    ]
    assert read_release(release).duplicates == DuplicateCounts(identical=1, recompressed=2, unlinked=3)
    assert verify_release(release).ok
    assert verify_release(release, full=True).ok


#: What could be said falsely -> the rows that say it.
FALSE: dict[str, Callable[[Rows], Rows]] = {
    "dhash": lambda rows: [rows[0] | {"distance_dhash": 5}, *rows[1:]],
    "phash": lambda rows: [rows[0] | {"distance_phash": None}, *rows[1:]],
    "kind": lambda rows: [rows[0] | {"kind": "identical"}, *rows[1:]],
    "no kind": lambda rows: [rows[0] | {"kind": "nonsense"}, *rows[1:]],
    "parent": lambda rows: [rows[0], rows[1] | {"same_parent": True}, rows[2]],
    "unlinked": lambda rows: [rows[0], rows[1] | {"unlinked": False}, rows[2]],
    "no post": lambda rows: [*rows, rows[2] | {"b": 77_001}],
    "twice": lambda rows: [*rows, rows[2]],
    "order": lambda rows: rows[::-1],
    "turned": lambda rows: [rows[0] | {"a": 8001, "b": 4001}, *rows[1:]],
}


def test_false_row_is_found(release: Path) -> None:
    """A pair that is described otherwise than posts and manifest say is named, without repeating the search."""
    rows = rows_of(release)
    for name, change in FALSE.items():
        rewrite(release, change(rows))
        for full in (False, True):
            found = {finding.kind for finding in verify_release(release, full=full).findings}
            assert Kind.DUPLICATES_DIFFER in found, (name, full)


def test_pair_that_was_left_out_is_found_in_full(release: Path) -> None:
    """Only a search of its own shows that a pair is missing, and which."""
    rewrite(release, rows_of(release)[1:])
    assert Kind.DUPLICATES_DIFFER not in {finding.kind for finding in verify_release(release).findings}
    findings = verify_release(release, full=True).findings
    assert [f.where for f in findings if f.kind is Kind.DUPLICATES_DIFFER] == ["4001 and 8001"]


def test_missing_or_damaged_table_is_found(release: Path) -> None:
    """A release whose manifest has the hashes has the table; numbers that are not its own are found."""
    resummed(release, duplicates=DuplicateCounts(identical=7))
    assert Kind.RELEASE_NUMBERS in {finding.kind for finding in verify_release(release).findings}
    (release / TABLE).chmod(0o644)
    (release / TABLE).write_bytes(b"PAR1 and no more PAR1")
    resummed(release)
    assert Kind.PARQUET_UNREADABLE in {finding.kind for finding in verify_release(release).findings}
    (release / TABLE).unlink()
    resummed(release)
    assert Kind.DUPLICATES_DIFFER in {finding.kind for finding in verify_release(release).findings}
