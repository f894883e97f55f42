"""This machine's clock against that of the site: what is decided by a wrong one cannot be told from the rest later."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.posts import parse_timestamp
from danbooru_pipeline.years import FIRST_YEAR_WITH_POSTS

#: A time further ahead of the clock than this is an error of whoever wrote it, and no reason to wait for it. A clock
#: that is further off the site's than this decides nothing.
CLOCK_SLACK: Final = timedelta(days=1)
#: A question about the time is not worth waiting longer for: a clock that nobody knows about is taken.
CLOCK_SECONDS: Final = 3.0


def believable_until(now: datetime) -> datetime:
    """From when on a time is an error of whoever wrote it."""
    return now + CLOCK_SLACK


def is_believable(at: datetime, *, now: datetime) -> bool:
    """Whether a time is none that has still to come, but for what clocks differ by."""
    return at < believable_until(now)


def seconds_ahead(headers: Mapping[str, str]) -> float | None:
    """How far this machine's clock is ahead of the one that dated an answer; None without a date that can be believed.

    An answer out of a cache is of a moment between its Date and that plus its Age (RFC 9111).
    """
    try:
        dated = parsedate_to_datetime(headers.get("date", ""))
        said = (dated if dated.tzinfo is not None else dated.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    if dated.year < FIRST_YEAR_WITH_POSTS:  # a clock that was never set
        return None
    age = headers.get("age", "").strip()
    now = time.time()
    return min(0.0, now - said) + max(0.0, now - said - (float(age) if age.isascii() and age.isdigit() else 0.0))


def is_off(ahead: float) -> bool:
    """Whether a clock is further off the site's than clocks differ by."""
    return abs(ahead) > CLOCK_SLACK.total_seconds()


def is_before(ahead: float, records: Iterable[object]) -> bool:
    """Whether a post of the site is of later than what the site says it is: then its clock is the wrong one."""
    for record in records:
        try:
            at = parse_timestamp(record["created_at"] if isinstance(record, Mapping) else None)
        except (KeyError, ValueError):
            continue
        if at.timestamp() > time.time() - ahead + CLOCK_SLACK.total_seconds():
            return True
    return False


def off_line(ahead: float) -> str:
    """What is wrong with a clock, and what to do about it."""
    return f"{abs(ahead):.0f} s off the site's; set it, preferably by NTP"


def wrong_clock(ahead: float | None) -> str | None:
    """What is wrong with a clock, in one line; None where nothing is, or the site does not say.

    Args:
        ahead: by how many seconds it is ahead of the site's.
    """
    return f"the clock of this machine is {off_line(ahead)}" if ahead is not None and is_off(ahead) else None


def require_right_clock(ahead: float | None) -> None:
    """Refuse a clock that is surely too far off the site's, in either direction; see `wrong_clock`.

    Raises:
        SettingsError: it is.
    """
    if (line := wrong_clock(ahead)) is not None:
        raise SettingsError(f"{line}, then run again")
