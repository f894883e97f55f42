"""A release looked at in a real browser: searches find what Python finds, and what it costs in requests and bytes."""

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from danbooru_pipeline import open_release
from danbooru_pipeline.consume import UnknownTag
from danbooru_pipeline.io.parquet import row_count, write_shards
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.documents.browser import PAGE_FILES
from danbooru_pipeline.release_paths import BROWSE, BROWSE_RELEASE, INDEX_NAMES, manifest_path, parquet_path
from danbooru_pipeline.search.metatags import METATAGS, ORDERS, UNSUPPORTED
from danbooru_pipeline_tests.support.browsers import browse_of, chromium, page_of, without_ranges
from danbooru_pipeline_tests.support.processes import wait_until
from danbooru_pipeline_tests.support.searches import CONDITIONS, CUTOFF, SPELLINGS, Posts, make_tables, spelt_tables

pytestmark = [pytest.mark.slow(25), pytest.mark.needs("chromium")]
FIND = """async (texts) => Promise.all(texts.map((text) => browser.search.find(text, ["g", "s", "q", "e"])
    .then((found) => found.ids(0, found.count), (error) => error.message)))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url(releases: Layout) -> Iterator[str]:
    """The page of a release with pictures, served by our own command."""
    with browse_of(releases.release(2022)) as url:
        yield url


def ready(page: Page) -> None:
    """Wait until posts are shown."""
    expect(page.locator(".grid")).to_be_visible(timeout=60_000)


def test_what_a_visitor_does(browser: Browser, url: str, releases: Layout) -> None:
    """Type, take a suggestion, search, open a post, go back: by keyboard and mouse, and the address says where."""
    release = open_release(releases.release(2022))
    with page_of(browser, viewport={"width": 1280, "height": 900}) as page:
        page.goto(url)
        ready(page)
        general = release.search_ids("rating:g")
        assert page.evaluate("browser.found.ids(0, browser.found.count)") == general.tolist()
        page.keyboard.press("/")
        page.keyboard.type("-1gi")
        expect(page.get_by_role("option").first).to_contain_text("1girl")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.input_value("#text") == "-1girl "
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("posts")
        wanted = release.search_ids("rating:g -1girl").tolist()
        # Asked from outside, since the page's policy lets nobody evaluate a text inside of it.
        wait_until(lambda: page.evaluate("browser.foundBy === 'g -1girl' && !!browser.found"), seconds=60)
        assert page.evaluate("browser.found.ids(0, 1000)") == wanted
        assert page.locator(".tile").count() == min(60, len(wanted))
        page.locator(".tile").first.click()
        expect(page.locator("article[data-whole]")).to_be_visible()
        assert page.locator("article").get_attribute("data-post") == str(wanted[0])
        assert f"post={wanted[0]}" in page.url
        page.locator("#text").blur()
        page.keyboard.press("d")
        expect(page.locator(f"article[data-post='{wanted[1]}']")).to_be_visible()
        page.go_back()
        expect(page.locator(f"article[data-post='{wanted[0]}']")).to_be_visible()
        page.keyboard.press("Escape")
        ready(page)
        assert page.evaluate("new URLSearchParams(location.hash.slice(1)).get('q')") == "-1girl"


def test_a_post_has_what_the_release_says(browser: Browser, url: str, releases: Layout) -> None:
    """By its address alone: tags by category, facts of the post and its file, the reason where there is no image."""
    release = open_release(releases.release(2022))
    files = release.table("files").set_index("id")
    posts = release.table("posts").set_index("id")
    shown = int(files[files.px512_path.notna()].index[-1])
    absent = int(files[files.path.isna()].index[0])
    with page_of(browser) as page:
        page.goto(f"{url}#post={shown}")
        expect(page.locator("article[data-whole]")).to_be_visible()
        text = page.inner_text("article")
        for value in (str(shown), files.path[shown], files.sha256[shown], posts.md5[shown]):
            assert value in text
        for tag in posts.tag_string[shown].split():
            assert tag.replace("_", " ") in text
        assert page.eval_on_selector("#stage img", "image => image.complete && image.naturalWidth") == 512
        page.keyboard.press("o")
        expect(page.locator("#stage img, #stage video")).to_have_attribute("src", f"../{files.path[shown]}")
        page.goto(f"{url}#post={absent}")
        reason = files.reason[absent].replace("_", " ")
        expect(page.locator(".absent")).to_contain_text(f"{files.status[absent]}: {reason}")
        page.goto(f"{url}#post=999999999")
        expect(page.locator("#message")).to_contain_text("no post 999999999")


def test_mistakes_are_said_with_their_place(browser: Browser, url: str) -> None:
    """A tag that no post has, a search that is none, and a metatag that only `select` takes: a line, no traceback."""
    with page_of(browser) as page:
        for text, said in {
            "1girll": "no post has the tag “1girll” (at 1)",
            "1girl (solo": "the parenthesis is never closed (at 7)",
            "1girl source:none": "danbooru-pipeline select takes it (at 7)",
            "score:x": "expects a whole number",
        }.items():
            page.goto(f"{url}#q={text}")
            expect(page.locator("#message")).to_contain_text(said)
        page.goto(f"{url}#q=1girl -nobody_has_this")
        expect(page.locator("#status")).to_contain_text("no post has the tag “nobody_has_this”")


@pytest.mark.parametrize("width", [390, 1280])
def test_close_names_are_links(browser: Browser, url: str, releases: Layout, width: int) -> None:
    """What the command suggests first for a misspelt tag, the page does: a link that mends the word in its search."""
    release = open_release(releases.release(2022))
    with page_of(browser, viewport={"width": width, "height": 800}) as page:
        for text in ("1gril", "girl", "sollo", "solo 1gril order:score", "(cat or solo) 1grl", "scor:>5 solo"):
            with pytest.raises(UnknownTag) as caught:
                release.search_ids(text)
            page.goto(f"{url}#q={quote(text)}&r=gsqe")
            first = page.locator("#message a").first
            expect(first).to_have_text(re.compile(f"^{re.escape(caught.value.suggestions[0])}"))
            expect(page.locator("#message")).to_have_text(re.compile(r"\(at \d+\) Did you mean [^/]+\?$"))
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            word = text[caught.value.position :].split()[0]
            mended = text.replace(word, first.inner_text())
            first.click()
            expect(page.locator(".grid, .hint")).to_be_visible()
            assert page.input_value("#text") == mended
            assert page.evaluate("browser.found.ids(0, 1000)") == release.search_ids(mended).tolist()


def test_a_name_like_nothing_has_no_links(browser: Browser, url: str) -> None:
    """Where no name is close, nothing is suggested; markup in a name is text."""
    with page_of(browser) as page:
        page.goto(f"{url}#q=<b>xqzvxqzv</b>")
        expect(page.locator("#message")).to_have_text("no post has the tag “<b>xqzvxqzv</b>” (at 1)")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_page_fits_any_width(browser: Browser, url: str, width: int, scheme: Any) -> None:
    """Grid and post fit a phone and a desktop, in light and dark, and nothing is asked of another host."""
    hosts = set()
    with page_of(browser, viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        for where in ("", "#r=gsqe&q=order:score", "#post=1"):
            page.goto(f"{url}{where}")
            expect(page.locator(".grid, article[data-whole], #message:not([hidden])").first).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert hosts == {url.split("/")[2]}


def test_few_requests_with_ranges_and_few_files_without(browser: Browser, releases: Layout, url: str) -> None:
    """A first page and a post take some forty requests by ranges; without, each file is fetched once."""
    costs = {}
    with without_ranges(releases.release(2022)) as plain:
        for name, address in {"ranges": url, "whole": plain}.items():
            with page_of(browser) as page:
                page.goto(f"{address}#q=order:score")
                ready(page)
                page.locator(".tile").first.click()
                expect(page.locator("article[data-whole]")).to_be_visible()
                costs[name] = page.evaluate("[browser.files.requests, browser.files.bytes, browser.files.whole.size]")
    requests, size, whole = costs["ranges"]
    assert whole == 0
    assert requests < 45
    assert size < 400_000
    assert costs["whole"][0] <= costs["whole"][2] + 2


def write_tables(folder: Path, tables: dict[str, pa.Table]) -> dict[str, list[str]]:
    """Write tables as a release has them, in several files each. Returns the files of each."""
    shards = {}
    for name, table in tables.items():

        def path_of(shard: int, of: int, name: str = name) -> str:
            return manifest_path(shard, of=of) if name == "files" else parquet_path(name, shard, of=of)

        count = write_shards(
            [table],
            table.num_rows,
            path_of=lambda shard, of, path_of=path_of: folder / path_of(shard, of),  # type: ignore[misc]
            schema=table.schema,
            dictionary=(),
            shard_rows=150,
        )
        shards[name] = [path_of(shard, count) for shard in range(count)]
    return shards


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """Posts with everything that searches ask for, as a release without pictures."""
    folder = tmp_path_factory.mktemp("generated")
    return generate(folder, make_tables(400, seed=5))


def generate(folder: Path, tables: dict[str, pa.Table]) -> Posts:
    """A folder with these tables, their index and the page."""
    posts = Posts(folder, tables)
    shards = {**write_tables(folder, tables), "names": [INDEX_NAMES]}
    shutil.copytree(PAGE_FILES, folder / BROWSE)
    sizes = {
        name: [(path, row_count(folder / path), (folder / path).stat().st_size) for path in paths]
        for name, paths in shards.items()
    }
    about = {"name": "these", "year": 2022, "version": "1", "cutoff": CUTOFF.isoformat(), "start": "g", "tables": sizes}
    (folder / BROWSE_RELEASE).write_bytes(msgspec.json.encode(about))
    return posts


def nested(dice: random.Random, conditions: list[str], depth: int) -> str:
    """A search of several conditions, in every form that the language has."""
    if depth == 0:
        return dice.choice(conditions)
    parts = [nested(dice, conditions, depth - 1) for _ in range(dice.randint(1, 3))]
    kind = dice.choice(["all", "any", "or", "not"])
    if kind == "all":
        return f"({' '.join(parts)})"
    if kind == "any":
        return f"({' '.join(f'~{part}' for part in parts)})"
    return f"({' or '.join(parts)})" if kind == "or" else f"-({' '.join(parts)})"


def test_page_finds_what_python_finds(browser: Browser, generated: Posts) -> None:
    """Every condition that the page knows, nested ones, orders and limits: the same posts in the same order."""
    known = [text for text in CONDITIONS if not text.startswith("source:")]
    dice = random.Random(3)
    texts = [*known, *(nested(dice, known, 2) for _ in range(80))]
    texts += [f"order:{name} limit:90" for name in ("score", "id", "date", "mpixels", "portrait", "side")]
    texts += ["id:1..3000 order:score", "id:1..3000 order:side_asc", "order:tagcount_asc", "order:score_asc rating:g"]
    texts += ["-score:>5 order:favcount", "child:1..100000", "limit:3", "parent:5..90000"]
    with without_ranges(generated.folder) as url, page_of(browser) as page:
        page.goto(f"{url}#q=id:0")  # there are no pictures to show
        expect(page.locator(".hint")).to_have_text("No posts.")
        found = page.evaluate(FIND, texts)
    for text, ids in zip(texts, found, strict=True):
        assert ids == generated.find(text).ids.tolist(), text


def test_page_takes_spellings_as_python_does(browser: Browser, tmp_path: Path) -> None:
    """Tags and patterns with capitals and accents find what is spelt so; without any, the composed, then the lower."""
    posts = generate(tmp_path, spelt_tables())
    with without_ranges(posts.folder) as url, page_of(browser) as page:
        page.goto(f"{url}#q=id:0")
        expect(page.locator(".hint")).to_have_text("No posts.")
        found = page.evaluate(FIND, list(SPELLINGS))
    assert [sorted(ids) for ids in found] == list(SPELLINGS.values())


def test_page_knows_every_metatag_or_refuses_it(browser: Browser, url: str) -> None:
    """A metatag of the language is understood, or named as missing; none is taken for a tag."""
    with page_of(browser) as page:
        page.goto(url)
        ready(page)
        known, missing, nowhere, orders = page.evaluate(
            "import('./language.js').then(l => [l.KNOWN, l.NOT_HERE, l.NOWHERE, Object.keys(l.ORDERS)])"
        )
        examples = [tag.example.removeprefix("-") for name, tag in METATAGS.items() if name in known and name != "pool"]
        refused = [text for text in page.evaluate(FIND, examples) if isinstance(text, str)]
    assert refused == []
    assert sorted(known + missing) == sorted(METATAGS)
    assert sorted(nowhere) == sorted(UNSUPPORTED)
    assert sorted(orders) == sorted(ORDERS)


def test_page_is_whole_in_a_release(releases: Layout) -> None:
    """The release has every file of the page as it is in the code, and says which tables it has."""
    folder = releases.release(2022)
    for path in PAGE_FILES.rglob("*.*"):
        assert (folder / BROWSE / path.relative_to(PAGE_FILES)).read_bytes() == path.read_bytes()
    tables = msgspec.json.decode(Path(folder / BROWSE_RELEASE).read_bytes())["tables"]
    for shards in tables.values():
        for path, rows, size in shards:
            assert (row_count(folder / path), (folder / path).stat().st_size) == (rows, size)


def test_page_finds_ids_beyond_32_bits(browser: Browser, tmp_path: Path) -> None:
    """With ids up to 2^53 the page reads bitmaps of 64 bits, and finds, sorts and counts as Python does."""
    posts = generate(tmp_path, make_tables(120, seed=6, largest=2**53))
    texts = [*(text for text in CONDITIONS if not text.startswith("source:")), f"-id:{2**40}..{2**52}"]
    texts += ["order:score", "order:id", "order:score_asc rating:g", "-score:>5 order:favcount", "solo limit:3"]
    with without_ranges(posts.folder) as url, page_of(browser) as page:
        page.goto(f"{url}#q=id:0")
        expect(page.locator(".hint")).to_have_text("No posts.")
        found = page.evaluate(FIND, texts)
    for text, ids in zip(texts, found, strict=True):
        assert ids == posts.find(text).ids.tolist(), text
