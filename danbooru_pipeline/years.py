"""What a release year means: its cutoff, its SFW ratings, and when it may be released. Has no clock of its own."""

from collections.abc import Iterable
from datetime import UTC, datetime

# Until May 2022 the site had the ratings s/q/e with s = safe; then g = general came and s was renamed "sensitive".
# Danbooru's own "sfw" alias has been {g, s} since. Source: danbooru app/models/post.rb, RATING_ALIASES.
FIRST_YEAR_WITH_GENERAL = 2022
#: Rating -> its name, in their order; until 2021 `s` meant safe.
RATINGS = {"g": "general", "s": "sensitive", "q": "questionable", "e": "explicit"}
#: The site went online in May 2005, so no release can be older.
FIRST_YEAR_WITH_POSTS = 2005


def require_ratings(given: Iterable[str]) -> None:
    """Check that what options name are ratings, by their letters: names differ between years, `s` was safe.

    Raises:
        ValueError: there is no such rating; it says which there are.
    """
    for name in given:
        if name not in RATINGS:
            raise ValueError(f"{name!r} does not exist; use {', '.join(RATINGS)}")


def cutoff(year: int) -> datetime:
    """The last instant of a release, ``YEAR-12-31T23:59:59.999Z``; a post belongs to it if created at or before."""
    return datetime(year, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def sfw_ratings(year: int) -> tuple[str, ...]:
    """Ratings whose posts get a 512px image in the release of that year."""
    return ("g", "s") if year >= FIRST_YEAR_WITH_GENERAL else ("s",)


def finished_years(first: int, *, now: datetime) -> range:
    """Years that may be released: from the first to the last that is over at `now` (an aware datetime)."""
    return range(first, now.astimezone(UTC).year)
