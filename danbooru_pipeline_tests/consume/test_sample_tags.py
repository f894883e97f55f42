"""Random sets of tags: the same by the same seed, as likely as they are frequent, and together as posts have them."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from danbooru_pipeline import open_release
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import BadQuery
from danbooru_pipeline.consume.sample_tags import TagSampling, sample_tags
from danbooru_pipeline.layout import Layout

WANTED = {"general": 6, "character": 1, "copyright": 1}


@pytest.fixture
def release(releases: Layout) -> Path:
    """A release with tags of all categories."""
    return releases.release(2022)


@pytest.mark.parametrize("together", [False, True])
def test_sets_follow_from_the_seed(release: Path, *, together: bool) -> None:
    """The same seed gives the same sets, another one others; no set has a tag twice, or too many of a category."""
    counts = open_release(release).table("tag_counts")
    category = dict(zip(counts.name, counts.category, strict=True))
    sampling = TagSampling(wanted=WANTED, together=together, seed=3)
    found = sample_tags(release, sampling, 200)
    assert found == sample_tags(release, sampling, 200)
    assert found != sample_tags(release, TagSampling(wanted=WANTED, together=together, seed=4), 200)
    for tags in found:
        assert len(tags) == len(set(tags))
        assert all(own <= WANTED.get(name, 0) for name, own in Counter(category[tag] for tag in tags).items())
    assert Counter(map(len, found)).most_common(1)[0][0] >= 6


def test_frequent_tags_are_likely(release: Path) -> None:
    """By counts, one tag at a time is as likely as its share of all."""
    counts = open_release(release).table("tag_counts")
    own = counts[counts.category == "general"].set_index("name").posts
    found = Counter(tag for (tag,) in sample_tags(release, TagSampling(wanted={"general": 1}), 20_000))
    for name in own.index[:5]:
        assert found[name] / 20_000 == pytest.approx(own[name] / own.sum(), abs=0.01)


def test_tags_together_are_of_one_post(release: Path) -> None:
    """By co-occurrence, each two neighbours of a set are tags that some post has both."""
    posts = [set(tags.split()) for tags in open_release(release).table("posts").tag_string]
    for tags in sample_tags(release, TagSampling(wanted=WANTED, together=True), 100):
        for first, second in pairwise(tags):
            assert any({first, second} <= own for own in posts)


@pytest.mark.parametrize("together", [False, True])
def test_what_is_excluded_is_in_no_set(release: Path, *, together: bool) -> None:
    """Tags, patterns and ratings hold; what is left of nothing is an error that says so."""
    posts = open_release(release).table("posts")
    general = {tag for tags in posts[posts.rating == "g"].tag_string for tag in tags.split()}
    sampling = TagSampling(wanted=WANTED, ratings=("g",), exclude=("1girl", "*_hair"), together=together)
    tags = {tag for found in sample_tags(release, sampling, 100) for tag in found}
    assert tags <= general
    assert not [tag for tag in tags if tag == "1girl" or tag.endswith("_hair")]
    for wrong in (
        TagSampling(wanted=WANTED, exclude=("*",), together=together),
        TagSampling(wanted={"colour": 1}, together=together),
        TagSampling(wanted=WANTED, ratings=("x",), together=together),
    ):
        with pytest.raises(BadQuery):
            sample_tags(release, wrong, 1)


def test_command_prints_a_set_a_line(release: Path) -> None:
    """Underscores as the site writes them, or as prompts have them."""
    words = ["sample-tags", str(release), "--count", "5", "--general", "3", "--together"]
    plain = CliRunner().invoke(main, words).output.splitlines()
    spaced = CliRunner().invoke(main, [*words, "--spaces"]).output.splitlines()
    assert len(plain) == 5
    assert [", ".join(line.split()).replace("_", " ") for line in plain] == spaced
