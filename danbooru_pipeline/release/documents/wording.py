"""What documents say of a release beyond plain numbers: names, classes and lists that follow from its own facts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.release.documents.history import ORIGINALS, original
from danbooru_pipeline.release.documents.statistics import UNKNOWN_RATING, Bar, Statistics
from danbooru_pipeline.release.release_json import Event, Release
from danbooru_pipeline.years import FIRST_YEAR_WITH_GENERAL, RATINGS

_RATINGS: Final = {**RATINGS, UNKNOWN_RATING: "unknown"}
_SIZES: Final = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SOURCES: Final = {
    "api": "the JSON API of the booru",
    "bigquery": "the public mirror of the booru's tables in BigQuery",
    "dump": "public dumps of the booru's tables",
    "archive": "the metadata of an earlier release",
}


def rating_names(year: int) -> Mapping[str, str]:
    """Rating -> its name at the end of a year, in their order; until 2021 `s` meant safe."""
    return _RATINGS if year >= FIRST_YEAR_WITH_GENERAL else {**_RATINGS, "s": "safe"}


def rating_to_select(release: Release, numbers: Statistics) -> str:
    """The rating that examples select: the safest that posts of the release have."""
    there = {bar.name for bar in numbers.ratings} - {UNKNOWN_RATING}
    return next((name for name in (*release.sfw_ratings, *_RATINGS) if name in there), release.sfw_ratings[0])


def size_category(posts: int) -> str:
    """The class of a number of rows, as Hugging Face names it: ``1M<n<10M``."""
    ends = [1000 * 10**power for power in range(len(_SIZES))]
    above = next((number for number, end in enumerate(ends) if posts < end), len(_SIZES))
    if above == 0:
        return f"n<{_SIZES[0]}"
    return f"n>{_SIZES[-1]}" if above == len(_SIZES) else f"{_SIZES[above - 1]}<n<{_SIZES[above]}"


def missing(release: Release, what: str) -> list[Bar]:
    """Posts without a file (``original``, ``px512``) by reason, the most frequent first.

    A reason may also say what is special about a file that is there; those are left out.
    """
    counts = release.reasons.get(what, {}).items()
    found = [Bar(name, count) for name, count in counts if REASONS[Reason(name)][0] is not Status.OK]
    return sorted(found, key=lambda bar: (-bar.count, bar.name))


def preprocessing(numbers: Statistics) -> Iterator[str]:
    """What was done to the originals that are there, in sentences."""
    formats = " and ".join(name for kind, name in (("jpg", "JPEG"), ("png", "PNG")) if kind in numbers.optimized)
    if formats:
        yield (
            f"{formats} originals were optimised losslessly: the pixels are the same, the bytes and their MD5 are not."
        )
    if numbers.archived:
        yield (
            f"JPEG originals were turned into JPEG XL (`.{ARCHIVE_EXTENSION}`) where it can hold them, losslessly; "
            "`danbooru-pipeline export originals` gives the files of the source back, with the same MD5."
        )
    if not formats and not numbers.archived:
        yield "Originals have the bytes of the source."


def kept_despite(release: Release) -> int:
    """Originals whose MD5 is not the metadata's, and that were kept."""
    return release.reasons.get("original", {}).get(Reason.MD5_DIFFERS, 0)


@dataclass(frozen=True, slots=True)
class SourceRead:
    """One read of the posts: from where, on which day, and how many rows it gave."""

    where: str
    day: str
    rows: int


def sources_read(release: Release) -> Iterator[SourceRead]:
    """The reads that a release was made from, as RELEASE.json has them."""
    for source in release.sources:
        name = str(source.get("name", "unknown"))
        rows = source.get("rows")
        yield SourceRead(
            _SOURCES.get(name, f"the source {name}"),
            str(source.get("taken_at", ""))[:10],
            rows if isinstance(rows, int) else 0,
        )


def previous_event(release: Release) -> Event | None:
    """The release of an earlier year that this one is compared with."""
    if release.previous is None:
        return None
    named = (release.previous.name, release.previous.version)
    return next((event for event in release.history if (event.name, event.version) == named), None)


def continued(year: int) -> str:
    """The releases of the original project that a year comes after; empty where there is none."""
    names = [each.name for each in ORIGINALS if each.year < year]
    return " to ".join(dict.fromkeys((names[0], names[-1]))) if names else ""


def citation_key(year: int) -> str:
    """Key of a release's BibTeX entry; the original's releases have theirs already, and both are in one file."""
    return f"danbooru{year}" if original(year) is None else f"danbooru{year}-remade"
