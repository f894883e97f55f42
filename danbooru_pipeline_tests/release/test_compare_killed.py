"""Lists of changes are there as a whole, or as a set that is seen to be unfinished and is replaced by the next run."""

import fcntl
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.release.compare import compare_releases
from danbooru_pipeline_tests.support.killed_writes import writes_until_killed
from danbooru_pipeline_tests.support.trees import contents
from danbooru_pipeline_tests.support.yard import Yard, next_year

LABEL = "2022.0-from-2021.0"


@pytest.fixture
def compare(yard: Yard) -> Callable[[Path], object]:
    """Writes the lists between two years into a folder."""
    old, new = yard.release(), next_year(yard).release()
    return lambda into: compare_releases(old, new, into=into)


def test_lists_that_were_killed_are_replaced(compare: Callable[[Path], object], tmp_path: Path) -> None:
    """Killed at any change of a name, the report is there only with its lists; the next run leaves them and no more."""
    compare(tmp_path / "calm")
    calm = contents(tmp_path / "calm")
    assert sorted(calm) == [f"{LABEL}.{kind}" for kind in ("files.txt", "md", "parquet", "remove.txt")]
    for first in (True, False):
        for number in range(100):
            into = tmp_path / f"{first}-{number}"
            if not first:  # older lists of the same name are there
                into.mkdir()
                for name in calm:
                    (into / name).write_text("older\n")
            done = writes_until_killed(partial(compare, into), number)
            left = contents(into) if into.exists() else {}
            if f"{LABEL}.md" in left and left[f"{LABEL}.md"] != b"older\n":
                assert {name: data for name, data in left.items() if "/" not in name} == calm
            elif f"{LABEL}.md" in left:
                assert {left[name] for name in calm} == {b"older\n"}
            compare(into)
            assert contents(into) == calm
            assert sorted(path.name for path in into.iterdir()) == sorted(calm)
            if done:
                break
        assert done
        assert number > len(calm)


def test_leftovers_of_earlier_versions_go(compare: Callable[[Path], object], tmp_path: Path) -> None:
    """What a killed run of a version that wrote beside the lists left is removed; files of others are not."""
    into = tmp_path / "lists"
    into.mkdir()
    for name in (f".{LABEL}.md.a8e532da.part", f".{LABEL}1.md.a8e532da.part", ".mine.part", "mine.txt"):
        (into / name).write_text("x")
    compare(into)
    assert sorted(path.name for path in into.iterdir()) == sorted(
        [".mine.part", f".{LABEL}1.md.a8e532da.part", "mine.txt"]
        + [f"{LABEL}.{kind}" for kind in ("files.txt", "md", "parquet", "remove.txt")]
    )


def test_two_runs_do_not_write_the_same_lists(compare: Callable[[Path], object], tmp_path: Path) -> None:
    """While another run writes them, this one says so and leaves what it has."""
    part = tmp_path / f".{LABEL}.part"
    part.mkdir()
    (part / "half").write_text("x")
    descriptor = os.open(part, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with pytest.raises(SettingsError, match=r"another run writes .*; wait for it, or give another folder"):
            compare(tmp_path)
        assert (part / "half").exists()
    finally:
        os.close(descriptor)
