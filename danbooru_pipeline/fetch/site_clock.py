"""This machine's clock against that of the site: what is decided by a wrong one cannot be told from the rest later."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from danbooru_pipeline.errors import SettingsError

#: A time further ahead of the clock than this is an error of whoever wrote it, and no reason to wait for it. A clock
#: that is further off the site's than this decides nothing.
CLOCK_SLACK: Final = timedelta(days=1)


def believable_until(now: datetime) -> datetime:
    """From when on a time is an error of whoever wrote it."""
    return now + CLOCK_SLACK


def is_believable(at: datetime, *, now: datetime) -> bool:
    """Whether a time is none that has still to come, but for what clocks differ by."""
    return at < believable_until(now)


def seconds_ahead(headers: Mapping[str, str]) -> float | None:
    """How far this machine's clock is ahead of the one that dated an answer; None without a date."""
    try:
        dated = parsedate_to_datetime(headers.get("date", ""))
        return time.time() - (dated if dated.tzinfo is not None else dated.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def off_line(ahead: float) -> str:
    """What is wrong with a clock, and what to do about it."""
    return f"{abs(ahead):.0f} s off the site's; set it, preferably by NTP"


def require_right_clock(ahead: float | None) -> None:
    """Refuse a clock that is too far off the site's; where the site does not say, nobody knows.

    Args:
        ahead: by how many seconds it is ahead.

    Raises:
        SettingsError: by more than `CLOCK_SLACK`, in either direction.
    """
    if ahead is not None and abs(ahead) > CLOCK_SLACK.total_seconds():
        raise SettingsError(f"the clock of this machine is {off_line(ahead)}, then run again")
