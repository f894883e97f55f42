"""Documents of releases of nothing, of one and of two speak correctly of each."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release.documents.wording import continued
from danbooru_pipeline.release_paths import CROISSANT, DATACITE, PAGE, TEXTS

#: What is wrong after the number one, and sentences whose list is empty.
PLURAL = re.compile(
    r"(?<![\d.,])1\s(?:(?:tag|512px|of them)\s)?(?!(?:is|was|has|its|looks|shows)\b)\w+s\b"
    r"|(?<![\d.,])1\s(?:[\w,]+\s){0,3}(?:are|were|have|look|show)\b"
)
SINGULAR = re.compile(r"(?<![\d.,])(?:0|[2-9])\s(?:post|file|original|instance|tag|image|pair|variant)\b(?!\sinst)")
EMPTY = re.compile(r":\s*\.(?=\s|$)|:\s+,|,\s*\.(?=\s|$)|\s\(\s*\)|\bNone\b|\bnan\b|\bof \+0|  \.", re.MULTILINE)


def documents(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each document of a release, but for scripts, which have no numbers of it."""
    names = [name for name in TEXTS if not name.endswith((".sh", ".conf"))]
    for name in (
        *names,
        CROISSANT,
        DATACITE,
        PAGE,
        *(str(path.relative_to(folder)) for path in folder.glob("c*/*.md")),
    ):
        text = (folder / name).read_text()
        yield name, re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_no_document_of_any_world_has_a_wrong_number_or_an_empty_list(worlds: dict[str, Path]) -> None:
    """After 1 comes the singular, after 0 and 2 the plural, and no sentence ends where its list should begin."""
    found = [
        (world, name, text[max(0, match.start() - 30) : match.end() + 10])
        for world, folder in worlds.items()
        for name, text in documents(folder)
        for wrong in (PLURAL, SINGULAR, EMPTY)
        for match in wrong.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("1 posts", True),
        ("and 1 tag instances", True),
        ("1 of them images", True),
        ("1 post are", True),
        ("21 posts", False),
        ("2021.1 posts", False),
        ("1 post is", False),
        ("1 of them has its original", False),
    ],
)
def test_a_wrong_plural_is_seen(text: str, wrong: bool) -> None:  # noqa: FBT001 - a parameter
    """What the test above looks for is found where it is, and nowhere else."""
    assert bool(PLURAL.search(text)) == wrong


@pytest.mark.parametrize(("count", "said"), [(0, "0 posts"), (1, "1 post"), (2, "2 posts"), (1234, "1,234 posts")])
def test_nouns_are_counted(count: int, said: str) -> None:
    """A number, its noun, and an s unless there is one of it."""
    assert counted(count, "post") == said
    assert counted(count, "post was", "posts were") == said.replace("posts", "posts were").replace(
        "1 post", "1 post was"
    )


@pytest.mark.parametrize("count", [1, 2])
def test_takedowns_are_counted_everywhere(worlds: dict[str, Path], count: int) -> None:
    """Datasheet, announcement, page and feed speak of one post, and of two."""
    folder = worlds[f"taken_down_{count}"]
    was, has, posts, their = (
        ("post was", "post has", "post", "its id is")
        if count == 1
        else ("posts were", "posts have", "posts", "their ids are")
    )
    assert f"- {count} {was} taken down; `removed.txt` lists" in (folder / "DATASHEET.md").read_text()
    for name in ("ANNOUNCEMENT.txt", "index.html"):
        assert f"{count} {has} been taken down so far" in (folder / name).read_text()
    feed = (folder / "feed.atom").read_text()
    assert f"; {count} {posts} taken down so far, see removals.jsonl" in feed
    assert f"<li>{count} {posts} taken down so far; {their} in" in feed


def test_datasheet_of_nothing_says_none(worlds: dict[str, Path]) -> None:
    """A world without posts has no ratings, no types and no tags, in whole sentences."""
    text = (worlds["none"] / "DATASHEET.md").read_text()
    assert "- Ratings: none.\n- File types: none.\n" in text
    assert "- 0 instances of 0 tags. 0 tags are on posts uploaded in 2021 alone. " in text


def test_datasheet_without_change_says_so(worlds: dict[str, Path]) -> None:
    """A year with the same tags as the one before has as many, and no difference of nothing."""
    for name in ("two_2022", "none_2022"):
        assert "; danbooru2021 2021.0 had as many tags. " in (worlds[name] / "DATASHEET.md").read_text()


@pytest.mark.parametrize(
    ("year", "names"),
    [
        (2017, ""),
        (2018, "Danbooru2017"),
        (2021, "Danbooru2017 to Danbooru2020"),
        (2022, "Danbooru2017 to Danbooru2021"),
        (2030, "Danbooru2017 to Danbooru2021"),
    ],
)
def test_a_release_continues_those_before_it(year: int, names: str) -> None:
    """Only releases of the original project of earlier years."""
    assert continued(year) == names


def test_datasheet_names_what_it_continues(releases: Layout) -> None:
    """That of 2021 does not continue itself."""
    for year, last in ((2021, 2020), (2022, 2021)):
        text = (releases.release(year) / "DATASHEET.md").read_text()
        assert f"It continues Danbooru2017 to Danbooru{last}.\n" in text


def test_page_of_a_first_release_speaks_of_no_older_copy(releases: Layout) -> None:
    """Page and card say how to update an older copy where there are lists of changes, and only there."""
    for name in ("index.html", "README.md"):
        assert "To update an older copy" not in (releases.release(2021) / name).read_text()
        assert "To update an older copy" in (releases.release(2022) / name).read_text()
