"""Work on releases that is killed anywhere and run again ends with the same bytes."""

import json
import os
import subprocess
import sys

import pytest

from danbooru_pipeline_tests.support import killer
from danbooru_pipeline_tests.support.forked import run_module
from danbooru_pipeline_tests.support.yard import Yard, next_year


def digests(yard: Yard, work: str, points: int, *, seed: str | None = None) -> tuple[str, list[str]]:
    """The digest of an undisturbed run, and those of reruns after SIGKILL at random points; texts hash by the seed."""
    words = [str(yard.layout.root), work, str(points)]
    if seed is None:
        said = run_module(killer.__name__, *words, timeout=600)
    else:  # which a process must begin with
        env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
        said = subprocess.check_output([sys.executable, killer.__file__, *words], env=env, text=True, timeout=600)
    calm, *killed = [json.loads(line)[1] for line in said.splitlines()]
    return calm, killed


@pytest.mark.slow(8)
@pytest.mark.parametrize("version", ["new", "new version"])
def test_release_is_the_same_after_sigkill_at_random_points(yard: Yard, version: str) -> None:
    """Fifteen kills of a first release and fifteen of a new version: what is published is whole and ends the same."""
    if version == "new version":
        yard.release()
        yard.post(1002, rating="e")
    yard.manifest()
    calm, killed = digests(yard, "snapshot", 15)
    assert set(killed) == {calm}
    assert len(killed) == 15


@pytest.mark.slow(8)
def test_takedown_is_the_same_after_sigkill_at_random_points(yard: Yard) -> None:
    """Killed anywhere, a takedown from two releases is finished by running it again, to the same bytes."""
    yard.release()
    next_year(yard).release()
    calm, killed = digests(yard, "takedown", 6)
    assert set(killed) == {calm}
    assert len(killed) == 6


@pytest.mark.slow(8)
def test_release_does_not_depend_on_how_texts_hash(yard: Yard) -> None:
    """Sets of texts have another order in every process; a release has the same bytes in all of them."""
    yard.manifest()
    assert len({digests(yard, "snapshot", 0, seed=seed)[0] for seed in ("1", "2", "3")}) == 1
