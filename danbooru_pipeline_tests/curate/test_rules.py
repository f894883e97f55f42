"""What the site's relations say about the tags of a post."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.curate.signals.rules import SITE_ADDED, TagRules

NAMES = st.sampled_from("abcdefg")
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=12)


def said(rules: TagRules, *tags: str) -> set[tuple[str, str]]:
    """Sign and tag of all findings."""
    return {(finding.sign, finding.tag) for finding in rules.findings(tags)}


def test_implications_are_closed_and_aliases_followed() -> None:
    """A tag brings everything that follows from it, whatever name it or they go by."""
    rules = TagRules.of([("kitty", "cat"), ("old_kitty", "kitty")], [("kitten", "kitty"), ("cat", "animal")])
    assert rules.canonical("old_kitty") == "cat"
    assert rules.close(["kitten"]) == {"kitten", "cat", "animal"}
    assert said(rules, "kitten") == {("+", "cat"), ("+", "animal")}
    assert said(rules, "old_kitty") == {("-", "old_kitty"), ("+", "cat"), ("+", "animal")}


def test_circles_are_refused_and_named() -> None:
    """Tags that imply each other do not follow from one another, and other implications hold all the same."""
    rules = TagRules.of((), [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d")])
    assert rules.circles == (("a", "b", "c"),)
    assert rules.close(["a"]) == {"a", "d"}


@given(PAIRS, PAIRS, st.sets(NAMES, max_size=4))
def test_closure_is_stable_and_ends(
    aliases: list[tuple[str, str]], implied: list[tuple[str, str]], tags: set[str]
) -> None:
    """Whatever relations a site has, closing twice adds nothing, loses nothing, and no tag implies itself."""
    rules = TagRules.of(aliases, implied)
    closed = rules.close(tags)
    assert rules.close(closed) == closed
    assert {rules.canonical(tag) for tag in tags} <= closed
    assert all(tag not in wide for tag, wide in rules.implied.items())


@pytest.mark.parametrize("tag", ["highres", "kitty", "gone"])
def test_nothing_is_proposed_that_people_should_not_add(tag: str) -> None:
    """A tag that the site writes itself, an alias or a deprecated one is no candidate, implied or not."""
    rules = TagRules.of([("kitty", "cat")], [("wide", tag)], deprecated=["gone"])
    assert not rules.may_propose(tag)
    assert ("+", tag) not in said(rules, "wide")
    assert "highres" in SITE_ADDED


@pytest.mark.parametrize(
    ("tags", "wrong"),
    [
        ({"1girl", "2girls"}, {"1girl", "2girls"}),
        ({"1boy", "multiple_boys"}, {"1boy", "multiple_boys"}),
        ({"solo", "2girls"}, {"solo", "2girls"}),
        ({"1girl", "1boy"}, set()),
        ({"solo", "1girl"}, set()),
        ({"6+girls", "multiple_girls"}, set()),
    ],
)
def test_counts_that_contradict_each_other_are_in_question(tags: set[str], wrong: set[str]) -> None:
    """A post has one count of a kind, and is not alone with two of them."""
    assert said(TagRules(), *tags) == {("-", tag) for tag in wrong}
