"""The page `browse/`: code of others is as its authors published it, ours asks nobody and makes no markup of texts."""

import hashlib
import json
import re

import pytest

from danbooru_pipeline.release.documents.browser import PAGE_FILES, page_names

VENDOR = PAGE_FILES / "vendor"
OURS = [name for name in page_names() if not name.startswith("vendor/")]


def test_vendored_code_is_what_its_hash_says() -> None:
    """Every file below vendor/ is listed with its hash, its package has a version, a hash and a licence beside it."""
    packages = json.loads((VENDOR / "vendored.json").read_text())
    listed = {f"vendor/{name}/{file}" for name, package in packages.items() for file in package["sha256"]}
    assert listed | {"vendor/vendored.json"} == {name for name in page_names() if name.startswith("vendor/")}
    for name, package in packages.items():
        assert package["package_integrity"].startswith("sha512-")
        assert (VENDOR / name / "LICENSE").read_text().strip()
        for file, sha256 in package["sha256"].items():
            assert hashlib.sha256((VENDOR / name / file).read_bytes()).hexdigest() == sha256


@pytest.mark.parametrize("name", OURS)
def test_page_asks_nobody_and_makes_no_markup(name: str) -> None:
    """No address but the site's, which is only linked to; no way for a text to become markup or code."""
    text = (PAGE_FILES / name).read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text)) - {"github.com"}
    assert hosts <= ({"danbooru.donmai.us"} if name == "post.js" else set())
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert text.count("\n") <= 400


def test_policy_allows_the_page_itself_alone() -> None:
    """The policy in its head lets it load from where it is, and nothing inline."""
    text = (PAGE_FILES / "index.html").read_text()
    assert "default-src 'none'" in text
    assert "unsafe" not in text
    assert "<style" not in text
    assert re.findall(r"<script[^>]*>", text) == ['<script type="module" src="main.js">']
