"""The page of a post in a real browser: what only some posts have, and what is like it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from danbooru_pipeline import open_release
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.browsers import browse_of, chromium, page_of
from danbooru_pipeline_tests.support.odd_tables import release_with
from danbooru_pipeline_tests.support.side_tables import lines
from danbooru_pipeline_tests.support.yard import Yard

pytestmark = [pytest.mark.slow(15), pytest.mark.needs("chromium")]
POST = 10
#: Tags of every second post, and the third of them of every third of these.
GROUPS = (("sea", "beach", "sand"), ("snow", "scarf", "coat"))


def with_everything(yard: Yard) -> Path:
    """A release in which one post has notes, a commentary, a pool, relatives, and posts that are like it."""
    for number in range(120):
        tags = " ".join(("outdoors", *GROUPS[number % 2][: 2 + (number % 3 == 0)]))
        rating = "g" if number % 5 else "q"
        yard.post(number + 1, rating=rating, tag_string=tags, tag_string_general=tags, tag_string_meta="")
    size: dict[str, Any] = {"image_width": 600, "image_height": 400}
    tags = "outdoors sea beach sand"
    yard.post(POST, rating="g", tag_string=tags, tag_string_general=tags, parent_id=4, has_children=True, **size)
    yard.post(4, rating="g", has_children=True)
    yard.post(5, rating="g", parent_id=4)
    yard.post(7, rating="g", parent_id=POST)
    box = {"post_id": POST, "x": 300, "y": 100, "width": 150, "height": 200}
    note = {"created_at": "2021-01-01T00:00:00Z", "updated_at": "2021-01-01T00:00:00Z", "version": 1}
    yard.tables["notes"] = lines(
        [
            {"id": 1, "body": "<b>Look</b> &lt;there&gt;", "is_active": True, **box, **note},
            {"id": 2, "body": "old", "is_active": False, **box, **note},
        ]
    )
    texts = {
        "original_title": "題",
        "original_description": "文",
        "translated_title": "Title",
        "translated_description": "",
    }
    yard.tables["artist_commentaries"] = lines([{"id": 1, "post_id": POST, **texts}])
    yard.tables["pools"] = lines([{"id": 3, "name": "days_at_sea", "category": "series", "post_ids": [5, POST]}])
    return yard.release()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That release."""
    return with_everything(Yard(Layout(tmp_path_factory.mktemp("everything")), year=2022))


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    """A page of it that shows the post."""
    with browse_of(folder) as url, chromium() as browser, page_of(browser) as page:
        page.goto(f"{url}#post={POST}")
        expect(page.locator("article[data-whole]")).to_be_visible()
        yield page


def test_a_page_of_odd_side_tables_shows_what_belongs_to_a_post(tmp_path: Path) -> None:
    """Words where numbers, names and marks belong hide neither the notes of a post, nor its pools, nor an alias."""
    box = {"post_id": 5, "x": 1, "y": 2, "width": 3, "height": 4, "is_active": True, "body": "Look"}
    pool = {"id": 9, "name": "days_at_sea", "post_ids": [5]}
    alias = {"id": 1, "antecedent_name": "girl", "consequent_name": "1girl", "status": "active"}
    tables = {
        "notes": [box, {**box, "is_active": False}, {**box, "post_id": "05"}, {**box, "is_active": "?", "x": "left"}],
        "pools": [pool, {**pool, "id": "nine", "post_ids": []}, {**pool, "id": 10, "name": True, "post_ids": [5]}],
        "tag_aliases": [alias, {**alias, "antecedent_name": None}, {**alias, "antecedent_name": ["girl"]}],
    }
    folder = release_with(tmp_path / "root", {name: lines(rows) for name, rows in tables.items()})
    with browse_of(folder) as url, chromium() as browser, page_of(browser) as page:
        page.goto(f"{url}#post=5")
        expect(page.locator("article[data-whole]")).to_be_visible()
        expect(page.locator(".note")).to_have_count(2)
        expect(page.locator("#more h2:text-is('Pools') + ul li")).to_have_text(["days at sea", "true"])
        page.goto(f"{url}#q=girl pool:days_at_sea")
        expect(page.locator("main .tile")).to_have_count(1)


def strip(page: Page, title: str) -> list[int]:
    """The posts of a strip of pictures."""
    links = page.locator(f"#more h2:text-is('{title}') + .strip .tile")
    return [int(links.nth(n).get_attribute("title").partition(" ")[2]) for n in range(links.count())]  # type: ignore[union-attr]


def test_notes_lie_where_they_belong(page: Page) -> None:
    """An active note is a box on the picture, where it is on the original; its text is only text."""
    expect(page.locator(".note")).to_have_count(1)
    expect(page.locator(".note span")).to_have_text("Look <there>")
    stage, note = page.locator("#stage").bounding_box(), page.locator(".note").bounding_box()
    assert stage is not None
    assert note is not None
    # 600 × 400 is shrunk to 512 × 341, and centred.
    scale = stage["width"] / 512
    assert note["x"] - stage["x"] == pytest.approx(300 * 512 / 600 * scale, abs=3)
    assert note["y"] - stage["y"] == pytest.approx((85.3 + 100 * 512 / 600) * scale, abs=3)
    assert note["width"] == pytest.approx(150 * 512 / 600 * scale, abs=4)
    page.keyboard.press("n")
    expect(page.locator(".note")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.locator(".note")).to_be_visible()


def test_commentary_pools_and_relatives(page: Page) -> None:
    """Commentary in both languages, the pool by its name, parent, siblings and children, each with its link."""
    more = page.inner_text("#more")
    assert "題" in more
    assert "Title" in more
    expect(page.locator("#more a", has_text="days at sea")).to_have_attribute("href", "#q=pool%3A3+order%3Aid")
    assert (strip(page, "Parent"), strip(page, "Siblings"), strip(page, "Children")) == ([4], [5], [7])


def test_similar_posts_share_the_rarest_tags(page: Page, folder: Path) -> None:
    """They share most, by how rare a tag is, and have a rating that is shown; of equals the newest comes first."""
    posts = open_release(folder).posts(["id", "rating", "tag_string"]).set_index("id")
    tags = {id_: set(row.tag_string.split()) for id_, row in posts.iterrows()}
    counts = {tag: sum(tag in held for held in tags.values()) for tag in tags[POST]}

    def weight(id_: int) -> float:
        return sum(math.log(len(posts) / counts[tag]) ** 2 for tag in tags[POST] & tags[id_])

    general = [id_ for id_ in tags if id_ != POST and posts.rating[id_] == "g" and weight(id_) > 0]
    assert strip(page, "Similar") == sorted(general, key=lambda id_: (-round(weight(id_), 9), -id_))[:12]
    cost = page.evaluate("browser.similarCost")
    assert cost["requests"] <= 8
    assert cost["bytes"] < 100_000


def test_a_tag_has_its_nearest(page: Page, folder: Path) -> None:
    """Above the posts of a single tag stand the tags that are nearest by the table of vectors; each is a search."""
    nearest = open_release(folder).table("tag_vectors").set_index("name").nearest["sea"]
    page.goto(f"{page.url.partition('#')[0]}#q=sea")
    expect(page.locator(".nearest")).to_have_text(f"Near: {', '.join(nearest)}")
    page.goto(f"{page.url.partition('#')[0]}#q=sea+-beach")
    expect(page.locator(".grid, .hint")).to_be_visible()
    expect(page.locator(".nearest")).to_have_count(0)
