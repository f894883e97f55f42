"""Debian's Chromium on pages of a release, and web servers that hosts of releases have: with ranges and without."""

import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from danbooru_pipeline.consume.browse import serving_release
from danbooru_pipeline_tests.support.web import Server

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def page_of(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page that may say nothing on its console, and whose errors are errors of the test."""
    page = browser.new_page(**options)
    page.set_default_timeout(60_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert said == []


@contextmanager
def browse_of(release: Path) -> Iterator[str]:
    """The address of the page, served by `danbooru-pipeline browse`."""
    with serving_release(release, port=0) as server, _in_background(server):
        yield server.url


class _Quiet(SimpleHTTPRequestHandler):
    """Python's own file server, which knows no ranges."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@contextmanager
def without_ranges(release: Path) -> Iterator[str]:
    """The address of the page on a host that sends whole files."""
    handler = functools.partial(_Quiet, directory=str(release))
    with Server(("127.0.0.1", 0), handler) as server, _in_background(server):
        yield f"http://127.0.0.1:{server.server_address[1]}/browse/"


@contextmanager
def _in_background(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
