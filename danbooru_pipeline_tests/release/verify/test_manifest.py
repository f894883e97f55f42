"""Rows of a manifest are checked all at once, and nothing is overlooked that a check of single rows finds."""

from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.release import MANIFEST_SCHEMA, ManifestRow
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.manifest import _row_findings, _surely_right, check_rows
from danbooru_pipeline.release.verify.verification import Verification

SFW: Final = frozenset({"g", "s"})
SUM = "0" * 64
NO_FILE: Final = {"path": None, "size": None, "sha256": None}
NO_SMALL: Final = {"px512_path": None, "px512_size": None, "px512_sha256": None}


def row(id_: int, **changes: Any) -> dict[str, Any]:
    """A correct row with some changes."""
    bucket = f"{id_ % 1000:04d}"
    good = {
        "id": id_,
        "bucket": bucket,
        "rating": "s",
        "status": "ok",
        "reason": None,
        "path": f"original/{bucket}/{id_}.png",
        "size": 10,
        "sha256": SUM,
        "px512_status": "ok",
        "px512_reason": None,
        "px512_path": f"512px/{bucket}/{id_}.jpg",
        "px512_size": 10,
        "px512_sha256": SUM,
    }
    return good | changes


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the manifest's columns; columns that no check reads are empty."""
    columns = [pa.array([r.get(field.name) for r in rows], field.type) for field in MANIFEST_SCHEMA]
    return pa.Table.from_arrays(columns, schema=MANIFEST_SCHEMA)


GONE = row(
    1002, status="missing", reason="gone", px512_status="skipped", px512_reason="no_original", **NO_FILE, **NO_SMALL
)
EXPLICIT = row(2003, rating="e", px512_status="skipped", px512_reason="rating", **NO_SMALL)
PATHS = ["original/0001/1.png", "original/0001/1.exe", "original/0001/1", "original/0002/1.png", "512px/0001/1.jpg"]
CHANGES: Final[dict[str, Any]] = {
    "bucket": ["0001", "1", "0002", ""],
    "rating": ["g", "s", "q", "e", None],
    "status": ["ok", "missing", "failed", "withheld", "", None],
    "reason": [None, "gone", "banned", "undecodable", "nonsense"],
    "path": [None, *PATHS, "original/0001/01.png", "../1.png", "original/0001/1.p\nng", "original/0001/1.png.png"],
    "size": [None, 0, 10],
    "sha256": [None, SUM],
    "px512_status": ["ok", "missing", "failed", "skipped", None],
    "px512_reason": [None, "rating", "gone", "nonsense"],
    "px512_path": [None, *PATHS, "512px/0001/2.jpg", "512px/0001/1.png"],
    "px512_size": [None, 10],
    "px512_sha256": [None, SUM],
}


def test_rows_with_nothing_wrong_are_all_taken_at_once() -> None:
    """Whole posts, absent posts and posts without a 512px image need no second look."""
    rows = [row(1), row(999), GONE, EXPLICIT, row(5_000_000)]
    assert [list(_row_findings(one, SFW)) for one in rows] == [[]] * len(rows)
    assert _surely_right(table_of(rows), SFW).to_pylist() == [True] * len(rows)


@given(st.lists(st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in CHANGES.items()}), max_size=8))
def test_no_wrong_row_is_taken_for_a_right_one(changes: list[dict[str, Any]]) -> None:
    """Whatever is changed in rows, the fast check accepts exactly those in which the slow one finds nothing."""
    rows = [row(1, **change) for change in changes]
    right = _surely_right(table_of(rows), SFW).to_pylist()
    assert [not list(_row_findings(one, SFW)) for one in rows] == right


@pytest.mark.parametrize(
    ("facts", "wrong"),
    [
        ({"pixel_hash": SUM, "source_pixel_hash": SUM, "pixel_hash_matches": True}, False),
        ({"pixel_hash": SUM, "source_pixel_hash": "1", "pixel_hash_matches": True}, True),
        ({"pixel_hash": SUM, "source_pixel_hash": SUM, "pixel_hash_matches": None}, True),
        ({"pixel_hash": SUM, "source_pixel_hash": None, "pixel_hash_matches": True}, True),
        ({"fetched_md5": SUM, "source_md5": None, "source_md5_matches": False}, False),
        ({"optimized": True, "size": 10, "source_size": 20, "optimized_by": None}, False),
        ({"optimized": True, "size": 10, "source_size": 10, "optimized_by": "mozjpeg"}, True),
        ({"optimized": True, "size": 10, "source_size": 20, "optimized_by": "mozjpeg", "kept": "larger"}, True),
        ({"optimized": True, "size": 10, "source_size": None, "optimized_by": None}, False),
        ({"optimized": None, "size": 10, "source_size": 10}, True),
        ({"optimized": False, "size": 10, "source_size": 20}, True),
        ({"optimized": False, "size": 10, "source_size": None}, False),
        ({"optimized": False, "size": 10, "optimized_by": "a tool"}, True),
    ],
)
def test_claims_of_a_row_follow_from_its_facts(tmp_path: Path, facts: dict[str, Any], wrong: bool) -> None:  # noqa: FBT001
    """A flag that two other columns refute is found; where one of them is not known, nothing can be said."""
    table = manifest_table([ManifestRow(**{**row(7), "first_release": 2021, **facts})])
    run = Verification(folder=tmp_path, release=None)
    check_rows(run, table)
    assert [each.kind for each in run.found.kept] == [Kind.MANIFEST_ROW] * wrong
