"""The weekly scrub as an asset: what it repairs is counted, and what it cannot repair fails its check."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.operate.scrub import buckets_of_week
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline_tests.support.buckets import SitePost, first_of
from danbooru_pipeline_tests.support.runs import numbers_of, report_of, run_job

WEEKS = [datetime(2022, 1, 3, tzinfo=UTC) + timedelta(weeks=week) for week in range(52)]


def stored_file(settings: Settings, post: SitePost) -> Path:
    """Build the bucket of a post. Returns its file."""
    with RunContext(settings) as context:
        sources.bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
        sources.split_by_bucket(context.layout, 2021)
        build_originals(context, post.bucket, 2021)
        return context.layout.original(post.id, post.ext)


def rot(path: Path) -> bytes:
    """Turn one bit. Returns what the file held."""
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    return data


@pytest.mark.parametrize("gone", [False, True])
def test_damage_is_repaired_or_fails_the_check(
    settings: Settings, booru: BooruProcess, instance: dg.DagsterInstance, *, gone: bool
) -> None:
    """In its week a bucket is hashed; a damaged file is fetched again, and one that the site lost fails the check."""
    post = first_of(booru)
    path = stored_file(settings, post)
    data = rot(path)
    if gone:
        booru.set_fault(post.md5, "gone")
    week = next(day for day in WEEKS if post.bucket in buckets_of_week(day.date()))
    with RunContext(settings, now=lambda: week) as context:
        result = run_job(context, instance, "scrub_store")
    assert result.success
    numbers = numbers_of(result)
    assert (numbers["damaged"].value, numbers["repaired"].value) == (1, 0 if gone else 1)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed == (not gone)
    assert gone or path.read_bytes() == data
    assert (path.name in numbers["worst"].value) == gone


def test_chosen_buckets_are_scrubbed_out_of_turn(context: RunContext, instance: dg.DagsterInstance) -> None:
    """The form names buckets, whatever the week; a name that is none fails with what to do."""
    done = run_job(context, instance, "scrub_store", buckets=["0123", "0007"])
    assert "scrubbed 0007 to 0123: 0 files" in report_of(done)
    assert not run_job(context, instance, "scrub_store", buckets=["../1"]).success
