"""What an operator does in the Dagster UI, done in Debian's Chromium: the pictures of it go to the test's folder."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline_tests.support.processes import wait_until
from danbooru_pipeline_tests.support.stack import Stack

# A loaded machine draws slowly; what is waited for comes, or it is a failure.
expect.set_options(timeout=60_000)
pytestmark = [pytest.mark.slow(110), pytest.mark.timeout(1200), pytest.mark.needs("pg_ctlcluster", "psql", "chromium")]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture
def page(stack: Stack) -> Iterator[Page]:
    """A page of a real browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def shoot(page: Page, stack: Stack, name: str) -> None:
    """Keep a picture of the page."""
    folder = stack.folder / "pictures"
    folder.mkdir(exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def choose_release(page: Page, stack: Stack, asset: str) -> None:
    """Open the partitions of an asset at release 2021."""
    page.goto(f"{stack.url}/assets/{asset}?view=partitions")
    page.get_by_placeholder("Filter by release").fill("2021")
    page.get_by_text("2021", exact=True).first.click()


def newest_backfill(stack: Stack) -> str:
    """The backfill that was launched last."""
    query = "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }"
    found = stack.gql(query)["partitionBackfillsOrError"]["results"]
    return str(found[0]["id"]) if found else ""


def newest_run(stack: Stack) -> dict[str, str]:
    """The run that was launched last."""
    query = "{ runsOrError(limit: 1) { ... on Runs { results { id status } } } }"
    run: dict[str, str] = stack.gql(query)["runsOrError"]["results"][0]
    return run


def materialized(stack: Stack, asset: str) -> int:
    """How many partitions of an asset are green."""
    query = """query($k: AssetKeyInput!) { assetNodeOrError(assetKey: $k) { ... on AssetNode {
      partitionStats { numMaterialized numFailed } } } }"""
    stats = stack.gql(query, k={"path": [asset]})["assetNodeOrError"]["partitionStats"]
    return int(stats["numMaterialized"])


def build_with_failures(stack: Stack, shop: BooruProcess) -> list[str]:
    """Build the year on production's own instance while two files cannot be fetched. Returns their buckets."""
    pictures = [p for p in shop.truth(2021) if p.get("md5") and p["file_ext"] == "jpg"][:2]
    for post in pictures:
        shop.set_fault(post["md5"], "error")
    env = stack.environment("code")
    built = subprocess.run(["danbooru-pipeline", "build", "2021"], env=env, check=False, capture_output=True, text=True)
    assert built.returncode == 1, built.stderr
    shop.clear_faults()
    shop.reset_requests()
    return sorted(bucket_of(post["id"]) for post in pictures)


def test_operator_backfills_failed_buckets(stack: Stack, shop: BooruProcess, page: Page) -> None:
    """The graph is there; a bucket is materialised from the page, with numbers; two failed ones become green."""
    bad = build_with_failures(stack, shop)
    page.goto(f"{stack.url}/asset-groups")
    for group in ("metadata", "images", "release", "store"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    shoot(page, stack, "1-groups")
    page.goto(f"{stack.url}/assets/original_images?view=lineage")
    for asset in ("posts_by_bucket", "original_images", "images_512px"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    shoot(page, stack, "2-lineage")
    assert materialized(stack, "original_images") == 998
    before = newest_run(stack)["id"]
    launch_from_page(page, stack, "3-one-bucket")
    wait_until(lambda: newest_run(stack)["id"] != before, seconds=90, what="the run of the page")
    wait_until(lambda: newest_run(stack)["status"] in {"SUCCESS", "FAILURE"}, seconds=120, what="the end of that run")
    assert newest_run(stack)["status"] == "SUCCESS"
    earlier = newest_backfill(stack)
    launch_from_page(page, stack, "4-only-failed", only_failed=True)
    wait_until(lambda: newest_backfill(stack) != earlier, seconds=60, what="the backfill of the page")
    some = stack.wait_backfill(newest_backfill(stack))
    assert (some["status"], some["numPartitions"]) == ("COMPLETED_SUCCESS", 2)
    assert len(shop.requested_files()) == 2
    assert materialized(stack, "original_images") == 1000
    page.goto(f"{stack.url}/assets/original_images?view=partitions&partition={bad[0]}%7C2021")
    expect(page.get_by_text("bytes_saved").first).to_be_visible()
    shoot(page, stack, "5-green")
    look_at_pictures(page, stack)
    page.goto(f"{stack.url}/assets/release_manifest?view=partitions&partition=2021")
    expect(page.get_by_text("bytes_saved").first).to_be_visible()
    shoot(page, stack, "7-manifest")


def look_at_pictures(page: Page, stack: Stack) -> None:
    """Open the contact sheet of a bucket's 512px images, as the browser really shows it."""
    bucket = next(path.name for path in sorted((stack.root / "store" / "512px").iterdir()) if any(path.glob("*.jpg")))
    page.goto(f"{stack.url}/assets/images_512px?view=partitions&partition={bucket}%7C2021")
    expect(page.get_by_text("contact_sheet").first).to_be_visible()
    page.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[src^='data:image/jpeg']").first
    expect(picture).to_be_visible()
    shoot(page, stack, "6-contact-sheet")
    assert picture.evaluate("image => image.naturalWidth") >= 128


def launch_from_page(page: Page, stack: Stack, picture: str, *, only_failed: bool = False) -> None:
    """Press *Materialize* for one bucket, or for what is failed and missing of all, and launch."""
    choose_release(page, stack, "original_images")
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Materialize").first.click()
    if only_failed:
        page.get_by_role("button", name="All", exact=True).first.click()
        page.get_by_text("Backfill only failed and missing partitions within selection").click()
        page.wait_for_timeout(1500)
    expect(page.get_by_role("button", name="Launch").last).to_be_enabled()
    shoot(page, stack, picture)
    page.get_by_role("button", name="Launch").last.click()
