"""The HTTP client: who we are, which hosts we talk to, and what a response means for the whole run.

The library never follows redirects; a location is used only if its host is one of the two we are configured for.
Credentials go to API paths that are built here, never to an address that a record names, and cookies are not kept. A
host that refuses us as a client stops the run: nothing it says about single posts can be believed then.
"""

import codecs
import contextlib
import functools
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Self

import httpx

from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch.breaker import NO_ANSWER, CircuitBreaker, blocked
from danbooru_pipeline.fetch.connections import TurnsTransport, limit_body
from danbooru_pipeline.fetch.content_encoding import UndecodableError, gunzipped
from danbooru_pipeline.fetch.environment import DEFAULT_PORTS, check_proxies
from danbooru_pipeline.fetch.rate_limiter import RateLimiter
from danbooru_pipeline.fetch.retry import RetryPolicy
from danbooru_pipeline.fetch.site_clock import CLOCK_SECONDS, is_before, is_off, seconds_ahead
from danbooru_pipeline.fetch.slots import DownloadSlots
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.unstorable import read_document
from danbooru_pipeline.settings import Settings

TIMEOUT: Final = httpx.Timeout(30.0, connect=15.0)
#: A page of 200 records with all columns is about 1 MB; no honest page is fifty times that.
MAX_JSON_BYTES: Final = 50 * 2**20
#: A drip-fed body never trips a read timeout, so the whole body has a deadline.
JSON_DEADLINE_SECONDS: Final = 120.0
#: All redirects; 300 and 304 name no new address.
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """The result of one attempt at a JSON request.

    Attributes:
        status: None without a response.
        value: the decoded body; None if it is not JSON. Records that cannot be stored are `UnstorableRecord`.
        problem: why the response is unusable for any request; empty if it is usable.
        retry: whether another attempt may succeed.
        throttled: whether the server asked us to slow down.
        retry_after: seconds the server asks us to wait.
    """

    status: int | None
    value: Any = None
    problem: str = ""
    retry: bool = False
    throttled: bool = False
    retry_after: float | None = None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, in either form; None without a usable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def is_throttled(response: httpx.Response) -> bool:
    """Whether the server asks us to slow down: a 429, or a 503 with Retry-After. Any other 503 is a plain error."""
    status = response.status_code
    return status == 429 or (status == 503 and "retry-after" in response.headers)


def is_passing(status: int) -> bool:
    """Whether the same request may succeed later, on another connection."""
    return status in {408, 421, 425, 429} or status >= 500


