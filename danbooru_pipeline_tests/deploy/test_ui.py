"""An operator's hour in the Dagster UI, done in Debian's Chromium: the pictures of it go to the test's folder."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline_tests.support.browsers import chromium
from danbooru_pipeline_tests.support.processes import wait_until
from danbooru_pipeline_tests.support.stack import Stack

# A loaded machine draws slowly; what is waited for comes, or it is a failure.
expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.timeout(1200), pytest.mark.needs("pg_ctlcluster", "psql", "chromium")]
LOCATION = "locations/danbooru_pipeline"
#: What a banner of Dagster's would say.
BANNER = re.compile(r"not running|could not be loaded|failed to load|error loading|deprecated", re.IGNORECASE)
#: What an operator can still look through, for everything that an hour takes, a backfill of all buckets included.
MOST_RUNS = 20


@dataclass
class Operator:
    """Somebody with a browser, who looks at each page and has no shell."""

    page: Page
    stack: Stack
    pictures: int = 0

    def look(self, name: str) -> None:
        """Keep a picture of the page, which has no banner."""
        self.pictures += 1
        folder = self.stack.folder / "pictures"
        folder.mkdir(exist_ok=True)
        self.page.screenshot(path=folder / f"{self.pictures}-{name}.png")
        expect(self.page.get_by_text(BANNER)).to_have_count(0)

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(f"{self.stack.url}/{path}")

    def materialize(self, path: str, *, buckets: str | None = None, only_failed: bool = False) -> None:
        """Press *Materialize* on a page, choose partitions of 2021, launch. `buckets` is a filter, "" all of them."""
        page, before = self.page, self._backfills_and_runs()
        self.open(path)
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_placeholder("ex: 2021").fill("2021")
        page.keyboard.press("Enter")
        if buckets is not None:
            page.get_by_text("Select a partition or create one").click()
            page.get_by_placeholder("Filter partitions").fill(buckets)
            page.get_by_text("Select all").click()
            page.keyboard.press("Escape")
        if only_failed:
            page.get_by_text("Backfill only failed and missing partitions within selection").click()
        launch = page.get_by_role("button", name="Launch").last
        expect(launch).to_be_enabled()
        self.look("materialize")
        launch.click()
        wait_until(lambda: self._backfills_and_runs() > before, seconds=60, what="what was launched")
        page.goto("about:blank")  # nobody watches a page that draws its progress all the while
        wait_until(self._is_idle, seconds=600, every=1, what="its end")

    def launch(self, job: str, op: str, config: str) -> None:
        """Fill in the form of a job, launch it, and read its report on the page of its run."""
        page = self.page
        self.open(f"{LOCATION}/jobs/{job}/playground")
        page.locator(".CodeMirror").first.click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(f"ops: {{{op}: {{config: {{{config}}}}}}}")
        button = page.get_by_role("button", name="Launch Run")
        expect(button).to_be_enabled()
        button.click()
        page.wait_for_url("**/runs/*")
        expect(page.get_by_text("Success", exact=True).first).to_be_visible()
        page.get_by_text("Show Markdown").first.click()
        self.look(job)

    def _backfills_and_runs(self) -> tuple[int, int]:
        found = self.stack.gql("""{ runsOrError { ... on Runs { count } }
          partitionBackfillsOrError { ... on PartitionBackfills { results { id } } } }""")
        return len(found["partitionBackfillsOrError"]["results"]), found["runsOrError"]["count"]

    def runs(self) -> list[str]:
        """The states of all runs."""
        found = self.stack.gql("{ runsOrError(limit: 200) { ... on Runs { results { status } } } }")
        return [run["status"] for run in found["runsOrError"]["results"]]

    def _is_idle(self) -> bool:
        query = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { status } } } }"
        backfills = self.stack.gql(query)["partitionBackfillsOrError"]["results"]
        over = {each["status"] for each in backfills} <= {"COMPLETED_SUCCESS", "COMPLETED_FAILED"}
        return over and set(self.runs()) <= {"SUCCESS", "FAILURE"}


@pytest.fixture(scope="module")
def shop(booru_files: Path) -> Iterator[BooruProcess]:
    """A booru whose posts are all in the buckets 0001 to 0009."""
    with start_booru(posts=7, year=2021, files=booru_files, rate_limit=False) as booru:
        yield booru


@pytest.fixture
def operator(stack: Stack) -> Iterator[Operator]:
    """An operator in front of a real browser, whose console stays free of errors."""
    errors: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield Operator(page, stack)
    assert not errors


def partitions(stack: Stack, asset: str) -> tuple[int, int]:
    """How many partitions of an asset are green, and how many red."""
    query = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
      partitionStats { numMaterialized numFailed } } } }"""
    stats = stack.gql(query, k={"path": [asset]})["assetNodeOrError"]["partitionStats"]
    return int(stats["numMaterialized"]), int(stats["numFailed"])


