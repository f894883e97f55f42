"""What a search finds is what a loop over all posts finds, by the index and by a scan alike."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.search import UnknownTag
from danbooru_pipeline.search.splits import split_of
from danbooru_pipeline_tests.support.searches import CONDITIONS, SPELLINGS, Posts, Row, make_tables, spelt_tables

Test = Callable[[Row], bool]


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """Some hundred posts."""
    return Posts(tmp_path_factory.mktemp("posts"), make_tables(600, seed=19))


@pytest.fixture(scope="module")
def beyond(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """Posts of which most have ids that neither 32 bits nor a float can hold."""
    return Posts(tmp_path_factory.mktemp("beyond"), make_tables(200, seed=20, largest=10**18))


@pytest.fixture(scope="module")
def rows(posts: Posts) -> list[Row]:
    """The same as dictionaries."""
    return posts.rows()


def expected(rows: list[Row], test: Test) -> list[int]:
    """The ids of the posts that pass, ascending."""
    return [row["id"] for row in rows if test(row)]


@pytest.mark.parametrize("text", CONDITIONS)
def test_each_condition_is_what_a_loop_finds(posts: Posts, rows: list[Row], text: str) -> None:
    """Each condition, and what it excludes, finds the posts that a comparison in Python finds."""
    test = CONDITIONS[text]
    found = expected(rows, test)
    assert sorted(posts.find(text).bitmap) == found
    assert sorted(posts.find(f"-{text}").bitmap) == expected(rows, lambda row: not test(row))
    assert sorted(posts.find(text, by_scan=True).bitmap) == found


@pytest.mark.parametrize("text", [*CONDITIONS, f"id:..{5 * 10**17 + 1}", "split:train"])
def test_ids_beyond_32_bits_are_found_as_others_are(beyond: Posts, text: str) -> None:
    """With larger ids the same is found, by an index of 64 bits and by a scan, and no id stands for another."""
    others = {f"id:..{5 * 10**17 + 1}": lambda row: row["id"] <= 5 * 10**17 + 1, "split:train": in_train}
    test = (CONDITIONS | others)[text]
    found = expected(beyond.rows(), test)
    assert sorted(beyond.find(text).bitmap) == sorted(beyond.find(text, by_scan=True).bitmap) == found
    assert beyond.find(f"-{text}").ids.tolist() == expected(beyond.rows(), lambda row: not test(row))[::-1]


def in_train(row: Row) -> bool:
    """Whether a post is in the split for training."""
    return split_of(row["id"]) == "train"


@pytest.mark.parametrize("order", ["", "order:id", "order:score", "order:score_asc", "order:random seed:3"])
def test_ids_beyond_32_bits_are_sorted_and_cut(beyond: Posts, order: str) -> None:
    """Orders, limits and random choices keep larger ids exact, and are the same by index and by scan."""
    ids = {row["id"] for row in beyond.rows()}
    for text in (order, f"{order} limit:7", f"{order} random:9"):
        found = beyond.find(text).ids.tolist()
        assert found == beyond.find(text, by_scan=True).ids.tolist()
        assert set(found) <= ids
        assert len(set(found)) == (7 if "limit" in text else 9 if "random:9" in text else len(ids))


def random_search(dice: random.Random, depth: int) -> tuple[str, Test]:
    """A random search, and the same as Python."""
    if depth == 0 or dice.random() < 0.3:
        text = dice.choice(list(CONDITIONS))
        return text, CONDITIONS[text]
    parts = [random_search(dice, depth - 1) for _ in range(dice.randint(1, 3))]
    tests = [test for _, test in parts]
    match dice.choice(["all", "any", "not", "tilde"]):
        case "all":
            return f"({' '.join(text for text, _ in parts)})", lambda row: all(test(row) for test in tests)
        case "any":
            return f"({' or '.join(text for text, _ in parts)})", lambda row: any(test(row) for test in tests)
        case "tilde":
            return f"({' '.join(f'~{text}' for text, _ in parts)})", lambda row: any(test(row) for test in tests)
    return f"-{parts[0][0]}", lambda row: not tests[0](row)


def test_any_search_is_what_a_loop_finds(posts: Posts, rows: list[Row]) -> None:
    """Searches of any shape find the same by the index, and now and then by a scan, as a loop over all posts."""
    dice = random.Random(7)
    for number in range(300):
        text, test = random_search(dice, 3)
        found = expected(rows, test)
        assert sorted(posts.find(text).bitmap) == found, text
        if number % 20 == 0:
            assert sorted(posts.find(text, by_scan=True).bitmap) == found, text


def test_order_and_limit(posts: Posts, rows: list[Row]) -> None:
    """Numbers sort with nulls last and the newest first among equals; a limit keeps the first."""
    by_score = sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0), -row["id"]))
    assert posts.find("order:score").ids.tolist() == [row["id"] for row in by_score]
    ascending = sorted(rows, key=lambda row: (row["score"] is None, row["score"] or 0, -row["id"]))
    assert posts.find("order:score_asc limit:9").ids.tolist() == [row["id"] for row in ascending[:9]]
    newest = sorted((row["id"] for row in rows), reverse=True)
    assert posts.find("limit:4").ids.tolist() == newest[:4]
    assert posts.find("order:id limit:4").ids.tolist() == newest[:-5:-1]
    assert posts.find("limit:4").total == len(rows)


def test_random_posts_are_the_same_ones(posts: Posts) -> None:
    """A random choice depends on its seed alone, and a larger one contains a smaller one."""
    small, large = (set(posts.find(f"1girl random:{count} seed:7").ids.tolist()) for count in (5, 20))
    assert small < large
    assert large <= set(posts.find("1girl").ids.tolist())
    assert set(posts.find("1girl random:20 seed:8").ids.tolist()) != large
    assert posts.find("order:random").ids.tolist() != posts.find("order:random seed:1").ids.tolist()


def test_splits_are_those_of_exports(posts: Posts, rows: list[Row]) -> None:
    """The three splits are disjoint and are the posts that exports put there."""
    for name in ("train", "validation", "test"):
        found = [row["id"] for row in rows if split_of(row["id"]) == name]
        assert sorted(posts.find(f"split:{name}").bitmap) == found


@pytest.mark.parametrize("by_scan", [False, True])
def test_tags_and_patterns_are_taken_as_typed_first(tmp_path: Path, *, by_scan: bool) -> None:
    """Tags and patterns with capitals and accents find what is spelt so; without any, the composed, then the lower."""
    posts = Posts(tmp_path, spelt_tables())
    for text, ids in SPELLINGS.items():
        assert sorted(posts.find(text, by_scan=by_scan).bitmap) == ids, text


def test_parents_and_children(posts: Posts, rows: list[Row]) -> None:
    """A parent is found with its children, and a child's parent by the child."""
    child = next(row for row in rows if row["parent_id"] is not None)
    parent = child["parent_id"]
    family = [row["id"] for row in rows if row["parent_id"] == parent or row["id"] == parent]
    assert sorted(posts.find(f"parent:{parent}").bitmap) == family
    assert posts.find(f"child:{child['id']}").ids.tolist() == [parent]


