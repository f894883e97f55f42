"""What errors of Google's clients mean: what passes, what a later run would meet as well, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import requests
from google.api_core.exceptions import (
    BadGateway,
    BadRequest,
    FailedPrecondition,
    Forbidden,
    GatewayTimeout,
    GoogleAPIError,
    InternalServerError,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    Unknown,
)
from google.auth.exceptions import GoogleAuthError, TransportError

from danbooru_pipeline.errors import SourceBlocked, SourceError, SourceUnreachable, SourceUnusable
from danbooru_pipeline.fetch.client import retry_after_seconds

#: What reading takes: a session in the project that is billed, and the rows of the table.
_RIGHTS: Final = ("bigquery.readsessions.create", "bigquery.tables.get", "bigquery.tables.getData")
_LOGIN: Final = "run gcloud auth application-default login"
#: What a client raises of an answer, or of a connection.
FAILURES: Final = (GoogleAPIError, GoogleAuthError, OSError)
#: What it raises of an answer that it, or we, cannot understand; those of `requests` are failures as well.
MISUNDERSTOOD: Final = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError)
MISUNDERSTOOD_BODY: Final = (requests.exceptions.JSONDecodeError, requests.exceptions.ContentDecodingError)
#: An INTERNAL error of these is a connection that ended, or a service in trouble; of data that is lost it is neither.
_OF_THE_SERVICE: Final = (ServiceUnavailable, InternalServerError, BadGateway, GatewayTimeout, Unknown)
#: A certificate that is refused is one of these, too, and does not pass.
_OF_THE_NETWORK: Final = (
    *(requests.exceptions.ConnectionError, requests.exceptions.Timeout, requests.exceptions.ChunkedEncodingError),
    *(ConnectionError, TimeoutError, TransportError),
)
_RATE: Final = "rateLimitExceeded"
_QUOTA: Final = "quotaExceeded"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an error means.

    Attributes:
        what: happened, for people.
        way_out: what to do about it if it lasts.
        passes: whether another attempt within minutes may succeed.
        asked: seconds that the service asks to wait.
        lasting: what a later run would meet as well.
    """

    what: str
    way_out: str = "run again"
    passes: bool = False
    asked: float | None = None
    lasting: SourceError | None = None

    def error(self, met: str, *, waited: str = "") -> SourceError:
        """The error to raise.

        Args:
            met: what was tried, as in "BigQuery does not answer".
            waited: how long, for one that passes.
        """
        return self.lasting or SourceUnreachable(f"{met} ({self.what}{waited}); {self.way_out}")


def trouble_of(error: Exception) -> Trouble:
    """What an error of a client means."""
    said, reason = in_a_line(getattr(error, "message", error)), _reason(error)
    if isinstance(error, ResourceExhausted) or reason == _QUOTA:
        asked = _asked(error)
        way_out = "run again when it is filled up again, or bill another project (gcloud config set project)"
        return Trouble(f"a quota is used up: {said}", way_out, passes=asked is not None, asked=asked)
    if isinstance(error, TooManyRequests) or reason == _RATE:
        way_out = "run again later, or set a longer DANBOORU_RETRY_SECONDS"
        return Trouble(f"it limits the rate of requests: {said}", way_out, passes=True, asked=_asked(error))
    lasting = _refusal(error, said)
    return Trouble(said, lasting=lasting) if lasting is not None else _failure(error, said)


def _failure(error: Exception, said: str) -> Trouble:
    """What an error means that is neither a limit nor a refusal."""
    if isinstance(error, requests.exceptions.SSLError):
        return Trouble(said, "check the certificates and the clock of this machine, then run again")
    if isinstance(error, _OF_THE_SERVICE):
        return Trouble(said, "look at https://status.cloud.google.com, then run again", passes=True)
    if isinstance(error, _OF_THE_NETWORK):
        return Trouble(said, "check the network, then run again", passes=True)
    if isinstance(error, OSError):  # as of a machine that has no project to bill
        return Trouble(said, "set what it names on this machine, then run again")
    return Trouble(said)


def _refusal(error: Exception, said: str) -> SourceError | None:
    """What an error says that a later run would meet as well; None for one that may pass."""
    if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
        return SourceBlocked(f"BigQuery needs credentials ({said}); {_LOGIN}")
    if isinstance(error, Unauthorized):
        return SourceBlocked(f"BigQuery does not accept our credentials ({said}); {_LOGIN}")
    if isinstance(error, Forbidden):
        return SourceBlocked(f"BigQuery refuses us ({said}); check the project and its rights ({', '.join(_RIGHTS)})")
    if isinstance(error, NotFound):
        return SourceUnusable(f"{said}; check DANBOORU_BIGQUERY_TABLES")
    if isinstance(error, BadRequest) and not isinstance(error, FailedPrecondition | OutOfRange):
        return SourceUnusable(f"BigQuery does not understand what we ask ({said}); check DANBOORU_BIGQUERY_TABLES")
    return None


def misunderstood(server: str, what: str, why: object) -> SourceUnusable:
    """An answer that is none of BigQuery's."""
    said = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else str(why)
    return SourceUnusable(
        f"what {server} sends of {what} cannot be understood ({in_a_line(said)}); run again, and if that does not "
        "help, check the address and what is between it and this machine, or take the data from another source"
    )


def in_a_line(said: object) -> str:
    """A text on one line."""
    return " ".join(str(said).split())


def _reason(error: Exception) -> str:
    """The reason that the REST API gives: one word."""
    errors = getattr(error, "errors", None)
    first = errors[0] if isinstance(errors, list | tuple) and errors else None
    return str(first.get("reason", "")) if isinstance(first, dict) else ""


def _asked(error: Exception) -> float | None:
    """Seconds after which the service wants to be asked again, where it says so."""
    for detail in getattr(error, "details", None) or ():
        delay = getattr(detail, "retry_delay", None)  # of a RetryInfo
        if delay is not None:
            return float(delay.seconds) + float(delay.nanos) / 1e9
    headers = getattr(getattr(error, "response", None), "headers", None)
    return retry_after_seconds(headers) if isinstance(headers, Mapping) else None
