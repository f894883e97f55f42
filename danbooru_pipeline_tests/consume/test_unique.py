"""One post of each group of duplicates is selected, by a rule that is written down; and warnings are conditions."""

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.consume.unique import KINDS, groups_of, lowest_connected
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline_tests.support.hashed import plant_duplicates
from danbooru_pipeline_tests.support.yard import Yard

TABLE = "parquet/duplicates-00000-of-00001.parquet"


def chosen(release: Path, **wanted: object) -> list[int]:
    """The ids of a selection."""
    return [post.id for post in select(release, Selection(**wanted))]  # type: ignore[arg-type]


@given(st.integers(1, 60), st.integers(0, 80), st.integers(0, 2**32))
def test_groups_are_what_pairs_connect(count: int, pairs: int, seed: int) -> None:
    """Each thing has the lowest one that can be reached from it, as a walk over the pairs finds."""
    dice = random.Random(seed)
    edges = [(dice.randrange(count), dice.randrange(count)) for _ in range(pairs)]
    reached = list(range(count))
    for _ in range(count):
        for a, b in edges:
            reached[a] = reached[b] = min(reached[a], reached[b])
    assert lowest_connected(count, np.array(edges, np.int64).reshape(-1, 2).T).tolist() == reached


def test_long_chain_is_one_group() -> None:
    """A chain of ten thousand posts, in any order of its pairs, takes a moment."""
    links = np.random.default_rng(3).permutation(9_999)
    assert not lowest_connected(10_000, np.stack([links, links + 1])).any()


@pytest.fixture
def release(yard: Yard) -> Path:
    """A release with three posts of one picture: 4001 and 12001 are identical, 8001 is nearly the same."""
    plant_duplicates(yard)
    yard.change(8001, width=900, height=600)
    yard.change(4001, px512_flags=("few_colors", "nearly_white"))
    yard.change(12_001, px512_flags=("hdr",))
    return yard.release()


def test_largest_of_a_group_is_kept(release: Path) -> None:
    """The picture with the most pixels; of those that meet the other conditions, and before a sample is taken."""
    every = chosen(release)
    assert {4001, 8001, 12_001} < set(every)
    unique = chosen(release, unique=True)
    assert unique == [id_ for id_ in every if id_ not in {4001, 12_001}]
    assert 4001 in chosen(release, unique=True, until_id=7000)
    assert chosen(release, unique=True, sample=1000) == unique


def test_of_equal_ones_the_larger_file_is_kept_and_then_the_older(release: Path) -> None:
    """With 8001 in a group of its own, the other two differ in bytes; with the same bytes the lower id stays."""
    kept = chosen(release, unique=True, unique_kinds=("identical",))
    assert 8001 in kept
    files = {row["id"]: row for row in pq.read_table(release / "manifest/files-00000-of-00001.parquet").to_pylist()}
    larger = max((4001, 12_001), key=lambda id_: (files[id_]["source_size"], -id_))
    assert {4001, 12_001} & set(kept) == {larger}


def test_warnings_are_conditions(release: Path) -> None:
    """At least one of the wanted, none of the others; a picture without warnings has none of them."""
    assert chosen(release, flags=("few_colors", "empty_alpha")) == [4001]
    assert chosen(release, flags=("hdr", "nearly_white")) == [4001, 12_001]
    without = chosen(release, no_flags=("hdr", "nearly_white"))
    assert without == [id_ for id_ in chosen(release) if id_ not in {4001, 12_001}]
    assert chosen(release, flags=("hdr",), no_flags=("hdr",)) == []


def test_options_of_the_command(
    release: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`select` takes them all, and refuses what does not exist with a line that says what does."""

    def run(*options: str) -> int:
        monkeypatch.setattr("sys.argv", ["danbooru-pipeline", "select", str(release), "--ids", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    assert run("--unique", "--unique-kinds", "identical,recompressed", "--no-flags", "hdr") == 0
    assert capsys.readouterr().out.split() == [str(id_) for id_ in chosen(release, unique=True)]
    for wrong in (("--flags", "bright"), ("--no-flags", "bright"), ("--unique-kinds", "same")):
        assert run(*wrong) == 2
        assert "use " in capsys.readouterr().err
    with pytest.raises(SettingsError, match="--flags 'bright' does not exist"):
        chosen(release, flags=("bright",))


def test_release_without_the_table_says_so(release: Path) -> None:
    """A release of an earlier version has no duplicates to choose from; everything else is still selected."""
    (release / TABLE).unlink()
    assert chosen(release)
    with pytest.raises(ReleaseError, match="without --unique"):
        chosen(release, unique=True)


def test_manifest_without_warnings_says_so(release: Path) -> None:
    """Releases of the first version have none, which is not the same as a picture without any."""
    path = release / "manifest/files-00000-of-00001.parquet"
    path.chmod(0o644)
    pq.write_table(pq.read_table(path).drop_columns(["px512_flags"]), path)
    assert chosen(release)
    with pytest.raises(ReleaseError, match="has no px512_flags"):
        chosen(release, no_flags=("hdr",))


def test_groups_have_the_id_of_their_oldest(release: Path) -> None:
    """All kinds make one group of three; identical ones alone, one of two."""
    assert groups_of(release, KINDS).to_pydict() == {"id": [4001, 8001, 12_001], "number": [4001] * 3}
    assert groups_of(release, ["identical"])["id"].to_pylist() == [4001, 12_001]