def test_implications_are_optional(posts: Posts, rows: list[Row]) -> None:
    """With implications a tag finds those that imply it, over several steps; without, only its own posts."""
    assert sorted(posts.find("dog").bitmap) == expected(rows, lambda row: "dog" in row["tags"])
    wide = {"dog", "cat", "short_hair"}
    assert sorted(posts.find("dog", implications=True).bitmap) == expected(rows, lambda row: bool(wide & row["tags"]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1gril", r"position 1: no post of these has the tag 1gril \(did you mean 1girl\?\)"),
        ("solo hair_long", r"position 6: .* \(did you mean long_hair"),
        ("scor:>5", r"did you mean score:"),
        ("old", "no post of these has the tag old"),
        ("*xyz*", r"has a tag like \*xyz\*"),
        ("pool:nothing", "is in the pool nothing"),
        ("solo (cat nosuch)", "position 11"),
    ],
)
def test_a_tag_that_no_post_has_is_said(posts: Posts, text: str, said: str) -> None:
    """A tag that posts must have and none has is an error with close ones, by the index and by a scan."""
    for by_scan in (False, True):
        with pytest.raises(UnknownTag, match=said):
            posts.find(text, by_scan=by_scan)


def test_a_tag_that_is_excluded_or_optional_is_noted(posts: Posts) -> None:
    """A misspelt tag that posts need not have is said, and the rest is found."""
    for text in ("solo -nosuch", "solo or nosuch", "~solo ~nosuch"):
        found = posts.find(text)
        assert found.notes == ("no post of these has the tag nosuch",)
        assert sorted(found.bitmap) == sorted(posts.find("solo").bitmap)


def test_steps_explain_a_search(posts: Posts) -> None:
    """Each condition is told with the posts that it left, the cheapest first."""
    steps = posts.find("score:>5 solo").steps
    assert [step.text for step in steps] == ["(score:>5 solo)", "solo", "score:>5"]
    assert steps[0].posts == steps[2].posts <= steps[1].posts