@pytest.mark.parametrize(
    ("buckets", "count"),
    [
        # A filter whose buckets are side by side: each stretch of buckets is a run of its own.
        pytest.param("000", 10, marks=pytest.mark.slow(90), id="buckets-with-posts"),
        pytest.param("", 1000, marks=[pytest.mark.slow(500), pytest.mark.long], id="every-bucket"),
    ],
)
def test_operator_never_needs_the_shell(
    stack: Stack, shop: BooruProcess, operator: Operator, buckets: str, count: int
) -> None:
    """From an empty home to a published release; failed buckets are found and mended, a post taken down; by clicks."""
    pictures = [p for p in shop.truth(2021) if p.get("md5") and p["file_ext"] == "png"]
    for post in pictures[:2]:
        shop.set_fault(post["md5"], "error")
    operator.open("asset-groups")
    for group in ("metadata", "images", "release", "store"):
        expect(operator.page.get_by_text(group, exact=True).first).to_be_visible()
    operator.look("groups")
    operator.materialize(f"{LOCATION}/jobs/begin_release")
    assert operator.runs() == ["SUCCESS"]
    operator.materialize(f"{LOCATION}/asset-groups/images/lineage", buckets=buckets)
    assert partitions(stack, "original_images") == (count - 2, 2)
    mend_failed_buckets(operator, shop, {bucket_of(post["id"]) for post in pictures[:2]}, buckets)
    assert partitions(stack, "original_images") == partitions(stack, "images_512px") == (count, 0)
    look_at_pictures(operator)
    operator.materialize(f"{LOCATION}/asset-groups/release/lineage")
    operator.look("release")
    layout = Layout(stack.root)
    assert layout.current.readlink() == Path(layout.release(2021).name)
    operator.launch("verify_release", "verify_folder", "year: 2021, full: true")
    take_down(operator, layout, pictures[2]["id"])
    operator.launch("verify_release", "verify_folder", "year: 2021")
    assert verify_release(layout.release(2021), full=True).ok
    states = operator.runs()
    assert (states.count("FAILURE"), len(states) <= MOST_RUNS) == (1, True)


def mend_failed_buckets(operator: Operator, shop: BooruProcess, failed: set[str], buckets: str) -> None:
    """See two red buckets on the page of the asset; make what is failed and missing again, once the site is well."""
    page = operator.page
    operator.open("assets/original_images?view=partitions")
    expect(page.get_by_text("Failed (2)")).to_be_visible()
    for bucket in failed:
        expect(page.get_by_text(bucket, exact=True).first).to_be_visible()
    operator.look("failed")
    shop.clear_faults()
    shop.reset_requests()
    for asset in ("original_images", "images_512px"):
        operator.materialize(f"assets/{asset}", buckets=buckets, only_failed=True)
    assert len(set(shop.requested_files())) == len(failed)  # one whose MD5 differs is asked for twice
    operator.open(f"assets/original_images?view=partitions&partition={min(failed)}%7C2021")
    expect(page.get_by_text("bytes_saved").first).to_be_visible()
    operator.look("mended")


def look_at_pictures(operator: Operator) -> None:
    """Open the contact sheet of a bucket's 512px images, as the browser really shows it."""
    page, store = operator.page, Layout(operator.stack.root).store
    bucket = next(path.name for path in sorted((store / "512px").iterdir()) if any(path.glob("*.jpg")))
    operator.open(f"assets/images_512px?view=partitions&partition={bucket}%7C2021")
    expect(page.get_by_text("contact_sheet").first).to_be_visible()
    page.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[src^='data:image/jpeg']").first
    expect(picture).to_be_visible()
    operator.look("contact-sheet")
    assert picture.evaluate("image => image.naturalWidth") >= 72


def take_down(operator: Operator, layout: Layout, post_id: int) -> None:
    """Read what a takedown would do, then let it."""
    page = operator.page
    operator.launch("takedown", "take_posts_down", f"ids: [{post_id}]")
    expect(page.get_by_text("would take down 1 post and")).to_be_visible()
    assert list(layout.release(2021).glob(f"original/*/{post_id}.*"))
    operator.launch("takedown", "take_posts_down", f"ids: [{post_id}], dry_run: false")
    expect(page.get_by_text("Took down 1 post.")).to_be_visible()
    assert not list(layout.release(2021).glob(f"original/*/{post_id}.*"))
    assert read_release(layout.release(2021)).version == "2021.1"
