"""A store that keeps JPG originals as JPEG XL, against the embedded booru."""

import dataclasses
import hashlib
import json
from collections.abc import Collection
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.images.archive import restore_jpeg
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.operate.scrub import scrub_bucket
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline_tests.support.buckets import BringPosts, build_all, first_of, ledger_of
from danbooru_pipeline_tests.support.commands import WITH_POSTS, call, settings_of


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Those of all tests, with JPGs that become JPEG XL."""
    return settings.replace(jpg_archive="jxl")


@pytest.fixture
def archiving(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> RunContext:
    """A context with all originals of 2021 fetched."""
    bring_posts(2021)
    build_all(context, 2021)
    booru.reset_requests()
    return context


def rows_of(context: RunContext) -> dict[int, LedgerRow]:
    """Rows of all posts whose JPG is there."""
    ledgers = (read_ledger(path) for path in (context.layout.store / "ledger").glob("*.parquet"))
    rows = (row for ledger in ledgers for row in ledger.values())
    return {row.id: row for row in rows if row.ext == "jpg" and row.status is Status.OK}


def lose_ledgers(context: RunContext) -> None:
    """What a store without its ledgers is left with: files."""
    for path in (context.layout.store / "ledger").glob("*.parquet"):
        path.unlink()


def asked_for(booru: BooruProcess, posts: Collection[LedgerRow]) -> set[int]:
    """Which of some posts' files were requested."""
    md5s = {Path(name).stem for name in booru.requested_files()}
    return {row.id for row in posts if row.fetched_md5 in md5s}


def archived(context: RunContext, post_id: int) -> Path:
    """Where the store keeps a JPG as JPEG XL."""
    return context.layout.original(post_id, "jxl")


def test_jpgs_are_kept_as_jpeg_xl(archiving: RunContext, booru: BooruProcess) -> None:
    """Each gives back the bytes of its MD5, the rows say how it is kept, and a second run asks for nothing."""
    rows = rows_of(archiving)
    kept = {i: row for i, row in rows.items() if row.stored_ext == "jxl"}
    assert len(kept) > len(rows) / 2
    for post_id, row in kept.items():
        data = archived(archiving, post_id).read_bytes()
        assert hashlib.md5(restore_jpeg(data)).hexdigest() == row.fetched_md5
        assert (row.size, row.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (row.ext, row.file_type, row.optimized_by) == ("jpg", "jpg", "jpeg-xl")
        assert not archiving.layout.original(post_id, "jpg").exists()
    build_all(archiving, 2021)
    assert booru.requests().get("files", 0) == 0


def test_files_without_rows_are_taken_over(archiving: RunContext, booru: BooruProcess) -> None:
    """Without a ledger the JPEG XL is turned back and compared; its row is the same as before, without a request."""
    before = {i: row for i, row in rows_of(archiving).items() if row.stored_ext == "jxl"}
    lose_ledgers(archiving)
    build_all(archiving, 2021)
    assert asked_for(booru, before.values()) == set()
    for post_id, row in before.items():
        names = ("attempts", "fetched_at", "http_status", "checked_at", "checked_release")
        fetched = {name: getattr(row, name) for name in names}
        assert dataclasses.replace(ledger_of(archiving, post_id), **fetched) == row


def test_rotten_archive_without_a_row_is_asked_for_again(archiving: RunContext, booru: BooruProcess) -> None:
    """What gives back no JPEG, or another one, is never believed."""
    before = {i: row for i, row in rows_of(archiving).items() if row.stored_ext == "jxl"}
    first, second = list(before)[:2]
    right = {i: archived(archiving, i).read_bytes() for i in (first, second)}
    archived(archiving, first).write_bytes(right[second])
    archived(archiving, second).write_bytes(right[second][:500])
    lose_ledgers(archiving)
    build_all(archiving, 2021)
    assert asked_for(booru, before.values()) == {first, second}
    assert {i: archived(archiving, i).read_bytes() for i in right} == right


def test_scrub_repairs_an_archive(archiving: RunContext, booru: BooruProcess) -> None:
    """One changed byte is found and the file fetched anew."""
    post_id = next(i for i, row in rows_of(archiving).items() if row.stored_ext == "jxl")
    path = archived(archiving, post_id)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert scrub_bucket(archiving, bucket_of(post_id)).damaged
    assert path.read_bytes() == data


def test_mode_concerns_files_that_come_later(archiving: RunContext, booru: BooruProcess) -> None:
    """Switched off, what is kept stays so and its 512px image is made of it; a file that comes again is kept as JPG."""
    first, second = [i for i, row in rows_of(archiving).items() if row.stored_ext == "jxl" and row.px512_size][:2]
    small = archiving.layout.px512(first)
    data = small.read_bytes()
    small.unlink()
    archived(archiving, second).unlink()
    with RunContext(archiving.settings.replace(jpg_archive="off")) as context:
        build_all(context, 2021)
        build_px512(context, bucket_of(first), 2021)
        assert booru.requests()["files"] == 1
        assert small.read_bytes() == data
        assert ledger_of(context, first).stored_ext == "jxl"
        assert ledger_of(context, second).stored_ext is None
        assert context.layout.original(second, "jpg").exists()


@pytest.mark.slow(10)
def test_release_says_so_and_gives_originals_back(tmp_path: Path, booru: BooruProcess) -> None:
    """The release verifies, names its mode, and `export originals` gives the booru's own bytes."""
    root = tmp_path / "root"
    env = settings_of(booru, root) | {"DANBOORU_JPG_ARCHIVE": "jxl"}
    assert call("build", "2021", "--buckets", WITH_POSTS, env=env).returncode == 0
    release = root / "releases" / "danbooru2021"
    assert verify_release(release, full=True).ok
    assert json.loads((release / "RELEASE.json").read_bytes())["image_settings"]["jpg_archive"] == "jxl"
    assert list(release.glob("original/*/*.jxl"))
    target = tmp_path / "given back"
    done = call("export", "originals", str(release), str(target), env=env)
    assert done.returncode == 0, done.stderr
    listed = dict(line.split("  ")[::-1] for line in (target / "MD5SUMS").read_text().splitlines())
    optimised = [line.split("  ")[1] for line in (target / "optimised.txt").read_text().splitlines()]
    assert {name for name in listed if name.endswith(".jpg")}
    for name, md5 in listed.items():
        assert hashlib.md5((target / name).read_bytes()).hexdigest() == md5
    on_disk = {str(path.relative_to(target)) for path in target.glob("*/*")}
    assert on_disk == {*listed, *optimised}
    post = first_of(booru)
    assert listed[f"{post.bucket}/{post.id}.jpg"] == post.md5
