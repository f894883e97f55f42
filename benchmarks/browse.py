"""The page of a release in headless Chromium: what searches, suggestions and a post cost in time, requests and bytes.

    python -m benchmarks.browse FOLDER

FOLDER is a release as `benchmarks/search.py` makes it; its page is written into it. Chromium measures the time, which a
busy machine makes longer, and the CPU time of the page's thread, which it does not. What is warm is the mean of five.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from danbooru_pipeline.release import read_release
from danbooru_pipeline.release.documents.browser import write_browser
from danbooru_pipeline_tests.support.browsers import browse_of, chromium

SEARCHES = (
    "tag_000000 tag_000001 tag_000002",
    "tag_000000 tag_000003 -tag_000004",
    "tag_000000 tag_030000",
    "tag_000060 tag_000090",
    "tag_000200",
    "tag_0000*",
    "tag_000000 score:>=10",
    "tag_000000 order:score",
    "date:1972 tag_000001",
)
SEARCH = """async ([text, times]) => {
  const { files, search } = browser, [requests, bytes, begin] = [files.requests, files.bytes, performance.now()];
  let found;
  for (let n = 0; n < times; n++) {
    found = await search.find(text, ["g", "s"]);
    found.ids(0, 60);
  }
  return [found.count, (performance.now() - begin) / times, files.requests - requests, files.bytes - bytes];
}"""
POST = """async (id) => {
  const { files, details } = browser, [requests, bytes, begin] = [files.requests, files.bytes, performance.now()];
  await details.more(await details.rows(id));
  return [performance.now() - begin, files.requests - requests, files.bytes - bytes];
}"""
ALIKE = """async (id) => {
  const { files, details } = browser, rows = await details.rows(id);
  const [requests, bytes, begin] = [files.requests, files.bytes, performance.now()];
  await browser.alike.posts(rows.post, ["g", "s"]);
  return [performance.now() - begin, files.requests - requests, files.bytes - bytes];
}"""
SUGGEST = """async (text) => {
  const { files, search } = browser, [requests, bytes, begin] = [files.requests, files.bytes, performance.now()];
  await search.names.suggest(text);
  return [performance.now() - begin, files.requests - requests, files.bytes - bytes];
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main() -> None:
    """Measure."""
    folder = Path(sys.argv[1])
    write_browser(folder, read_release(folder))
    with browse_of(folder) as url, chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        page.wait_for_selector(".grid, .hint:not([id])", timeout=300_000)
        drawn = page.evaluate("browser.drawn")
        print(f"first paint after {page.evaluate(PAINT):.0f} ms, first posts {drawn['milliseconds']:.0f} ms later:")
        print(f"{drawn['requests']} requests, {drawn['bytes'] / 1e3:,.0f} KB\n")
        heads = ["search", "posts", "first, ms", "CPU ms", "again, ms", "CPU ms", "requests", "KB"]
        print(f"| {' | '.join(heads)} |\n|---|{'---:|' * (len(heads) - 1)}")
        spent = cpu_clock(page)
        for text in SEARCHES:
            costs = []
            for times in (1, 5):
                begin = spent()
                posts, took, *transfer = page.evaluate(SEARCH, [text, times])
                costs += [f"{took:,.1f}", f"{(spent() - begin) / times:,.1f}"]
                if times == 1:
                    requests, size = transfer
            print(f"| `{text}` | {posts:,} | {' | '.join(costs)} | {requests} | {size / 1e3:,.0f} |", flush=True)
        for what, script, given in (
            ("a post", POST, 777_777),
            ("another", POST, 123_456),
            ("posts like it", ALIKE, 123_456),
            ("suggestions for `tag_0999`", SUGGEST, "tag_0999"),
            ("for `tag_00020`", SUGGEST, "tag_00020"),
        ):
            first, requests, size = page.evaluate(script, given)
            print(f"| {what} | | {first:,.0f} | | | | {requests} | {size / 1e3:,.0f} |", flush=True)


def cpu_clock(page: Page) -> Callable[[], float]:
    """What tells the CPU time of the page's thread, in milliseconds."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    return spent


if __name__ == "__main__":
    main()
