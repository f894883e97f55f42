"""What a build would cost, before and after the posts are swept."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.operate.forecast import MEAN_FILE_BYTES, forecast_year, survey_source
from danbooru_pipeline.operate.rates import PATH, measured_rates, with_figures
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import bring_posts, split_by_bucket
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.years import cutoff
from danbooru_pipeline_tests.support.raw_server import json_by, serving
from danbooru_pipeline_tests.support.sites import give_posts, record_of

BringPosts = Callable[[int], None]


def test_swept_posts_are_counted_one_by_one(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """Files and bytes are those of the metadata; what was built already costs nothing more."""
    bring_posts(2021)
    visible = [p for p in booru.truth(2021) if p.get("md5") and p["created_at"] < "2021-12-31T19"]
    forecast = forecast_year(context, 2021)
    assert forecast.exact
    assert (forecast.files, forecast.bytes) == (len(visible), sum(p["file_size"] for p in visible))
    assert forecast.requests == forecast.files + 1
    assert forecast.seconds == pytest.approx(forecast.requests / context.settings.pace)
    assert forecast.fits
    for bucket in BUCKETS[:60]:
        build_originals(context, bucket, 2021)
    booru.reset_requests()
    after = forecast_year(context, 2021)
    assert (after.files, after.bytes) == (0, 0)
    assert not booru.requests()


def test_plan_counts_expunged_posts_apart(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """The posts of a plan are those of the release; what was expunged since an earlier one is named beside them."""
    bring_posts(2021)
    for bucket in BUCKETS:
        build_originals(context, bucket, 2021)
    before = {p["id"] for p in booru.truth(2021) if p["created_at"] < "2021-12-31T19"}
    booru.set_year(2022)
    bring_posts(2022)
    forecast = forecast_year(context, 2022)
    gone = before - {p["id"] for p in booru.truth(2022)}
    assert gone
    assert forecast.posts == pq.read_metadata(context.layout.posts(2022)).num_rows
    assert forecast.expunged == len(gone)
    assert (
        forecast.lines()[0] == f"Danbooru2022: {forecast.posts:,} posts; {len(gone)} of earlier releases were expunged"
    )


def test_survey_of_a_source_is_near(context: RunContext, booru: BooruProcess) -> None:
    """Before a sweep, few requests tell about how many posts and bytes there are; nothing is downloaded or written."""
    visible = [p for p in booru.truth(2021) if p.get("md5") and p["created_at"] < "2021-12-31T19"]
    forecast = forecast_year(context, 2021)
    assert not forecast.exact
    assert forecast.files == pytest.approx(len(visible), rel=0.25)
    assert forecast.bytes == pytest.approx(sum(p["file_size"] for p in visible), rel=0.5)
    asked = booru.requests()
    assert asked.get("files", 0) == 0
    assert asked["posts"] < 40
    assert not context.layout.root.exists()


@pytest.mark.parametrize(
    ("sizes", "total", "unsized", "said"),
    [
        ([1_000, 3_000], 2_000 * 10, 0, None),
        ([1_000, 0, 3_000, None, 2_000], 2_000 * 10, 4, "were counted with the mean"),
        ([0], MEAN_FILE_BYTES * 10, 10, "were counted with 830.1 KiB each"),
        ([None], MEAN_FILE_BYTES * 10, 10, "were counted with 830.1 KiB each"),
    ],
)
def test_files_without_a_size_are_files(
    tmp_path: Path, sizes: list[int | None], total: int, unsized: int, said: str | None
) -> None:
    """Before the sweep and after it, a plan counts files whose size is unknown; banned and excluded ones are none."""
    records = [
        record_of(i, md5=f"{i:032x}", tag_string="solo", is_banned=False, file_size=sizes[i % len(sizes)])
        for i in range(1, 11)
    ]
    records += [records[0] | {"id": 11, "md5": "b" * 32, "is_banned": True}]
    records += [records[0] | {"id": 12, "md5": "c" * 32, "tag_string": "guro"}]
    records += [record_of(13, created_at="2022-01-05T00:00:00Z")]
    with serving(json_by(give_posts(records))) as server:
        settings = Settings(root=tmp_path, api_url=server.url, cdn_url=server.url, exclude_tags=("guro",))
        with RunContext(settings, now=lambda: datetime(2022, 1, 20, tzinfo=UTC)) as context:
            before = forecast_year(context, 2021)
            bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
            split_by_bucket(context.layout, 2021)
            after = forecast_year(context, 2021)
    for forecast, exact in ((before, False), (after, True)):
        assert (forecast.exact, forecast.posts, forecast.files) == (exact, 12, 10)
        assert (forecast.bytes, forecast.unsized) == (total, unsized)
        assert [line for line in forecast.lines() if "no size" in line] == (
            [f"{unsized} files have no size in the metadata and {said}"] if said else []
        )


@pytest.mark.parametrize("year", [2021, 2022])
def test_survey_finds_the_last_id_of_a_year(context: RunContext, booru: BooruProcess, year: int) -> None:
    """The year ends at the post that was the last before its cutoff, whatever came after."""
    booru.set_year(2022)
    wanted = max(p["id"] for p in booru.truth(2022) if datetime.fromisoformat(p["created_at"]) <= cutoff(year))
    assert survey_source(context.client, cutoff(year)).last_id == wanted


def test_survey_before_the_first_post_is_empty(context: RunContext, booru: BooruProcess) -> None:
    """A moment before the site began has no posts, and the mean of nothing is no error."""
    survey = survey_source(context.client, datetime(1999, 1, 1, tzinfo=UTC))
    assert (survey.last_id, survey.density, survey.mean_bytes) == (0, 0.0, 0.0)


def test_unknown_year_has_no_forecast(context: RunContext) -> None:
    """A year that is not over is refused as for a build."""
    with pytest.raises(SettingsError, match="no release 2999"):
        forecast_year(context, 2999)


def test_lines_say_when_the_disk_is_too_small(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """Requests, bytes, days and disk are listed, and a disk that is too small stands out."""
    bring_posts(2021)
    forecast = forecast_year(context, 2021)
    assert "would download" in forecast.lines()[1]
    assert "NOT ENOUGH" not in "\n".join(forecast.lines())
    assert forecast.as_dict().keys() >= {"requests", "bytes", "disk_bytes", "free_bytes", "days", "fits"}


def test_figures_are_those_that_benchmarks_wrote(context: RunContext, booru: BooruProcess) -> None:
    """The file is as a benchmark would write it; a figure that nobody knows is refused."""
    forecast, rates = forecast_year(context, 2021), measured_rates()
    assert booru.requests()
    assert forecast.release_seconds == forecast.posts * rates.release_cpu_seconds_per_post
    assert forecast.cpu_seconds == pytest.approx(forecast.bytes / 1e6 * rates.image_cpu_seconds_per_mb)
    assert with_figures({}) == PATH.read_bytes()
    assert b'"px512_bytes": 77' in with_figures({"px512_bytes": 77})
    with pytest.raises(msgspec.ValidationError):
        with_figures({"mood": 1})
