"""The page of a release in headless Chromium: what searches, suggestions and a post cost in time, requests and bytes.

    python -m benchmarks.browse FOLDER

FOLDER is a release as `benchmarks/search.py` makes it; its page is written into it. Chromium measures the time, so the
figures are of a whole machine and not of CPU time; each warm one is the median of five.
"""

import sys
from pathlib import Path

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
SEARCH = """async (text) => {
  const { files, search } = browser, [requests, bytes] = [files.requests, files.bytes], times = [];
  let found, first;
  for (let n = 0; n < 6; n++) {
    const begin = performance.now();
    found = await search.find(text, ["g", "s"]);
    found.ids(0, 60);
    times.push(performance.now() - begin);
    first ??= [files.requests - requests, files.bytes - bytes];
  }
  return [found.count, times[0], times.slice(1).sort((a, b) => a - b)[2], ...first];
}"""
POST = """async (id) => {
  const { files, details } = browser, [requests, bytes, begin] = [files.requests, files.bytes, performance.now()];
  await details.more(await details.rows(id));
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
        print("| search | posts | first, ms | again, ms | requests | KB |\n|---|---:|---:|---:|---:|---:|")
        for text in SEARCHES:
            posts, first, again, requests, size = page.evaluate(SEARCH, text)
            costs = f"{first:,.0f} | {again:,.1f} | {requests} | {size / 1e3:,.0f}"
            print(f"| `{text}` | {posts:,} | {costs} |", flush=True)
        for what, script, given in (
            ("a post", POST, 777_777),
            ("another", POST, 123_456),
            ("suggestions for `tag_0999`", SUGGEST, "tag_0999"),
            ("for `tag_00020`", SUGGEST, "tag_00020"),
        ):
            first, requests, size = page.evaluate(script, given)
            print(f"| {what} | | {first:,.0f} | | {requests} | {size / 1e3:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