def announced_bytes(response: httpx.Response) -> int:
    """Content-Length of a body; 0 without one, or if it comes in chunks, whose lengths alone count."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and "transfer-encoding" not in response.headers else 0


def problem_of(error: httpx.HTTPError) -> str:
    """What went wrong, in a few words; of a certificate that is refused, why."""
    refused = _refused_certificate(error)
    if refused is not None:
        return f"its certificate is refused: {refused.verify_message}"
    name, text = type(error).__name__, str(error)
    return f"{name}: {text}" if text and isinstance(error, httpx.ProxyError | httpx.RemoteProtocolError) else name


def _refused_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The error of TLS below one of the library's; None if it is another one."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def is_lasting(error: httpx.HTTPError) -> bool:
    """Whether the next attempt would fail in the same way."""
    return _refused_certificate(error) is not None


def has_known_end(response: httpx.Response) -> bool:
    """Whether the end of a body is declared, by length or by chunks, so that the library notices a truncated one."""
    return "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "").lower()


class BooruClient:
    """Sends rate-limited and retried requests to the two configured hosts. Thread-safe; use it as a context manager.

    Args:
        settings: the operator's choices.
        json_seconds: deadline of one JSON body.
    """

    def __init__(self, settings: Settings, *, json_seconds: float = JSON_DEADLINE_SECONDS) -> None:
        settings.require_contact()
        self.settings = settings
        layout = Layout(settings.root)
        self.limiter = RateLimiter(settings.pace, record=layout.pace)
        self.slots = DownloadSlots([layout.download_slot(n) for n in range(settings.downloads)], limiter=self.limiter)
        self.policy = RetryPolicy(max_seconds=settings.retry_seconds)
        self._json_seconds = json_seconds
        self._ahead: float | None = None
        self._breaker = CircuitBreaker()
        self._api_origin = _origin_of(settings.api_url)
        self._origins = frozenset({self._api_origin, _origin_of(settings.cdn_url)})
        self._auth = httpx.BasicAuth(settings.login, settings.api_key) if settings.login else None
        self._headers = {"User-Agent": settings.user_agent, "Accept-Encoding": "identity"}
        # A proxy from the environment is meant for the site, not for loopback hosts.
        trust_env = not settings.on_loopback
        if trust_env:
            check_proxies(settings.api_url, settings.cdn_url)
        self._transport = TurnsTransport(trust_env=trust_env, timeout=TIMEOUT)
        self._http = httpx.Client(
            headers=self._headers,
            timeout=TIMEOUT,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # a session is as good as a key
            follow_redirects=False,
            trust_env=False,  # the transport itself looks at it
            transport=self._transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.limiter.close()
        self._http.close()

    def resolve(self, url: str, *, base: str | httpx.URL) -> httpx.URL | None:
        """Resolve an address against `base`; None if it is invalid or not on one of the two hosts.

        The library that parses it here is the one that sends it later, so the two cannot read it differently.
        """
        try:
            absolute = _parsed(base).join(url) if isinstance(base, str) else base.join(url)
            return absolute if not absolute.userinfo and _origin_of(absolute) in self._origins else None
        except (httpx.InvalidURL, ValueError):
            return None

    @contextlib.contextmanager
    def stream(
        self,
        url: str | httpx.URL,
        *,
        headers: Mapping[str, str] | None = None,
        as_account: bool = False,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> Iterator[httpx.Response]:
        """Send one rate-limited GET to one of the two hosts and yield its response, the body unread.

        Args:
            url: on one of the two hosts.
            headers: besides those of every request.
            as_account: send our credentials. Never for an address that comes from a record or a redirect.
            timeout: of connection and head.

        Raises:
            httpx.HTTPError: no response.
            SourceError: the host as a whole cannot be used.
        """
        address = httpx.URL(url)  # parsed once: it is a tenth of a small file's CPU time
        origin = _origin_of(address)
        assert origin in self._origins, "callers check the host first"
        auth = self._auth if as_account and origin == self._api_origin else None
        sent = self.limiter.wait(origin)
        began = time.monotonic()
        try:
            response = self._send(address, dict(headers or {}), auth=auth, timeout=timeout)
        except httpx.HTTPError as error:
            self._record_status(origin, NO_ANSWER, problem=problem_of(error))
            raise
        self.limiter.note_answer(origin, time.monotonic() - began)
        try:
            self._record_response(origin, response, sent=sent)
            yield response
        finally:
            response.close()

    def seconds_ahead(self, *, patient: bool = True) -> float | None:
        """How far this machine's clock is ahead of the site's; None when nobody knows.

        An answer of the API that has the right time is enough, whenever it came. Else the site is asked once, past
        caches: a clock is wrong only if that answer says so, and a site that cannot be asked says nothing about it.

        Args:
            patient: also ask a site that wants to be left alone for a while, once that is over.
        """
        if self._ahead is None or is_off(self._ahead):
            waits = not patient and self.limiter.is_paused(self._api_origin)
            self._ahead = None if waits else self._ask_the_time()
        return self._ahead

    def _ask_the_time(self) -> float | None:
        """By the answer to one short question that no cache has; None unless it is a booru's."""
        url = f"{self.settings.api_url}/posts.json?limit=1&_={time.time_ns()}"
        headers, timeout = {"Cache-Control": "no-cache"}, httpx.Timeout(CLOCK_SECONDS)
        try:
            with self.stream(url, headers=headers, as_account=True, timeout=timeout) as response:
                limit_body(response, time.monotonic() + CLOCK_SECONDS)
                ahead, answer = seconds_ahead(response.headers), _read_json(response)
        except (httpx.HTTPError, SourceError):
            return None
        is_a_boorus = answer.status == 200 and isinstance(answer.value, list)
        return None if ahead is None or not is_a_boorus or is_before(ahead, answer.value) else ahead

    def _send(
        self, url: httpx.URL, headers: dict[str, str], *, auth: httpx.BasicAuth | None, timeout: httpx.Timeout
    ) -> httpx.Response:
        if auth is None and timeout is TIMEOUT:
            return self._transport.get(url, self._headers | headers)
        request = self._http.build_request("GET", url, headers=headers, timeout=timeout)
        return self._http.send(request, stream=True, auth=auth)

    def get_json(self, path: str, params: Mapping[str, str | int], *, may_be_refused: bool = False) -> JsonAnswer:
        """GET a path of the API host, with retries.

        Args:
            path: on the API host.
            params: of the query.
            may_be_refused: whether a 401 or 403 may be about this path alone instead of about us.

        Returns:
            An answer whose status the caller has to judge: a 404 may be what it wants to know.

        Raises:
            SourceUnreachable: no attempt got a response.
            SourceBlocked: the host refuses us.
            SourceUnusable: no response was usable.
        """
        url = f"{self.settings.api_url}{path}?{httpx.QueryParams(dict(params))}"
        answer, attempts = self.policy.run(
            lambda: self._try_json(url, may_be_refused=may_be_refused), pause=self.limiter.pause
        )
        if not answer.problem:
            return answer
        if answer.status is None:
            raise SourceUnreachable(
                f"{self.settings.api_url} does not respond ({answer.problem}, {attempts} attempts); "
                "check DANBOORU_API_URL and the network, then run again",
            )
        raise SourceUnusable(
            f"{self.settings.api_url}{path} answers {answer.problem} ({attempts} attempts); check DANBOORU_API_URL, or "
            "try again later: the work done so far is kept",
        )

    def put_form(self, path: str, form: Mapping[str, str]) -> JsonAnswer:
        """PUT a form to a path of the API host with our account, once: whoever changes a site looks before repeating.

        Raises:
            SourceUnusable: there is no account.
            SourceBlocked: the host refuses us as a client with a challenge page.
        """
        if self._auth is None:
            raise SourceUnusable("a change of the site needs an account; set DANBOORU_LOGIN and DANBOORU_API_KEY")
        sent = self.limiter.wait(self._api_origin)
        request = self._http.build_request("PUT", f"{self.settings.api_url}{path}", data=dict(form))
        try:
            response = self._http.send(request, auth=self._auth, stream=True)
        except httpx.HTTPError as error:
            self._record_status(self._api_origin, NO_ANSWER, problem=problem_of(error))
            return JsonAnswer(status=None, problem=problem_of(error))
        try:
            self._record_response(self._api_origin, response, sent=sent)
            if response.is_success:
                return JsonAnswer(status=response.status_code)
            return JsonAnswer(status=response.status_code, problem=f"HTTP {response.status_code}")
        finally:
            response.close()

    def _try_json(self, url: str, *, may_be_refused: bool) -> JsonAnswer:
        deadline = time.monotonic() + self._json_seconds
        try:
            # A sweep is tens of gigabytes of JSON, a fifth of that compressed.
            with self.stream(url, headers={"Accept-Encoding": "gzip"}, as_account=True) as response:
                status = response.status_code
                if is_passing(status) and status != 501:
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
                limit_body(response, deadline)
                return _read_json(response)
        except httpx.HTTPError as error:
            return JsonAnswer(status=None, problem=problem_of(error), retry=not is_lasting(error))

    def _record_response(self, origin: str, response: httpx.Response, *, sent: float) -> None:
        """Tell the rate limiter and the circuit breaker about a response; a challenge page stops the run at once."""
        status = response.status_code
        if origin == self._api_origin and (ahead := seconds_ahead(response.headers)) is not None:
            self._ahead = ahead
        if is_throttled(response):
            self.limiter.slow_down(origin, retry_after_seconds(response.headers), sent=sent)
        self._record_status(origin, status)
        if status in {401, 403} and "cf-mitigated" in response.headers:
            raise blocked(origin, status)

    def _record_status(self, origin: str, status: int, *, problem: str = "") -> None:
        share = self._breaker.record(origin, status, problem=problem)
        if share:
            self.limiter.slow_down(origin, share * self.settings.retry_seconds)


