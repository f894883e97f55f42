"""Mutated images through real workers: one outcome each, and no process or file left over."""

from danbooru_pipeline_tests.support.fuzz import fuzz


def test_short_fuzz() -> None:
    """A hundred mutated images each have one outcome; benchmarks/fuzz_images.py is the long run."""
    fuzzed = fuzz(count=100, seed=7)
    assert fuzzed.wrong == []
    assert fuzzed.outcomes.total() == 100
