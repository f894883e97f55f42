"""Start the demo booru in its own process and control it; used by the demo command and the tests.

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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

_START_ERROR = "the demo booru did not start; its error is above, or run python -m danbooru_pipeline.demo to see it"


@dataclass(frozen=True, slots=True)
class BooruProcess:
    """A running demo booru.

    Attributes:
        api_url: address of the API, without a slash at the end.
        cdn_url: address of the CDN.
        pid: process id.
        bigquery: REST and gRPC address of the embedded BigQuery; both empty if it is not served.
    """

    api_url: str
    cdn_url: str
    pid: int
    bigquery: tuple[str, str]
    _client: httpx.Client

    def set_year(self, year: int) -> None:
        """Switch the site to a year. Creates that year's files first if they do not exist yet."""
        self._control("PUT", "year", body={"year": year})

    def set_clock(self, moment: datetime) -> None:
        """Switch the site to a moment of its history, an aware datetime; see `site.history`."""
        self._control("PUT", "clock", body={"time": moment.isoformat()})

    def set_date(self, moment: datetime) -> None:
        """Let answers be dated from a moment on, an aware datetime; without it they have the time of this machine."""
        self._control("PUT", "date", body={"ahead": (moment - datetime.now(UTC)).total_seconds()})

    def change(self, post_id: int, kind: str, *, revision: int | None = None) -> None:
        """Let something happen to a post at the moment that the site is at; an event of the site tells of it.

        Args:
            post_id: of a post that the site has.
            kind: a name of `site.history.ChangeKind`, like replaced or banned.
            revision: of the new file of a replaced post; 0 is its first one.

        Raises:
            ValueError: there is no such post, or no such kind.
        """
        self._control("PUT", "change", body={"id": post_id, "kind": kind, "revision": revision})

    def forget_changes(self) -> None:
        """Undo what `change` did."""
        self._control("DELETE", "change")

    def requests(self) -> dict[str, int]:
        """Requests since the last reset, by kind.

        The kinds are posts, post, tags, pools, post_events, post_replacements, counts, other, files, throttled,
        forbidden and unauthorized.
        """
        counts: dict[str, int] = self._get("requests")["counts"]
        return counts

    def requested_files(self) -> list[str]:
        """Paths requested from the CDN since the last reset, in order, with repetitions."""
        files: list[str] = self._get("requests")["files"]
        return files

    def reset_requests(self) -> None:
        """Reset the request counters."""
        self._control("DELETE", "requests")

    def set_fault(self, path_or_md5: str, fault: str) -> None:
        """Enable a fault (see `site.faults`) for a file, by URL, path or MD5, or for the key ``posts``.

        Raises:
            ValueError: the fault is unknown.
        """
        key = urlsplit(path_or_md5).path if "://" in path_or_md5 else path_or_md5
        self._control("PUT", "fault", body={"key": key, "fault": fault})

    def clear_faults(self) -> None:
        """Disable all faults."""
        self._control("DELETE", "fault")

    def truth(self, year: int, *, expunged: bool = False) -> list[dict[str, Any]]:
        """All posts as of a year, as the API would return them, by ascending id.

        Args:
            year: any year, not only the one the site is at.
            expunged: include posts that existed in an earlier year and were expunged, as last seen.
        """
        records: list[dict[str, Any]] = self._get("truth", year=year, expunged=int(expunged))
        return records

    def kinds(self, year: int) -> dict[str, list[int]]:
        """Post ids by kind of file (see `art.kinds.Kind`) and by role.

        The roles are restricted, banned, deleted, wrong_md5 and replaced.
        """
        found: dict[str, list[int]] = self._get("kinds", year=year)
        return found

    def _get(self, name: str, **params: int) -> Any:
        return self._client.get(f"/demo/{name}", params=params).raise_for_status().json()

    def _control(self, method: str, name: str, *, body: dict[str, Any] | None = None) -> None:
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
        posts: number of posts at the end of 2021; each later year adds a quarter of that.
        year: show the site as of this year, that is, in the following January.
        files: folder for the files; a later start reuses them.
        rate_limit: whether the API refuses more than ten requests per second, as the real one does.
        seed: a different seed gives a different world.
        bigquery: whether its tables are also served as the public BigQuery mirror does.
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
