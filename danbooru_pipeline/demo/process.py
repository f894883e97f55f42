"""Start the demo booru as a process of its own, and steer it: what the demo command and the tests use.

::

    with start_booru(posts=40, year=2021, files=folder) as booru:
        booru.set_fault("posts", "error_once")
        httpx.get(f"{booru.api_url}/posts.json", headers={"User-Agent": "mine/1 (me@example.org)"})
        booru.requests()  # {"posts": 1}
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

_START_ERROR = "the demo booru did not start; its own message is above, run python -m danbooru_pipeline.demo to see it"


@dataclass(frozen=True, slots=True)
class BooruProcess:
    """A running demo booru.

    Attributes:
        api_url: address of the API, without a slash at the end.
        cdn_url: address of the CDN.
        pid: process id.
        bigquery: REST and gRPC address of its tables in the embedded BigQuery; empty when it is not served.
    """

    api_url: str
    cdn_url: str
    pid: int
    bigquery: tuple[str, str]
    _client: httpx.Client

    def set_year(self, year: int) -> None:
        """Show the site as of a year from now on. Makes that year's files first, if they are not there yet."""
        self._control("PUT", "year", {"year": year})

    def requests(self) -> dict[str, int]:
        """Requests since the last reset, by kind.

        The kinds are posts, post, tags, pools, counts, other, files, throttled, forbidden and unauthorized.
        """
        counts: dict[str, int] = self._get("requests")["counts"]
        return counts

    def requested_files(self) -> list[str]:
        """Paths that the CDN was asked for since the last reset, in order, repeated ones repeated."""
        files: list[str] = self._get("requests")["files"]
        return files

    def reset_requests(self) -> None:
        """Count from zero again."""
        self._control("DELETE", "requests")

    def set_fault(self, path_or_md5: str, fault: str) -> None:
        """Switch on a fault (see `demo.faults`) for a file, by URL, path or MD5, or for the key ``posts``.

        Raises:
            ValueError: there is no such fault.
        """
        key = urlsplit(path_or_md5).path if "://" in path_or_md5 else path_or_md5
        self._control("PUT", "fault", {"key": key, "fault": fault})

    def clear_faults(self) -> None:
        """Switch all faults off."""
        self._control("DELETE", "fault")

    def truth(self, year: int, *, expunged: bool = False) -> list[dict[str, Any]]:
        """All posts as of a year as the API would show them, by ascending id.

        Args:
            year: any year; it need not be the one that is shown.
            expunged: with those that were there in an earlier year and are gone, as they were when last seen.
        """
        records: list[dict[str, Any]] = self._get("truth", year=year, expunged=int(expunged))
        return records

    def kinds(self, year: int) -> dict[str, list[int]]:
        """Ids by kind of file (see `demo.world.Kind`) and by role.

        The roles are restricted, banned, deleted, wrong_md5 and replaced.
        """
        found: dict[str, list[int]] = self._get("kinds", year=year)
        return found

    def _get(self, name: str, **params: int) -> Any:
        return self._client.get(f"/demo/{name}", params=params).raise_for_status().json()

    def _control(self, method: str, name: str, body: dict[str, Any] | None = None) -> None:
        response = self._client.request(method, f"/demo/{name}", json=body)
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise ValueError(response.json()["message"])
        response.raise_for_status()


@contextlib.contextmanager
def start_booru(
    *, posts: int, year: int, files: Path, rate_limit: bool = True, seed: int = 0, bigquery: bool = False
) -> Iterator[BooruProcess]:
    """Run a booru until the block ends.

    Args:
        posts: how many posts 2021 ends with; each later year adds a quarter of that.
        year: show the site as of this year, which is in the January after it.
        files: folder for the files; a later start finds them there.
        rate_limit: whether the API refuses more than ten requests a second, as the real one does.
        seed: another seed, another world.
        bigquery: whether its tables are also served as the mirror in BigQuery does.
    """
    command = [sys.executable, "-m", "danbooru_pipeline.demo", "--exit-with-stdin", "--files", str(files)]
    command += ["--posts", str(posts), "--year", str(year), "--seed", str(seed)]
    command += [] if rate_limit else ["--no-rate-limit"]
    command += ["--bigquery"] if bigquery else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise RuntimeError(_START_ERROR)
            urls = json.loads(line)
            # A new year of a full-size world takes half a minute to draw.
            with httpx.Client(base_url=urls["api_url"], timeout=300, trust_env=False) as client:
                mirror = (urls.get("bigquery_rest", ""), urls.get("bigquery_grpc", ""))
                yield BooruProcess(urls["api_url"], urls["cdn_url"], process.pid, mirror, client)
        finally:
            process.terminate()
