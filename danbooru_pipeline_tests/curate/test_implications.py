"""Implications that a release suggests: what is proposed as a bulk update request, and what never is."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.curate.implications import Proposal, chosen, implied_pairs, propose_implications
from danbooru_pipeline.curate.interval import interval
from danbooru_pipeline.curate.signals.rules import TagRules
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.yard import Yard

NAMES = ("kitten", "cat", "animal", "feline", "highres")
GENERAL = dict.fromkeys(NAMES, "general")


def gram(posts: list[set[str]]) -> np.ndarray:
    """How often each pair of names is on the same post."""
    rows = np.array([[name in tags for name in NAMES] for tags in posts], float)
    counts: np.ndarray = rows.T @ rows
    return counts


def lines(posts: list[set[str]], rules: TagRules, categories: dict[str, str] = GENERAL) -> list[str]:
    """What is proposed."""
    counts = gram(posts)
    pairs = implied_pairs(counts, least_share=0.985, least_posts=100)
    return [each.line for each in chosen(pairs, counts, NAMES, rules=rules, categories=categories)]


ALL = [{"kitten", "cat", "animal"}] * 400 + [{"cat", "animal"}] * 400 + [{"animal"}] * 800


def test_only_what_does_not_follow_is_proposed() -> None:
    """Of a chain each link is proposed, the most frequent first, and nothing that follows from two of them."""
    assert lines(ALL, TagRules()) == ["imply cat -> animal", "imply kitten -> cat"]
    known = TagRules.of((), [("cat", "animal")])
    assert lines(ALL, known) == ["imply kitten -> cat"]


@pytest.mark.parametrize(
    ("posts", "rules", "categories"),
    [
        (ALL[:99], TagRules(), GENERAL),
        ([{"cat", "feline"}] * 900, TagRules(), GENERAL),
        ([{"cat", "highres"}] * 500 + [{"highres"}] * 500, TagRules(), GENERAL),
        ([{"cat", "animal"}] * 500 + [{"cat"}] * 30 + [{"animal"}] * 500, TagRules(), GENERAL),
        ([{"cat", "animal"}] * 500 + [{"animal"}] * 500, TagRules(), GENERAL | {"cat": "character"}),
        ([{"cat", "animal"}] * 500 + [{"animal"}] * 500, TagRules.of((), (), deprecated=["animal"]), GENERAL),
    ],
)
def test_what_is_never_proposed(posts: list[set[str]], rules: TagRules, categories: dict[str, str]) -> None:
    """Few posts, one tag by two names, the site's own tags, too many exceptions, other categories, deprecated tags."""
    assert lines(posts, rules, categories) == []


def test_bound_is_below_the_share() -> None:
    """The bound grows with the posts and never reaches the share."""
    counts = np.array([100.0, 1_000.0, 100_000.0])
    bounds, _ = interval(np.full(3, 0.99), counts)
    assert (np.diff(bounds) > 0).all()
    assert (bounds < 0.99).all()


def test_command_prints_lines_of_a_request(tmp_path: Path) -> None:
    """The tags of a release give lines that the site takes, and `--json` says from how many posts."""
    yard = Yard(Layout(tmp_path))
    for number in range(1, 61):
        tags = "animal cat" if number <= 40 else "animal"
        yard.post(number * 1000, tag_string=tags, tag_string_general=tags, tag_string_meta="")
    release = yard.release()
    found = propose_implications(release, least_share=0.9, least_posts=30)
    assert found == [Proposal("cat", "animal", 40, 40)]
    words = ["curate", "implications", "2021", "--least", "0.9", "--posts", "30"]
    done = CliRunner().invoke(main, words, env={"DANBOORU_ROOT": str(tmp_path)})
    assert (done.exit_code, done.stdout) == (0, "imply cat -> animal\n")
    done = CliRunner().invoke(main, [*words, "--json"], env={"DANBOORU_ROOT": str(tmp_path)})
    assert '"together": 40' in done.stdout