def _read_json(response: httpx.Response) -> JsonAnswer:
    status = response.status_code
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        return JsonAnswer(status=status, problem=f"HTTP {status} in an encoding we did not request")
    body = bytearray()
    try:
        for chunk in gunzipped(response.iter_raw()) if encoding == "gzip" else response.iter_raw():
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                return JsonAnswer(status=status, problem=f"HTTP {status} with far too many bytes")
    except UndecodableError as error:
        return JsonAnswer(status=status, problem=f"HTTP {status} with a body that is not gzip: {error}", retry=True)
    except httpx.ReadTimeout:
        return JsonAnswer(status=status, problem=f"HTTP {status} too slowly", retry=True)
    try:
        return JsonAnswer(status=status, value=read_document(body.removeprefix(codecs.BOM_UTF8)))
    except ValueError:
        is_bad = 200 <= status < 300  # otherwise the status says enough
        problem = f"HTTP {status} with a body that is not JSON" if is_bad else ""
        return JsonAnswer(status=status, problem=problem, retry=is_bad)


#: The base addresses come from the settings, so there are few.
_parsed = functools.lru_cache(maxsize=16)(httpx.URL)


def _origin_of(url: str | httpx.URL) -> str:
    """Scheme, host and port of an address, the port always given."""
    parts = httpx.URL(url) if isinstance(url, str) else url
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.host}:{port}"
