"""The HTTP client: who we are, which hosts we talk to, and what an answer means for the whole run.

Redirects are never followed by the library; a location is used only when its host is one of ours. A host that says "not
you" stops the run: nothing it says about single posts can be believed then.
"""

import functools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Self
from urllib.request import getproxies

import httpx
import msgspec

from danbooru_pipeline.errors import SourceBlocked, SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch.breaker import NO_ANSWER, Breaker, blocked
from danbooru_pipeline.fetch.gil_turns import TurnsTransport
from danbooru_pipeline.fetch.rate_limiter import Pacer
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.fetch.slots import DownloadSlots
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings

TIMEOUT: Final = httpx.Timeout(30.0, connect=15.0)
#: A page of 200 records with all columns is about 1 MB; nothing honest is fifty times that.
MAX_JSON_BYTES: Final = 50 * 2**20
#: A body that drips never trips a read timeout, so the whole has a deadline.
JSON_DEADLINE_SECONDS: Final = 120.0
#: Every redirect there is; 300 and 304 name no other address.
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """One try of a JSON request.

    Attributes:
        status: None when no answer came.
        value: what the body says; None when it is not JSON.
        problem: why the answer cannot be used, whatever was asked for.
    """

    status: int | None
    value: Any = None
    problem: str = ""
    retry: bool = False
    throttled: bool = False
    retry_after: float | None = None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, in either of its forms; None without a usable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def is_throttled(response: httpx.Response) -> bool:
    """Whether a server asks for fewer requests. A 503 that names no time is an error like any other of its kind."""
    status = response.status_code
    return status == 429 or (status == 503 and "retry-after" in response.headers)


