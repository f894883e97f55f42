"""What a build would cost: requests, bytes, disk and days at the configured rate. A dry run: it writes nothing.

Once the posts of a year are swept, each file to fetch is known. Before that a survey of the source estimates where the
year ends, how dense its ids are and how large its files, with some thirty requests.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import SettingsError, SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.preflight import check_year, nearest_folder
from danbooru_pipeline.operate.rates import measured_rates
from danbooru_pipeline.posts import CompleteRow, complete_rows, parse_api_record, post_of
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.progress import counted, human_bytes, human_seconds, noun
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.api import POSTS_PER_PAGE, ApiSource
from danbooru_pipeline.sources.last_id import find_last_id
from danbooru_pipeline.sources.sweep import last_sweep_before
from danbooru_pipeline.store.follow import find_state
from danbooru_pipeline.store.planning import plan_year
from danbooru_pipeline.years import cutoff

#: Pages of posts that a survey samples, spread over all ids.
SURVEYED_PAGES: Final = 5
#: Mean size of an original of the site, for a source that says of no file how large it is (docs/scale.md).
MEAN_FILE_BYTES: Final = 850_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a build of a year would cost.

    Attributes:
        exact: whether the posts are swept, so that each file is known; else all numbers are estimates.
        posts: of the release.
        expunged: posts of earlier releases that the source no longer has; they are not counted among `posts`.
        files: to fetch.
        unsized: of these, how many have no size in the metadata; each counts as the mean of the others, or, without
            any, as `MEAN_FILE_BYTES`.
        requests: for pages and for files.
        bytes: to fetch.
        disk_bytes: that store and release will grow by.
        free_bytes: on the disk of the root.
        seconds: that the requests take at `requests_per_second`.
        cpu_seconds: of work on images, shared among the workers.
        release_seconds: to make the release and verify it, on one core.
    """

    year: int
    exact: bool
    posts: int
    expunged: int
    files: int
    unsized: int
    requests: int
    bytes: int
    disk_bytes: int
    free_bytes: int
    requests_per_second: float
    seconds: float
    cpu_seconds: float
    workers: int
    release_seconds: float

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it."""
        return self.disk_bytes <= self.free_bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"days": round(self.days, 2), "fits": self.fits}

    @property
    def days(self) -> float:
        """Until it is done: requests and work on images overlap, and the release is made of both."""
        return (max(self.seconds, self.cpu_seconds / self.workers) + self.release_seconds) / 86_400

    def lines(self) -> list[str]:
        """For people."""
        about = "" if self.exact else "about "
        gone = f"; {self.expunged:,} of earlier releases were expunged" if self.expunged else ""
        lines = [
            f"Danbooru{self.year}: {about}{counted(self.posts, 'post')}{gone}",
            (
                f"would download {about}{counted(self.files, 'file')} ({human_bytes(self.bytes)}) "
                f"in {counted(self.requests, 'request')}"
            ),
            f"at {self.requests_per_second:g} requests/s this takes {human_seconds(self.seconds)}",
            f"image work takes {human_seconds(self.cpu_seconds / self.workers)} with {self.workers} workers",
            f"making and verifying the release takes {human_seconds(self.release_seconds)} on one core",
            f"needs {human_bytes(self.disk_bytes)} of disk; {human_bytes(self.free_bytes)} free",
        ]
        if not self.fits:
            lines[-1] += ": NOT ENOUGH; set DANBOORU_ROOT to a larger disk"
        if self.unsized:
            mean = f"{human_bytes(MEAN_FILE_BYTES)} each" if self.unsized == self.files else "the mean"
            unsized = counted(self.unsized, "file has", "files have")
            were = noun(self.unsized, "was", "were")
            lines.append(f"{unsized} no size in the metadata and {were} counted with {mean}")
        if not self.exact:
            lines.append("an estimate from a survey of the source; exact once the posts are swept")
        return lines


def forecast_year(context: RunContext, year: int) -> Forecast:
    """Forecast the build of a year.

    Raises:
        SettingsError: an unknown year, or a source that cannot be surveyed.
        SourceError: the source does not answer.
    """
    check_year(year, first=context.settings.first_year, now=context.now())
    return _from_sweep(context, year) if context.layout.posts_report(year).exists() else _from_survey(context, year)


def _from_sweep(context: RunContext, year: int) -> Forecast:
    plan = plan_year(context.layout, year, exclude_tags=context.exclude_tags)
    files = sum(each.fetch - each.kept for each in plan.buckets)
    unsized = sum(each.unsized for each in plan.buckets)
    mean = plan.fetch_bytes / (files - unsized) if files > unsized else MEAN_FILE_BYTES
    return cost_of(
        context.settings,
        year,
        exact=True,
        posts=sum(each.posts for each in plan.buckets),
        expunged=sum(each.expunged for each in plan.buckets),
        files=files,
        unsized=unsized,
        size=plan.fetch_bytes + int(mean * unsized),
    )


def _from_survey(context: RunContext, year: int) -> Forecast:
    if context.settings.posts_source != "api":
        raise SettingsError(
            f"the posts of {year} are not swept, and only the API can be surveyed before; run danbooru-pipeline build "
            f"{year}, or set DANBOORU_POSTS_SOURCE=api",
        )
    survey = survey_source(context.client, cutoff(year), exclude_tags=context.exclude_tags)
    known = _last_known_id(context.layout, year)
    posts = round(survey.density * survey.last_id)
    files = round(survey.density * survey.with_file * max(0, survey.last_id - known))
    return cost_of(
        context.settings,
        year,
        exact=False,
        posts=posts,
        files=files,
        unsized=files - round(files * survey.sized),
        size=round(files * (survey.mean_bytes or MEAN_FILE_BYTES)),
    )


def cost_of(
    settings: Settings, year: int, *, exact: bool, posts: int, files: int, unsized: int, size: int, expunged: int = 0
) -> Forecast:
    """The cost of fetching `files` files of `size` bytes in all; `docs/scale.md` is computed with it too."""
    requests, rates = files + -(-posts // POSTS_PER_PAGE), measured_rates()
    return Forecast(
        year=year,
        exact=exact,
        posts=posts,
        expunged=expunged,
        files=files,
        unsized=unsized,
        requests=requests,
        bytes=size,
        disk_bytes=size + round(files * rates.px512_share * rates.px512_bytes) + posts * rates.metadata_bytes_per_post,
        free_bytes=shutil.disk_usage(nearest_folder(settings.root)).free,
        requests_per_second=settings.pace,
        seconds=requests / settings.pace,
        cpu_seconds=size / 1e6 * rates.image_cpu_seconds_per_mb,
        workers=settings.workers,
        release_seconds=posts * rates.release_cpu_seconds_per_post,
    )


def _last_known_id(layout: Layout, year: int) -> int:
    """The last id of the newest earlier year that was swept, or that following saw; the files are in the store."""
    earlier, followed = last_sweep_before(layout, year), find_state(layout)
    return max(earlier.last_id if earlier else 0, followed.last_id if followed else 0)


@dataclass(frozen=True, slots=True)
class Survey:
    """A sample of a source: its last id of a year, posts per id, files per post, and what is known of their sizes.

    Attributes:
        with_file: share of posts whose file would be fetched.
        sized: share of these files whose size is known.
        mean_bytes: of these sizes; 0 if no size is known.
    """

    last_id: int
    density: float
    with_file: float
    sized: float
    mean_bytes: float


def survey_source(client: BooruClient, limit: datetime, *, exclude_tags: frozenset[str] = frozenset()) -> Survey:
    """Find the last id up to a moment by bisection, and sample some pages below it.

    A file counts if a build would fetch it, whatever its row says of its size.

    Raises:
        SourceError: the source cannot be used.
    """
    if not _page_below(client, None, POSTS_PER_PAGE):  # a whole one, since the newest post may be one that is rejected
        raise SourceUnusable(f"{client.settings.api_url}/posts.json shows no posts; check DANBOORU_API_URL")
    last = find_last_id(ApiSource(client), limit).id or 0
    spread = [round(last * (number + 1) / SURVEYED_PAGES) + 1 for number in range(SURVEYED_PAGES)]
    pages = [page for below in spread if (page := _page_below(client, below, POSTS_PER_PAGE))]
    ids = sum(max(page) - min(page) + 1 for page in pages)
    rows = {id_: row for page in pages for id_, row in page.items()}
    shown = [post for row in rows.values() if why_not_fetched(post := post_of(row), exclude_tags=exclude_tags) is None]
    sizes = [post.file_size for post in shown if post.file_size is not None]
    return Survey(
        last_id=last,
        density=min(1.0, sum(map(len, pages)) / ids) if ids else 0.0,
        with_file=len(shown) / len(rows) if rows else 0.0,
        sized=len(sizes) / len(shown) if shown else 0.0,
        mean_bytes=sum(sizes) / len(sizes) if sizes else 0.0,
    )


def _page_below(client: BooruClient, below: int | None, limit: int) -> dict[int, CompleteRow]:
    """The posts just below an id, or the newest ones, by id."""
    answer = client.get_json("/posts.json", {"limit": limit, "page": f"b{below}" if below else "1"})
    records = answer.value if answer.status == 200 and isinstance(answer.value, list) else []
    parsed = (parse_api_record(record) for record in records if isinstance(record, Mapping))
    rows = complete_rows([row for row in parsed if isinstance(row, dict)], says_banned=False)
    return {row["id"]: row for row in rows}
