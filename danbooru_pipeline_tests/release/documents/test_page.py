"""The page in a real browser: the numbers without a script, nothing asked of anybody, and fit for a phone."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *(
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=2000",
        "--enable-logging=stderr",
        "--v=0",
    ),
)


def browse(address: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in Chromium with a profile of its own and no way out of this machine."""
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *options, address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


@pytest.fixture
def page(releases: Layout) -> Path:
    """The page of the newest release."""
    return releases.release(2022) / "index.html"


def test_page_has_the_numbers_as_text(page: Path, releases: Layout) -> None:
    """Headline numbers, all earlier years, plots and samples are there as they are, and there is no script."""
    text = page.read_text()
    release = read_release(releases.release(2022))
    for value in (release.counts.posts, release.counts.originals, release.counts.tag_instances, release.last_id):
        assert f"<dd>{value:,}</dd>" in text
    for year in range(2017, 2022):
        assert f"Danbooru{year}, the original" in text
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/ld+json">']  # data
    assert text.count("<svg") >= 8
    assert text.count("data:image/jpeg;base64,") >= 10


def test_page_names_nothing_outside_of_the_release(page: Path) -> None:
    """Every address in it is a file beside it, or data; the policy in its head forbids the rest."""
    text = page.read_text()
    for address in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert address.startswith("data:") or (page.parent / address).exists(), address
    assert "default-src 'none'" in text
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_browser_asks_nobody_and_complains_of_nothing(page: Path, tmp_path: Path, width: int) -> None:
    """Chromium's own network log has no request but that for the page; the console stays empty; the page fits."""
    shutil.copytree(page.parent, tmp_path / "release", copy_function=shutil.copy)
    copy = tmp_path / "release/index.html"
    probe = (
        "<script>document.title = document.documentElement.scrollWidth + ' ' + innerWidth + ' ' + "
        "[...document.images].filter(i => i.naturalWidth).length + ' ' + document.images.length</script>"
    )
    copy.chmod(0o644)
    text = copy.read_text()
    # The test's own script measures the page; the page's policy forbids it, as it forbids everybody's.
    policy = re.search(r"<meta http-equiv.*?>", text)
    assert policy
    copy.write_text(text.replace(policy[0], "").replace("</body>", f"{probe}</body>"))
    measured = browse(copy.as_uri(), tmp_path / "one", f"--window-size={width},900", "--dump-dom")
    title = re.search(r"<title>(\d+) (\d+) (\d+) (\d+)</title>", measured.stdout)
    assert title, measured.stdout[:500]
    wide, inner, loaded, all_images = map(int, title.groups())
    assert wide <= inner
    assert loaded == all_images > 0
    seen = browse(page.as_uri(), tmp_path / "two", f"--window-size={width},900", f"--log-net-log={tmp_path / 'page'}")
    assert "CONSOLE" not in seen.stderr
    browse("about:blank", tmp_path / "three", f"--log-net-log={tmp_path / 'blank'}")
    assert hosts(tmp_path / "page") <= hosts(tmp_path / "blank") | BROWSER


#: What the browser itself looks for, whatever page it shows; which of them in one run is chance.
BROWSER = frozenset({"clients2.google.com", "update.googleapis.com", "accounts.google.com", "redirector.gvt1.com"})


def hosts(log: Path) -> set[str]:
    """Hosts that anything was asked of, by the browser's log of its network."""
    return {host.split(":")[0] for host in re.findall(r'"url":"\w+://([^/"]+)', log.read_text(errors="replace"))}