class BooruClient:
    """Requests to the hosts of the settings, paced and retried. Safe for threads; use it as a context manager.

    Args:
        settings: the operator's choices.
        json_seconds: deadline of one JSON body.
    """

    def __init__(self, settings: Settings, *, json_seconds: float = JSON_DEADLINE_SECONDS) -> None:
        settings.require_contact()
        self.settings = settings
        layout = Layout(settings.root)
        self.pacer = Pacer(settings.pace, record=layout.pace)
        self.slots = DownloadSlots([layout.download_slot(n) for n in range(settings.downloads)], pacer=self.pacer)
        self.policy = RetryPolicy(max_seconds=settings.retry_seconds)
        self._json_seconds = json_seconds
        self._breaker = Breaker()
        self._api_origin = _origin_of(settings.api_url)
        self._origins = frozenset({self._api_origin, _origin_of(settings.cdn_url)})
        self._auth = httpx.BasicAuth(settings.login, settings.api_key) if settings.login else None
        connections = settings.downloads + 2
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        # A proxy from the environment is right for the site and wrong for this machine.
        trust_env = not settings.on_loopback
        self._http = httpx.Client(
            headers={"User-Agent": settings.user_agent, "Accept-Encoding": "identity"},
            timeout=TIMEOUT,
            limits=limits,
            follow_redirects=False,
            trust_env=trust_env,
            transport=None if trust_env and getproxies() else TurnsTransport(limits=limits, trust_env=trust_env),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pacer.close()
        self._http.close()

    def resolve(self, url: str, *, base: str | httpx.URL) -> httpx.URL | None:
        """An address, absolute or relative to `base`; None when it is none, or not on one of the two hosts.

        The same library reads it here and sends it later, so that no two readings can differ.
        """
        try:
            absolute = _parsed(base).join(url) if isinstance(base, str) else base.join(url)
            return absolute if not absolute.userinfo and _origin_of(absolute) in self._origins else None
        except (httpx.InvalidURL, ValueError):
            return None

    @contextmanager
    def stream(self, url: str | httpx.URL, *, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        """Send one paced GET to one of our hosts and hand out its answer, the body unread.

        Raises:
            httpx.HTTPError: no answer came.
            SourceError: the host as a whole cannot be used.
        """
        address = httpx.URL(url)  # parsed once: that is a tenth of the CPU time of a small file
        origin = _origin_of(address)
        assert origin in self._origins, "callers check the host"
        request = self._http.build_request("GET", address, headers=dict(headers or {}))
        auth = self._auth if origin == self._api_origin else None
        sent = self.pacer.wait(origin)
        began = time.monotonic()
        try:
            response = self._http.send(request, stream=True, auth=auth)
        except httpx.HTTPError:
            self._note_trouble(origin, NO_ANSWER)
            raise
        self.pacer.note_answer(origin, time.monotonic() - began)
        try:
            self._note_answer(origin, response, sent)
            yield response
        finally:
            response.close()

    def get_json(self, path: str, params: Mapping[str, str | int], *, may_be_refused: bool = False) -> JsonAnswer:
        """GET a path of the API host, retried by the policy.

        Args:
            path: on the API host.
            params: of the query.
            may_be_refused: whether a 401 or 403 may concern this path alone, and says nothing of us.

        Returns:
            An answer whose status the caller has to judge: a 404 may be what it wants to know.

        Raises:
            SourceUnreachable: no answer through all tries.
            SourceBlocked: the host refuses us.
            SourceUnusable: answers, but none that can be used.
        """
        url = f"{self.settings.api_url}{path}?{httpx.QueryParams(dict(params))}"
        answer, tries = self.policy.run(
            lambda: self._try_json(url, may_be_refused=may_be_refused), pause=self.pacer.pause
        )
        if not answer.problem:
            return answer
        if answer.status is None:
            raise SourceUnreachable(
                f"{self.settings.api_url} gives no answer ({answer.problem}, {tries} tries); "
                "check DANBOORU_API_URL and the network, then run again",
            )
        raise SourceUnusable(
            f"{self.settings.api_url}{path} answers {answer.problem} ({tries} tries); check DANBOORU_API_URL, or try "
            "again later: what was done so far is kept",
        )

    def _try_json(self, url: str, *, may_be_refused: bool) -> JsonAnswer:
        deadline = time.monotonic() + self._json_seconds
        try:
            # A sweep is tens of gigabytes of JSON, a fifth of that when packed.
            with self.stream(url, headers={"Accept-Encoding": "gzip"}) as response:
                status = response.status_code
                if status == 429 or (status >= 500 and status != 501):
                    return JsonAnswer(
                        status=status,
                        problem=f"HTTP {status}",
                        retry=True,
                        throttled=is_throttled(response),
                        retry_after=retry_after_seconds(response.headers),
                    )
                if status in {401, 403} and may_be_refused:
                    return JsonAnswer(status=status, problem=f"HTTP {status}")
                if status in {401, 403}:
                    raise SourceBlocked(
                        f"{self.settings.api_url} refuses us (HTTP {status}); check DANBOORU_LOGIN, DANBOORU_API_KEY "
                        "and DANBOORU_CONTACT, and ask the site's staff before trying again",
                    )
                return _read_json(response, deadline)
        except httpx.HTTPError as error:
            return JsonAnswer(status=None, problem=type(error).__name__, retry=True)

    def _note_answer(self, origin: str, response: httpx.Response, sent: float) -> None:
        """Let the pace and the whole run learn from an answer."""
        status = response.status_code
        if is_throttled(response):
            self.pacer.slow_down(origin, retry_after_seconds(response.headers), sent=sent)
        self._note_trouble(origin, status)
        if status in {401, 403} and "cf-mitigated" in response.headers:
            raise blocked(origin, status)

    def _note_trouble(self, origin: str, status: int) -> None:
        share = self._breaker.note(origin, status)
        if share:
            self.pacer.slow_down(origin, share * self.settings.retry_seconds)


def _read_json(response: httpx.Response, deadline: float) -> JsonAnswer:
    status = response.status_code
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        # Of these two, a piece of the network's size cannot grow a thousandfold before the limit is seen.
        return JsonAnswer(status=status, problem=f"HTTP {status} in an encoding that was not asked for")
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            return JsonAnswer(status=status, problem=f"HTTP {status} with far too many bytes")
        if time.monotonic() > deadline:
            return JsonAnswer(status=status, problem=f"HTTP {status} too slowly", retry=True)
    try:
        return JsonAnswer(status=status, value=msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        is_bad = 200 <= status < 300  # else the status alone says enough
        problem = f"HTTP {status} with something that is not JSON" if is_bad else ""
        return JsonAnswer(status=status, problem=problem, retry=is_bad)


#: Addresses of the settings, which all others are relative to.
_parsed = functools.lru_cache(maxsize=16)(httpx.URL)


def _origin_of(url: str | httpx.URL) -> str:
    """Scheme, host and port of an address."""
    parts = httpx.URL(url) if isinstance(url, str) else url
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.host}:{port}"
