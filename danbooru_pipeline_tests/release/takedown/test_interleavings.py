"""No order of build, takedown, resume, kill, scrub, grace, import, restore, publish and review undoes a removal."""

import json
from pathlib import Path

import pytest

from danbooru_pipeline_tests.support import interleavings
from danbooru_pipeline_tests.support.forked import run_module


def orders(root: Path, seed: int, count: int) -> list[list[str]]:
    """The steps of some random orders, each of which kept the invariant."""
    said = run_module(interleavings.__name__, root, seed, count, timeout=3600)
    return [json.loads(line)[1] for line in said.splitlines()]


@pytest.mark.slow(20)
def test_removed_posts_are_in_no_published_tree(tmp_path: Path) -> None:
    """Eight orders, in which every kind of step is done at least once."""
    found = orders(tmp_path, 24, 8)
    assert len(found) == 8
    steps = "\n".join(step for order in found for step in order)
    ends = ("resume", "killed", "refused")
    for kind in ("build", "takedown", "scrub", "import", "restore", "publish", "grace", "review", *ends):
        assert kind in steps


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_removed_posts_are_in_no_published_tree_in_hundreds_of_orders(tmp_path: Path) -> None:
    """Three hundred orders."""
    assert len(orders(tmp_path, 1000, 300)) == 300
