"""The review page in Chromium: how long Enter takes until the next 48 pictures show, over many pages by keyboard.

    python -m benchmarks.review_page [--pages 500] [--root FOLDER]

Makes a release with pictures, and candidates of as many tags as there are pages; then a script answers page after page,
a quarter of a second each. It says nothing about how fast a person answers.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.curate.candidates import SCHEMA
from danbooru_pipeline.curate.decisions import in_force, standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.review.queue import QueueOptions, ReviewQueue
from danbooru_pipeline.curate.review.server import ReviewServer
from danbooru_pipeline.curate.review.session import ReviewSession
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.layout import Layout, px512_path
from danbooru_pipeline_tests.support.browsers import chromium
from danbooru_pipeline_tests.support.curated import draw_pictures
from danbooru_pipeline_tests.support.yard import Yard

POSTS = 240


def main() -> None:
    """Answer pages and print what they took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--root", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=options.root))
    release, folder = prepare(root, options.pages)
    session = ReviewSession(ReviewQueue(release, folder, "script", QueueOptions(ratings=())))
    server = ReviewServer(session)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    swaps = answer(server.url, options.pages)
    server.shutdown()
    server.server_close()
    pages = in_force(session.queue.log.read())
    undone = len(session.queue.log.read()) - len(pages)
    swaps.sort()
    print(f"{len(swaps):,} pages answered; in the log {len(pages):,} in force, {undone:,} lines of undoing and undone")
    print(f"{len(standings(pages)):,} decisions, each once")
    slow = swaps[len(swaps) * 95 // 100]
    print(f"Enter to 48 pictures: median {statistics.median(swaps):.0f} ms, 95 % within {slow:.0f} ms")
    shutil.rmtree(root)


def prepare(root: Path, pages: int) -> tuple[Path, CurationFolder]:
    """A release with pictures, and candidates of as many tags as there are pages to answer."""
    yard = Yard(Layout(root))
    for number in range(POSTS):
        yard.post(1000 * (number // 4) + number % 4 + 1, rating="s")
    release = yard.release()
    draw_pictures(release)
    folder = CurationFolder.of(yard.layout)
    posts = sorted(yard.rows)
    rows = [
        {"id": post, "tag": f"tag_{page:04d}", "sign": "+", "p": 0.7, "evidence": "tags: goes with solo"}
        | {"value": 1.0, "rating": "s", "path": px512_path(post), "model": "tags"}
        for page in range(pages + 2)
        for post in posts[page * 7 % (POSTS - 48) :][:48]
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    write_parquet(folder.candidates(2021), iter([table]), schema=SCHEMA, dictionary=("tag",))
    return release, folder


def answer(url: str, pages: int) -> list[float]:
    """Answer pages by keyboard, every fiftieth one twice. Returns the milliseconds from Enter to the next page."""
    swaps: list[float] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.goto(url)
        page.wait_for_selector("figure")
        for number in range(pages):
            press(page, "Enter")
            swaps.append(float(page.evaluate("document.body.dataset.swap")))
            if number % 50 == 49:
                press(page, "u")
                press(page, "Enter")
            time.sleep(0.25)  # what a fast person would at least look at it, in which the next page is prepared
    return swaps


def press(page: object, key: str) -> None:
    """Press a key, and wait until another page shows."""
    before = page.evaluate("document.body.dataset.page")  # type: ignore[attr-defined]
    page.keyboard.press(key)  # type: ignore[attr-defined]
    page.wait_for_function("before => document.body.dataset.page !== before", arg=before)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
