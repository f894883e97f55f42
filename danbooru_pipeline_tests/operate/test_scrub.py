"""The weekly scrub on a real store."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import BUCKETS, bucket_of
from danbooru_pipeline.operate.scrub import Expected, buckets_of_week, expected_files, scrub_bucket
from danbooru_pipeline.release import apply_snapshot, plan_snapshot, verify_release, write_manifest
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512


def test_every_bucket_has_its_turn() -> None:
    """52 weeks in a row cover all buckets, each once."""
    turns = [bucket for week in range(52) for bucket in buckets_of_week(date(2022, 1, 3) + timedelta(weeks=week))]
    assert sorted(turns) == list(BUCKETS)


@pytest.fixture
def released(context: RunContext, booru: BooruProcess, bring_posts: Callable[[int], None]) -> Path:
    """A release of the small booru."""
    bring_posts(2021)
    for bucket in sorted({bucket_of(post["id"]) for post in booru.truth(2021)}):
        build_originals(context, bucket, 2021)
        build_px512(context, bucket, 2021)
    write_manifest(context.layout, 2021, px512_settings=context.image_settings.fingerprint())
    plan = plan_snapshot(context.layout, 2021, image_settings=context.image_settings.as_dict())
    apply_snapshot(plan, created_at=context.now())
    return context.layout.release(2021)


def some_file(context: RunContext, tree: str) -> tuple[str, Expected]:
    """A bucket, and a file of it."""
    for bucket in BUCKETS:
        for file in expected_files(read_ledger(context.layout.ledger(bucket)).values()):
            if file.path.startswith(tree) and file.path.endswith(".jpg"):
                return bucket, file
    raise AssertionError(tree)


def rot(path: Path) -> None:
    """Turn one bit, under all names of the file, as a disk does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("tree", ["original", "512px"])
def test_rot_is_repaired_in_store_and_release(
    context: RunContext, booru: BooruProcess, released: Path, tree: str
) -> None:
    """A turned bit is found, kept in the quarantine, and the file is whole again in the store and in the release."""
    bucket, file = some_file(context, tree)
    rot(context.layout.store / file.path)
    assert not verify_release(released, full=True).ok
    booru.reset_requests()
    report = scrub_bucket(context, bucket)
    assert (report.damaged, report.repaired, report.left) == (1, 1, ())
    assert len(booru.requested_files()) == (tree == "original")
    assert verify_release(released, full=True).ok
    assert len(list(context.layout.quarantine_bucket(tree, bucket).iterdir())) == 1
    assert scrub_bucket(context, bucket).damaged == 0


def test_what_cannot_be_repaired_is_named(context: RunContext, booru: BooruProcess, released: Path) -> None:
    """A file that the source no longer has is named with its release, and the damaged bytes are not lost."""
    bucket, file = some_file(context, "original")
    post = next(post for post in booru.truth(2021) if post["id"] == int(Path(file.path).stem))
    booru.set_fault(post["md5"], "gone")
    rot(context.layout.store / file.path)
    report = scrub_bucket(context, bucket)
    assert report.repaired < report.damaged
    assert any("danbooru2021" in line and file.path in line for line in report.left)
    assert list(context.layout.quarantine_bucket("original", bucket).iterdir())
