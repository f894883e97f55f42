"""The first release of a post follows from the manifests of earlier years, whatever the ledger says."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import Kind, apply_takedown, plan_takedown, verify_release
from danbooru_pipeline.release.manifest.first_release import FirstReleases
from danbooru_pipeline_tests.support.damage import edit_table, resum, with_row
from danbooru_pipeline_tests.support.yard import NOW, Yard, next_year


def first_releases(folder: Path) -> dict[int, int]:
    """The first release of each post of a release."""
    table = pq.read_table(min(folder.glob("manifest/files-*")), columns=["id", "first_release"])
    return dict(zip(table["id"].to_pylist(), table["first_release"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("id_", "said", "message"),
    [
        (1002, 2022, "was first held by 2022, but an earlier manifest says 2021"),
        (1002, 2020, "was first held by 2020, but an earlier manifest says 2021"),
        (20_002, 2022, "was first held by 2022, but an earlier manifest says 2021"),  # banned: it never had a file
        (30_001, 2021, "was first held by 2021, but the manifest of that year has no such post"),
        (30_001, 2023, "was first held by a later release"),
        (30_001, -5, "was first held before there were posts"),
    ],
)
def test_a_year_that_earlier_manifests_deny_is_found(later: Path, id_: int, said: int, message: str) -> None:
    """Too late, too early, before there were posts, and of a post that never had a file: each names its post."""
    edit_table(later, "manifest/files-*", with_row(lambda row: row["id"] == id_, first_release=said))
    resum(later)
    found = verify_release(later, threads=1).findings
    assert [(f.where, f.message) for f in found if f.kind == Kind.MANIFEST_ROW] == [(str(id_), message)]


def test_a_year_that_is_not_carried_cannot_be_denied(later: Path) -> None:
    """A post that an import brought may have been in a release that nobody has here."""
    edit_table(later, "manifest/files-*", with_row(lambda row: row["id"] == 30_001, first_release=2018))
    resum(later)
    assert Kind.MANIFEST_ROW not in verify_release(later, threads=1).counts


def test_manifests_decide_what_the_ledger_does_not_know(yard: Yard) -> None:
    """A new store, an import of an older release, and a post that the year before was without: all agree with 2021."""
    before = yard.release()
    later = next_year(yard)
    later.post(40_001)
    later.post(40_002, reason=Reason.GONE)
    later.post(40_003)
    for id_, said in {1002: 2022, 20_002: 2022, 2003: 2018, 40_001: 2021, 40_002: 2021, 40_003: 2018}.items():
        later.change(id_, first_release=said)
    folder = later.release()
    first = first_releases(folder)
    assert {id_: first[id_] for id_ in first_releases(before)} == first_releases(before)
    assert (first[40_001], first[40_002], first[40_003]) == (2022, 2022, 2018)
    assert verify_release(folder, full=True, threads=1).counts == {}


def test_a_takedown_goes_by_the_manifests_that_it_carries(yard: Yard) -> None:
    """A version of 2021 that has one more post than 2022 knew is carried by what a takedown makes of 2022."""
    yard.release()
    later = Yard(yard.layout, year=2022, rows=dict(yard.rows), ledger=dict(yard.ledger), tables=dict(yard.tables))
    later.post(40_001)
    folder = later.release()
    assert first_releases(folder)[40_001] == 2022
    yard.rows[40_001], yard.ledger[40_001] = later.rows[40_001], later.ledger[40_001]
    yard.change(40_001, first_release=2021)
    yard.release()
    apply_takedown(plan_takedown(yard.layout, [1002]), created_at=NOW, threads=1)
    assert first_releases(folder)[40_001] == 2021
    assert verify_release(folder, full=True, threads=1).counts == {}


def rows_of(first: dict[int, int]) -> pa.Table:
    """Rows of a manifest."""
    return pa.table({"id": pa.array(first.keys(), pa.int64()), "first_release": pa.array(first.values(), pa.int16())})


def test_the_oldest_manifest_decides() -> None:
    """Of manifests that contradict each other, as old versions left them, the oldest that has a post counts."""
    said = {2020: {1: 2019}, 2021: {1: 2021, 2: 2020}, 2022: {1: 2022, 2: 2021, 3: 2022}}
    known = FirstReleases({year: [rows_of(rows)] for year, rows in said.items()})
    assert known.known(rows_of({1: 0, 2: 0, 3: 0, 4: 0})["id"]).to_pylist() == [2019, 2020, 2022, None]
