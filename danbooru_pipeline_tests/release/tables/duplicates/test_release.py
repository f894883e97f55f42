"""The table of duplicates in a whole release: its documents, its bytes, and what a takedown leaves of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release import apply_takedown, plan_takedown, verify_release
from danbooru_pipeline.release.release_json import DuplicateCounts, read_release
from danbooru_pipeline.release.tables.duplicates import write
from danbooru_pipeline.release.tables.duplicates.find import find_duplicates
from danbooru_pipeline.release.tables.duplicates.pictures import Tables
from danbooru_pipeline.release.verify import duplicates
from danbooru_pipeline_tests.support.hashed import plant_duplicates
from danbooru_pipeline_tests.support.yard import NOW, Yard

TABLE = "parquet/duplicates-00000-of-00001.parquet"


def pairs_of(folder: Path) -> list[tuple[int, int]]:
    """The pairs of a release."""
    table = pq.read_table(folder / TABLE)
    return list(zip(table["a"].to_pylist(), table["b"].to_pylist(), strict=True))


def test_documents_name_the_table(yard: Yard) -> None:
    """The page says how many pairs there are; the card and Croissant let it be loaded, but never an empty one."""
    plain = yard.release()
    assert pq.read_table(plain / TABLE).num_rows == 0
    assert "config_name: duplicates" not in (plain / "README.md").read_text()
    assert '"duplicates"' not in (plain / "croissant.json").read_text()
    plant_duplicates(yard)
    folder = yard.release()
    assert "<dt>pairs of duplicates</dt><dd>3</dd>" in (folder / "index.html").read_text()
    assert "config_name: duplicates" in (folder / "README.md").read_text()
    assert "duplicates/distance_dhash" in (folder / "croissant.json").read_text()
    assert "px512_dhash" not in (folder / "croissant.json").read_text()  # it has no type for bytes
    assert f"  {TABLE}\n" in (folder / "SHA256SUMS").read_text()


def test_release_is_searched_once(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a release searches for pairs; verifying it before it is published describes them, and does not search."""
    searches = []

    def search(tables: Tables) -> pa.Table:
        searches.append(tables)
        return find_duplicates(tables)

    for module in (write, duplicates):
        monkeypatch.setattr(module, "find_duplicates", search)
    plant_duplicates(yard)
    folder = yard.release()
    assert len(searches) == 1
    assert verify_release(folder, full=True).ok
    assert len(searches) == 2


def test_post_that_is_taken_down_leaves_the_table(yard: Yard) -> None:
    """The next version has the pairs of the other posts, as if the source had never had this one."""
    plant_duplicates(yard)
    folder = yard.release()
    assert pairs_of(folder) == [(4001, 8001), (4001, 12_001), (8001, 12_001)]
    apply_takedown(plan_takedown(yard.layout, [8001]), created_at=NOW, threads=2)
    assert pairs_of(folder) == [(4001, 12_001)]
    assert read_release(folder).duplicates == DuplicateCounts(identical=1, unlinked=1)
    assert verify_release(folder, full=True).ok


def test_same_posts_give_the_same_bytes(yard: Yard, tmp_path: Path) -> None:
    """Another store with the same posts writes the same file."""
    other = Yard(type(yard.layout)(tmp_path / "other"), rows=yard.rows, tables=yard.tables)
    for post_id, row in yard.rows.items():
        other.post(post_id, rating=row["rating"], reason=yard.ledger[post_id].reason)
    for each in (yard, other):
        plant_duplicates(each)
    assert (yard.release() / TABLE).read_bytes() == (other.release() / TABLE).read_bytes()
