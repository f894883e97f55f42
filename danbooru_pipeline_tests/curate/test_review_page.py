"""The review page in Chromium, by keyboard alone: answers, undo, skipping, and two reviewers side by side."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from danbooru_pipeline.curate.decisions import in_force, standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.review.queue import QueueOptions, ReviewQueue
from danbooru_pipeline.curate.review.server import ReviewServer
from danbooru_pipeline.curate.review.session import ReviewSession
from danbooru_pipeline_tests.support.browsers import chromium

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.slow(8)]
expect.set_options(timeout=30_000)

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with chromium() as browser:
        yield browser


@contextmanager
def reviewing(browser: Browser, curated: Curated, who: str) -> Iterator[Page]:
    """The page of a reviewer."""
    queue = ReviewQueue(curated[0], curated[1], who, QueueOptions(ratings=()))
    server = ReviewServer(ReviewSession(queue))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    page = browser.new_page(viewport={"width": 1500, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        page.goto(server.url)
        expect(page.locator("figure").first).to_be_visible()
        yield page
        assert errors == []
    finally:
        page.close()
        server.shutdown()
        thread.join()
        server.server_close()
        queue.close()


def press(page: Page, key: str) -> None:
    """Press a key that changes the page, and wait until it has."""
    before = page.locator("body").get_attribute("data-page")
    page.keyboard.press(key)
    expect(page.locator("body")).not_to_have_attribute("data-page", before or "")


def shown(page: Page) -> list[int]:
    """The posts before the reviewer."""
    return [int(each.get_attribute("data-post") or 0) for each in page.locator("figure").all()]


def test_review_by_keyboard(browser: Browser, curated: Curated) -> None:
    """What is marked is saved, the page before comes back by undo, and the one that waited is shown after it."""
    with reviewing(browser, curated, "ann") as page:
        if folder := os.environ.get("REVIEW_PICTURES"):
            page.screenshot(path=f"{folder}/review.png")
        first = shown(page)
        for key in ("y", " ", "ArrowRight", "?", "ArrowDown", "ArrowUp"):
            page.keyboard.press(key)
        assert [each.get_attribute("data-verdict") for each in page.locator("figure").all()][:3] == ["-", "?", "+"]
        if folder:
            page.screenshot(path=f"{folder}/marked.png")
        press(page, "Enter")
        second = shown(page)
        press(page, "u")
        assert shown(page) == first
        assert page.locator("figure").nth(1).get_attribute("data-verdict") == "?"
        press(page, "Enter")
        assert shown(page) == second
        press(page, "s")
        page.keyboard.press("w")
        pages = in_force(ReviewQueue(curated[0], curated[1], "ann").log.read())
        assert len(pages) == 1
        assert [answer.verdict for answer in pages[0].answers][:3] == ["-", "?", "+"]


def test_two_reviewers_end_together(browser: Browser, curated: Curated) -> None:
    """Two people who answer at the same time see different pictures, and all candidates are answered once."""
    with reviewing(browser, curated, "ann") as ann, reviewing(browser, curated, "bob") as bob:
        open_pages = [ann, bob]
        while open_pages:
            for page in list(open_pages):
                press(page, "Enter")
                if page.locator("body").get_attribute("data-page") == "done":
                    open_pages.remove(page)
        assert ann.locator("#question").inner_text() == "Nothing is left to review."
    found = standings(ReviewQueue(curated[0], curated[1], "ann").log.read())
    assert found.keys() == curated[2]
    assert all(len(standing.by) == 1 for standing in found.values())
