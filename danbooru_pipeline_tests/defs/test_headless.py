"""A build without the UI: its runs hand back what they counted and what stopped them, and it plans its year once."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs import headless
from danbooru_pipeline.defs.headless import BuildOrder, BuildResult, build_release, parse_buckets
from danbooru_pipeline.defs.lanes import Lane, RunOrder
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.layout import BUCKETS, bucket_of
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.store.ledger import read_ledger, write_ledger
from danbooru_pipeline.store.planning import YearPlan, plan_year
from danbooru_pipeline_tests.support.buckets import ledger_of

HAVING_POSTS = BUCKETS[:42]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that lives as long as the test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[YearPlan]:
    """The plans that a build makes, as it makes them."""
    made: list[YearPlan] = []

    def planned(*args: Any, **more: Any) -> YearPlan:
        made.append(plan_year(*args, **more))
        return made[-1]

    monkeypatch.setattr(headless, "plan_year", planned)
    return made


def build(
    context: RunContext,
    instance: dg.DagsterInstance,
    *,
    retry: bool = False,
    recheck: frozenset[Reason] = frozenset(),
    buckets: tuple[str, ...] = HAVING_POSTS,
) -> BuildResult:
    """Build 2021."""
    return build_release(
        context,
        instance,
        2021,
        order=BuildOrder(buckets=buckets, retry=retry, recheck=recheck),
        say=lambda _line: None,
    )


def test_a_build_without_buckets_brings_the_metadata_alone(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance, plans: list[YearPlan]
) -> None:
    """`--buckets none` asks for no file and makes no release; an import can start from there."""
    assert parse_buckets("none") == []
    result = build(context, instance, buckets=())
    assert (list(result.stages), result.failed, plans) == (["metadata", "side_tables"], [], [])
    assert context.layout.posts_by_bucket(2021).is_dir()
    assert booru.requested_files() == []


def test_a_build_plans_its_year_once_and_so_does_a_retry(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance, plans: list[YearPlan]
) -> None:
    """The check of free space, the choice of a retry and the count of what is left elsewhere share one plan."""
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    first = build(context, instance)
    assert len(plans) == 1
    assert first.failed
    assert first.stages["original_images"].numbers["reason:retry_exhausted"] == 1
    booru.clear_faults()
    again = build(context, instance, retry=True)
    assert len(plans) == 2
    assert [each.bucket for each in plans[1].buckets if each.has_work] == [bucket_of(post["id"])]
    assert (again.stages["original_images"].numbers["requests"], again.failed) == (1, [])
    assert again.stages["original_images"].partitions == len(HAVING_POSTS), "one run covers its neighbours as well"


def test_retry_after_a_kill_between_the_stages_of_images(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Case ledger-trunc: originals whose 512px image was never tried are something left, and the release is made."""
    first = build(context, instance)
    bucket = bucket_of(next(p["id"] for p in booru.truth(2021) if p.get("md5") and p["rating"] == "s"))
    path = context.layout.ledger(bucket)
    rows = read_ledger(path)
    write_ledger(path, [replace(row, px512_settings=None, px512_reason=None) for row in rows.values()])
    booru.reset_requests()
    again = build(context, instance, retry=True)
    assert (first.failed, again.failed) == ([], [])
    assert "release" in again.stages
    assert booru.requested_files() == []


def test_pending_posts_of_other_buckets_are_left_but_hold_up_no_release(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """A build of some buckets counts what earlier builds left pending in the others, and releases all the same."""
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "error")
    build(context, instance)
    after_it = HAVING_POSTS[int(bucket_of(post["id"])) + 1 :]
    result = build(context, instance, buckets=after_it)
    assert result.pending_elsewhere == 1
    assert "release" in result.stages


def test_run_reports_what_stopped_it_and_forgets_it_with_the_next(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """Each run has a log of its own: an error of ours comes back as itself, and not again with a later run."""
    lane = Lane(context, instance)
    tags = {"dagster/partition": "2021"}
    assert lane.run(RunOrder(assets=("posts", "posts_by_bucket"), tags=tags, partitions=2)).success
    refused = lane.run(RunOrder(assets=("release_manifest",), tags=tags, partitions=1))
    assert not refused.success
    assert isinstance(refused.stopped_by, ReleaseRefused)
    assert refused.failed == [str(refused.stopped_by)]
    after = lane.run(RunOrder(assets=("side_tables",), tags=tags, partitions=1))
    assert (after.success, after.stopped_by, after.failed) == (True, None, [])
    assert after.dagster_cpu_seconds > 0


def test_a_retry_asks_again_for_the_reasons_that_it_is_given(
    context: RunContext, booru: BooruProcess, instance: dg.DagsterInstance
) -> None:
    """`--retry` alone leaves a file that was gone; `--retry --recheck gone` brings it, with few other requests."""
    post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
    booru.set_fault(post["md5"], "gone")
    build(context, instance)
    booru.clear_faults()
    booru.reset_requests()
    build(context, instance, retry=True)
    assert not booru.requests()
    build(context, instance, retry=True, recheck=frozenset({Reason.GONE}))
    assert booru.requests() == {"posts": 1, "files": 1}
    assert ledger_of(context, post["id"]).status is Status.OK
