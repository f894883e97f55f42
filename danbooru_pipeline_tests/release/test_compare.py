"""Changes between any two releases: with them a copy of one becomes the other, in whichever direction."""

import shutil
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.release import changes
from danbooru_pipeline.release.change_rows import CHANGES_SCHEMA
from danbooru_pipeline.release.compare import compare_releases
from danbooru_pipeline.release.verify.run import verify_release
from danbooru_pipeline_tests.support.trees import contents
from danbooru_pipeline_tests.support.yard import Yard, next_year, small_yard


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three years; the last one brings no list of changes from the first."""
    yard = small_yard(tmp_path_factory.mktemp("three") / "root")
    made = [yard.release()]
    later = next_year(yard)
    made.append(later.release())
    last = Yard(yard.layout, year=2023, rows=dict(later.rows), ledger=dict(later.ledger))
    last.post(4001, rating="s", score=9)
    return [*made, last.release()]


@pytest.mark.parametrize(("old", "new"), [(0, 1), (0, 2), (2, 0), (1, 0), (1, 1)])
def test_lists_turn_one_copy_into_the_other(releases: list[Path], tmp_path: Path, old: int, new: int) -> None:
    """What a mirror removes and fetches makes the new tree, which verifies; the table has what changed."""
    found = compare_releases(releases[old], releases[new], into=tmp_path)
    tree = contents(releases[old])
    for path in (tmp_path / f"{found.label}.remove.txt").read_text().splitlines():
        del tree[path]
    for path in (tmp_path / f"{found.label}.files.txt").read_text().splitlines():
        tree[path] = (releases[new] / path).read_bytes()
    assert tree == contents(releases[new])
    rows = pq.read_table(tmp_path / f"{found.label}.parquet")
    assert rows.schema.equals(CHANGES_SCHEMA)
    assert sum(found.counts.values()) == rows.num_rows
    assert (tmp_path / f"{found.label}.md").read_text().startswith("#")


def test_command_says_what_changed(releases: list[Path], tmp_path: Path) -> None:
    """The command prints numbers, or everything as JSON, and writes the lists where it is told to."""
    run = CliRunner()
    old, new = str(releases[0]), str(releases[2])
    said = run.invoke(main, ["changes", old, new])
    assert said.exit_code == 0
    assert "danbooru2021 2021.0 to danbooru2023 2023.0" in said.output
    assert '"label": "2023.0-from-2021.0"' in run.invoke(main, ["changes", old, new, "--json"]).output
    assert run.invoke(main, ["changes", old, new, "--into", str(tmp_path / "lists")]).exit_code == 0
    assert len(list((tmp_path / "lists").iterdir())) == 4
    assert run.invoke(main, ["changes", old, str(tmp_path)]).exit_code == 2
    assert verify_release(releases[2], full=True).ok


@pytest.mark.parametrize(("old", "new"), [(0, 2), (2, 0)])
def test_any_number_of_ranges_of_ids_gives_the_same_rows(
    releases: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: int, new: int
) -> None:
    """Ten million posts are joined some hundred thousand at a time: each change is there once, in its order."""
    whole = pa.concat_tables(changes.changed_rows(releases[old], releases[new], taken_down=[], threads=1))
    monkeypatch.setattr(changes, "_GROUPS", 1)
    sides = []
    for side in (releases[old], releases[new]):
        copy = tmp_path / side.name
        for path in (*side.glob("manifest/files-*.parquet"), *side.glob("parquet/posts-*.parquet")):
            (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
            pq.write_table(pq.read_table(path), copy / path.relative_to(side), row_group_size=2)
        sides.append(copy)
    assert len(list(changes.ranges_of_ids(*sides))) > 3
    assert pa.concat_tables(changes.changed_rows(*sides, taken_down=[], threads=1)).equals(whole)


def with_ids(path: Path, ids: pa.Array) -> None:
    """Give a table other ids."""
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, pa.field("id", ids.type), ids), path)


@pytest.mark.parametrize("pattern", ["manifest/files-*.parquet", "parquet/posts-*.parquet"])
@pytest.mark.parametrize("odd", ["null", "unsigned", "date", "float"])
def test_rows_that_no_range_has_are_an_error(releases: list[Path], tmp_path: Path, pattern: str, odd: str) -> None:
    """A post without an id, or with one of another type, is neither left out silently nor a traceback."""
    evil = tmp_path / "evil"
    shutil.copytree(releases[2], evil)
    (path,) = evil.glob(pattern)
    path.chmod(0o644)
    ids = pq.read_table(path)["id"].combine_chunks()
    with_ids(
        path,
        {
            "null": pa.array([None, *ids.to_pylist()[1:]], pa.int64()),
            "unsigned": pa.array([*ids.to_pylist()[:-1], 2**63 + 5], pa.uint64()),
            "date": ids.cast(pa.int32()).cast(pa.date32()),
            "float": pa.array([*ids.to_pylist()[:-1], float("inf")], pa.float64()),
        }[odd],
    )
    for old, new in ((releases[0], evil), (evil, releases[0])):
        with pytest.raises(ReleaseError, match=r"cannot be compared .*verify both releases"):
            compare_releases(old, new)


def test_footers_that_lie_about_ids_are_an_error(releases: list[Path], tmp_path: Path) -> None:
    """Readers skip row groups by what their footer says; what would be skipped is missed, and said."""
    evil = tmp_path / "evil"
    shutil.copytree(releases[2], evil)
    (path,) = evil.glob("manifest/files-*.parquet")
    path.chmod(0o644)
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=1)
    last = table["id"][-1].as_py()
    footer = int.from_bytes(path.read_bytes()[-8:-4], "little") + 8
    data = path.read_bytes()
    path.write_bytes(data[:-footer] + data[-footer:].replace(struct.pack("<q", last), struct.pack("<q", 5)))
    assert pq.read_table(path, columns=["id"])["id"][-1].as_py() == last
    with pytest.raises(ReleaseError, match="has other ids than its footer says"):
        compare_releases(releases[0], evil)
