"""A bucket's originals against the embedded booru: fetched, checked, optimised, accounted for."""

import dataclasses
import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import SourceBlocked
from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.images.settings import FIXED
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.operate.scrub import scrub_bucket
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import write_posts
from danbooru_pipeline.sources import apply_updates
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import read_ledger, write_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline.years import sfw_ratings
from danbooru_pipeline_tests.support.buckets import BringPosts, buckets_of, build_all, first_of, ledger_of


def md5_of(path: Path) -> str:
    """MD5 of a file."""
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_every_post_is_accounted_for(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """Each post of the source has a row; ok rows have their file, hidden posts were never fetched."""
    bring_posts(2021)
    build_all(context, 2021)
    cutoff_ids = {p["id"] for p in booru.truth(2021) if p["created_at"] < "2021-12-31T19"}
    wrong = set(booru.kinds(2021)["wrong_md5"])
    for post_id in cutoff_ids:
        row = ledger_of(context, post_id)
        if row.status is Status.OK:
            path = context.layout.original(row.id, row.ext or "")
            assert path.stat().st_size == row.size
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256
            assert row.source_md5_matches == (post_id not in wrong)
            assert (row.reason is Reason.MD5_DIFFERS) == (post_id in wrong)
        else:
            assert row.reason in {Reason.RESTRICTED, Reason.BANNED}
            assert row.size is None
    hidden = {p["id"] for p in booru.truth(2021) if not p.get("md5")}
    assert hidden <= {i for i in cutoff_ids if ledger_of(context, i).status is Status.WITHHELD}


def test_second_run_asks_for_nothing(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """On an unchanged source no file is requested and no ledger is written."""
    bring_posts(2021)
    build_all(context, 2021)
    before = {path: path.stat().st_mtime_ns for path in context.layout.store.rglob("*.parquet")}
    booru.reset_requests()
    reports = build_all(context, 2021)
    assert booru.requests().get("files", 0) == 0
    assert sum(report.requests for report in reports.values()) == 0
    assert before == {path: path.stat().st_mtime_ns for path in context.layout.store.rglob("*.parquet")}


def test_next_year_asks_for_new_and_changed_files_only(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """A second release costs one request for each post that is new, or whose file was replaced or is shown again."""
    bring_posts(2021)
    build_all(context, 2021)
    before = {p["id"]: p.get("md5") for p in booru.truth(2021)}
    booru.set_year(2022)
    booru.reset_requests()
    bring_posts(2022)
    build_all(context, 2022)
    in_release = {p["id"] for p in booru.truth(2021) if p["created_at"] < "2021-12-31T19"}
    wanted = {
        p["md5"]
        for p in booru.truth(2022)
        if p.get("md5") and p["created_at"] < "2022-12-31T19"
        if p["id"] not in in_release or before[p["id"]] != p["md5"]
    }
    assert {Path(name).stem for name in booru.requested_files()} == wanted


def test_expunged_post_is_removed(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A post that left the source is removed; its file stays for the releases that have it."""
    bring_posts(2021)
    build_all(context, 2021)
    booru.set_year(2022)
    bring_posts(2022)
    build_all(context, 2022)
    now = {p["id"] for p in booru.truth(2022)}
    gone = [p["id"] for p in booru.truth(2021) if p["id"] not in now]
    assert gone
    for post_id in gone:
        if bucket_of(post_id) in buckets_of(context, 2022):
            assert ledger_of(context, post_id).reason is Reason.EXPUNGED


def test_posts_that_changed_since_the_sweep_are_asked_for_again(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """A file replaced since the sweep comes with its new row; hidden and expunged posts end with their own reason."""
    bring_posts(2021)
    swept = {p["id"]: p for p in booru.truth(2021) if p["created_at"] < "2021-12-31T19"}
    booru.set_year(2022)
    build_all(context, 2021)
    now = {p["id"]: p for p in booru.truth(2022)}
    reasons = {post_id: ledger_of(context, post_id).reason for post_id in swept}
    for post_id, old in swept.items():
        new = now.get(post_id)
        if not old.get("md5"):
            continue
        if new is None:
            assert reasons[post_id] in {Reason.EXPUNGED, None}, "its file may still be served"
        elif new.get("md5") and (new["md5"], new["file_ext"]) != (old["md5"], old["file_ext"]):
            row = ledger_of(context, post_id)
            assert (row.reason, row.md5) == (Reason.REPLACED, new["md5"])
            assert context.layout.original(post_id, new["file_ext"]).exists()
    assert Reason.REPLACED in reasons.values()
    assert apply_updates(context.layout, 2021) >= sum(reason is Reason.REPLACED for reason in reasons.values())
    released = {row["id"]: row["md5"] for row in pq.read_table(context.layout.posts(2021)).to_pylist()}
    assert released.keys() == swept.keys()
    for post_id, reason in reasons.items():
        if reason is Reason.REPLACED:
            assert released[post_id] == now[post_id]["md5"]
    assert apply_updates(context.layout, 2021) == 0
    booru.reset_requests()
    build_all(context, 2021)
    assert not booru.requested_files()


def test_replaced_file_is_a_new_inode(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A release that linked the earlier file keeps its bytes; the superseded extension leaves the store."""
    bring_posts(2021)
    build_all(context, 2021)
    truth = {p["id"]: p for p in booru.truth(2022)}
    replaced = [
        p for p in booru.truth(2021) if p.get("md5") and truth.get(p["id"], {}).get("md5", p["md5"]) != p["md5"]
    ]
    assert replaced
    links = {}
    for old in replaced:
        path = context.layout.original(old["id"], old["file_ext"])
        links[path] = (path.with_suffix(".linked"), path.read_bytes())
        os.link(path, links[path][0])
    booru.set_year(2022)
    bring_posts(2022)
    build_all(context, 2022)
    for old in replaced:
        path = context.layout.original(old["id"], old["file_ext"])
        link, data = links[path]
        assert link.read_bytes() == data
        row = ledger_of(context, old["id"])
        assert row.md5 == truth[old["id"]]["md5"]
        assert path.exists() == (row.ext == old["file_ext"])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("gone", Reason.GONE),
        ("error", Reason.RETRY_EXHAUSTED),
        ("truncate", Reason.TRUNCATED),
        ("html", Reason.HTML_INSTEAD),
        ("corrupt_random", Reason.MD5_MISMATCH),
        ("empty", Reason.EMPTY),
        ("redirect", Reason.REDIRECTED),
        ("reset", Reason.TRUNCATED),
    ],
)
def test_bad_file_costs_one_reason(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts, fault: str, reason: Reason
) -> None:
    """One file's trouble is one row with a reason, nothing is left of it on disk, and the next run gets it."""
    bring_posts(2021)
    post = first_of(booru)
    booru.set_fault(post.md5, fault)
    bucket = post.bucket
    report = build_originals(context, bucket, 2021)
    row = ledger_of(context, post.id)
    assert row.reason in {reason, Reason.RETRY_EXHAUSTED} if fault == "reset" else row.reason is reason
    assert f"{post.id}.jpg" not in list_files(context.layout.original_bucket(bucket))
    assert not list(context.layout.store.rglob("*.part"))
    assert report.pending == (row.status is Status.PENDING)
    booru.clear_faults()
    report = build_originals(context, bucket, 2021)
    assert report.pending == 0
    assert (ledger_of(context, row.id).status is Status.OK) == (reason is not Reason.GONE)


@pytest.mark.parametrize(
    "fault", ["error_once", "flaky:3", "truncate_once", "html_once", "throttle:2", "too_long_once"]
)
def test_passing_trouble_is_retried(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts, fault: str
) -> None:
    """Trouble that passes costs requests and nothing else."""
    bring_posts(2021)
    post = first_of(booru)
    booru.set_fault(post.md5, fault)
    report = build_originals(context, post.bucket, 2021)
    assert report.pending == 0
    assert ledger_of(context, post.id).attempts > 1


@pytest.mark.parametrize("ext", ["jpg", "png", "gif", "webp", "zip", "mp4", "webm", "swf"])
def test_cut_file_is_never_taken_for_whole(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts, ext: str
) -> None:
    """A file that the host serves cut off, time after time and as if it were all, stays pending, whatever its type."""
    bring_posts(2021)
    post = first_of(booru, ext)
    booru.set_fault(post.md5, "half")
    report = build_originals(context, post.bucket, 2021)
    assert report.pending == 1
    assert ledger_of(context, post.id).status is Status.PENDING
    assert not context.layout.original(post.id, ext).exists()


def test_rows_lost_in_a_kill_are_found_again(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A file that is on disk without a row, as a kill leaves it, is taken over without a request."""
    bring_posts(2021)
    post = first_of(booru, "gif")
    bucket = post.bucket
    build_originals(context, bucket, 2021)
    context.layout.ledger(bucket).unlink()
    booru.reset_requests()
    report = build_originals(context, bucket, 2021)
    assert report.adopted == report.files
    assert booru.requests().get("files", 0) == 0


def test_foreign_file_under_the_name_is_not_believed(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """Other bytes under a post's name, or none, are replaced by the real file."""
    bring_posts(2021)
    post = first_of(booru)
    path = context.layout.original(post.id, "jpg")
    for content in (b"", b"not this one"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        context.layout.ledger(path.parent.name).unlink(missing_ok=True)
        report = build_originals(context, path.parent.name, 2021)
        assert report.fetched == report.files
        assert ledger_of(context, post.id).status is Status.OK
        assert path.stat().st_size > len(content)


def test_withheld_post_that_comes_back_needs_no_request(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """A file that is still here, optimised, is taken back when the source shows its post again."""
    bring_posts(2021)
    post = first_of(booru)
    bucket = post.bucket
    build_originals(context, bucket, 2021)
    rows = read_ledger(context.layout.ledger(bucket))
    known = rows[post.id]
    hidden = dataclasses.replace(known, reason=Reason.RESTRICTED)
    write_ledger(context.layout.ledger(bucket), [*(r for r in rows.values() if r.id != known.id), hidden])
    booru.reset_requests()
    assert build_originals(context, bucket, 2021).adopted == 1
    assert booru.requests().get("files", 0) == 0
    again = ledger_of(context, known.id)
    assert (again.reason, again.sha256, again.fetched_md5) == (None, known.sha256, known.md5)
    assert known.optimized_by == "mozjpeg"
    assert (again.optimized_by, again.kept) == ("mozjpeg", None), "optimised once, and not tried again"


def test_a_block_stops_the_run(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A host that challenges us is no news about posts: the run stops and no row says gone."""
    bring_posts(2021)
    context.client._headers["User-Agent"] = "Mozilla/5.0"  # what the site blocks  # noqa: SLF001
    bucket = first_of(booru).bucket
    with pytest.raises(SourceBlocked, match="blocks us"):
        build_originals(context, bucket, 2021)
    assert not any(row.status is Status.MISSING for row in read_ledger(context.layout.ledger(bucket)).values())


def test_512px_images_follow_the_ratings(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """They exist for SFW ratings of the release only, and a new rating is enough to make one, without a request."""
    bring_posts(2021)
    build_all(context, 2021)
    for post in booru.truth(2021):
        if post.get("md5") and post["rating"] not in sfw_ratings(2021):
            assert not context.layout.px512(post["id"]).exists()
    post = next(p for p in booru.truth(2021) if p["id"] in booru.kinds(2021)["jpg"] and p["rating"] == "q")
    path = context.layout.posts_bucket(2021, bucket_of(post["id"]))
    table = pq.read_table(path)
    ratings = [
        "s" if i == post["id"] else r for i, r in zip(table["id"].to_pylist(), table["rating"].to_pylist(), strict=True)
    ]
    write_posts(table.set_column(table.schema.get_field_index("rating"), "rating", pa.array(ratings)), path)
    booru.reset_requests()
    assert build_px512(context, bucket_of(post["id"]), 2021).made == 1
    assert context.layout.px512(post["id"]).exists()
    assert booru.requests().get("files", 0) == 0


def test_lost_512px_image_is_made_again(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A 512px image that disappeared, or lost bytes, is made from the original, the same as before."""
    bring_posts(2021)
    reports = build_all(context, 2021)
    bucket = next(bucket for bucket, report in reports.items() if report.px512_made)
    path = next(context.layout.px512_bucket(bucket).iterdir())
    before = md5_of(path)
    path.unlink()
    report = build_px512(context, bucket, 2021)
    assert report.made == 1
    assert md5_of(path) == before
    assert build_px512(context, bucket, 2021).made == 0


def test_store_of_before_makes_512px_images_anew_once(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the rules for 512px images change, each is made anew once; no original is fetched or touched again."""
    with monkeypatch.context() as before:
        before.setitem(FIXED, "px512_rules", FIXED["px512_rules"] - 1)
        bring_posts(2021)
        reports = build_all(context, 2021)
    bucket, report = next((bucket, report) for bucket, report in reports.items() if report.px512_made)
    originals = {path: path.stat().st_mtime_ns for path in context.layout.store.glob("original/*/*")}
    booru.reset_requests()
    build_all(context, 2021)
    assert build_px512(context, bucket, 2021).made == report.px512_made
    assert build_px512(context, bucket, 2021).made == 0
    assert booru.requests().get("files", 0) == 0
    assert {path: path.stat().st_mtime_ns for path in context.layout.store.glob("original/*/*")} == originals


def test_store_of_before_gets_perceptual_hashes_once(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """Rows whose 512px image was made before there were hashes get them from the original, and nothing is fetched."""
    bring_posts(2021)
    reports = build_all(context, 2021)
    bucket, report = next((bucket, report) for bucket, report in reports.items() if report.px512_made)
    path = context.layout.ledger(bucket)
    before = read_ledger(path)
    assert any(row.px512_dhash and row.px512_phash for row in before.values())
    write_ledger(path, [dataclasses.replace(r, px512_dhash=None, px512_phash=None) for r in before.values()])
    booru.reset_requests()
    build_originals(context, bucket, 2021)
    assert build_px512(context, bucket, 2021).made == report.px512_made
    assert read_ledger(path) == before
    assert build_px512(context, bucket, 2021).made == 0
    assert booru.requests().get("files", 0) == 0


def test_file_optimised_before_a_kill_is_known_again(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """A kill between the files and the ledger costs no request: the journal has the rows, checked against the files."""
    bring_posts(2021)
    post = first_of(booru)
    bucket = post.bucket
    build_originals(context, bucket, 2021)
    row = ledger_of(context, post.id)
    assert row.optimized
    journal = Journal(context.layout.ledger_journal(bucket))
    for known in read_ledger(context.layout.ledger(bucket)).values():
        journal.add(known)
    journal.close()
    context.layout.ledger(bucket).unlink()
    booru.reset_requests()
    assert build_originals(context, bucket, 2021).requests == 0
    assert ledger_of(context, row.id) == row
    assert not context.layout.ledger_journal(bucket).exists()
    journal.add(row)
    journal.close()
    context.layout.ledger(bucket).unlink()
    path = context.layout.original(row.id, "jpg")
    path.unlink()
    path.write_bytes(b"another file")
    assert build_originals(context, bucket, 2021).fetched == 1


def test_pixel_hashes_of_site_and_file_agree(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """Every file that is held has the hash of its own pixels and the site's beside it, optimised or not."""
    booru.set_year(2022)
    bring_posts(2022)
    build_all(context, 2022)
    said = {p["id"]: p["media_asset"]["pixel_hash"] for p in booru.truth(2022)}
    rows = [row for bucket in buckets_of(context, 2022) for row in read_ledger(context.layout.ledger(bucket)).values()]
    held = [row for row in rows if row.status is Status.OK]
    assert held
    assert any(row.optimized for row in held)
    for row in held:
        path = context.layout.original(row.id, row.held_ext or "")
        assert (row.source_pixel_hash, row.pixel_hash) == (said[row.id], pixel_hash_of(path))
        assert row.pixel_hash_matches is True


def test_rows_of_an_earlier_version_get_their_pixel_hash_without_a_request(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """The site's hash comes with the next plan, our own with the next scrub, and no file is fetched again."""
    booru.set_year(2022)
    bring_posts(2022)
    bucket = buckets_of(context, 2022)[0]
    build_originals(context, bucket, 2022)
    path = context.layout.ledger(bucket)
    before = read_ledger(path)
    write_ledger(path, [dataclasses.replace(r, pixel_hash=None, source_pixel_hash=None) for r in before.values()])
    booru.reset_requests()
    build_originals(context, bucket, 2022)
    scrub_bucket(context, bucket)
    assert read_ledger(path) == before
    assert booru.requests().get("files", 0) == 0
