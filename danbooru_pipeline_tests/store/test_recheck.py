"""A file that is not held is asked about again: once in each release, or on request, the API before the file host."""

import dataclasses
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.outcomes import RECHECKABLE, Reason, Status, parse_recheck
from danbooru_pipeline.posts import posts_table, write_posts
from danbooru_pipeline.posts.report import read_report, write_posts_report
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, write_takedowns
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import apply_updates, split_by_bucket
from danbooru_pipeline.store.columns import table_of
from danbooru_pipeline.store.ledger import LEDGER_SCHEMA, LedgerRow, read_ledger
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.planning import plan_stored_bucket
from danbooru_pipeline_tests.support.altered import BY_IDS, altered
from danbooru_pipeline_tests.support.buckets import BringPosts, SitePost, ledger_of

NO_TAGS: frozenset[str] = frozenset()


def post_that(booru: BooruProcess, *, is_expunged: bool) -> SitePost:
    """A post that 2021 shows, and that 2022 shows alike or has no more."""
    later = {p["id"]: p.get("md5") for p in booru.truth(2022)}
    wanted = (p for p in booru.truth(2021) if p.get("md5") and p["created_at"] < "2021-12-31T19")
    found = next(p for p in wanted if (p["id"] not in later if is_expunged else later.get(p["id"]) == p["md5"]))
    return SitePost(id=found["id"], md5=found["md5"], ext=found["file_ext"])


def hide(context: RunContext, year: int, post: SitePost) -> None:
    """Make the metadata of a year an old copy that hides a post, as a dump is one."""
    path = context.layout.posts_bucket(year, post.bucket)
    hidden = {"md5": None, "file_url": None}
    rows = [row | hidden if row["id"] == post.id else row for row in pq.read_table(path).to_pylist()]
    with path.open("wb") as file:
        write_posts(posts_table(rows), file)
    report = read_report(context.layout, year)
    assert report is not None
    write_posts_report(context.layout, year, dataclasses.replace(report, name="dump"))


def lose(context: RunContext, booru: BooruProcess, bring_posts: BringPosts, *, is_expunged: bool = False) -> SitePost:
    """A post whose file was a 404 when 2021 was built; the host serves it again."""
    bring_posts(2021)
    post = post_that(booru, is_expunged=is_expunged)
    booru.set_fault(post.md5, "gone")
    build_originals(context, post.bucket, 2021)
    assert ledger_of(context, post.id).reason is Reason.GONE
    booru.clear_faults()
    booru.reset_requests()
    return post


def requests_for(booru: BooruProcess, post: SitePost) -> int:
    """How often the file of a post was asked for."""
    return sum(post.md5 in name for name in booru.requested_files())


@pytest.mark.parametrize("rating", ["s", "q"])
def test_account_that_is_shown_less_expunges_nothing(booru: BooruProcess, settings: Settings, rating: str) -> None:
    """A file was a 404; asked about by an account that is not shown that rating, the post is not called expunged."""
    hidden: set[str] = set()
    with (
        altered(booru, lambda record: None if record["rating"] in hidden else record) as url,
        RunContext(settings.replace(api_url=url)) as context,
    ):
        sources.bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
        split_by_bucket(context.layout, 2021)
        found = next(p for p in booru.truth(2021) if p.get("md5") and p["rating"] == rating and not p["is_banned"])
        booru.set_fault(found["md5"], "gone")
        for hide_it in (False, True):
            hidden |= {rating} if hide_it else set()
            build_originals(context, bucket_of(found["id"]), 2021, recheck=frozenset({Reason.GONE}))
            assert ledger_of(context, found["id"]).reason is Reason.GONE
        assert apply_updates(context.layout, 2021) == 0


def test_gone_is_for_ever_no_more(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A 404 of last year is asked about in the next release, the API first, and the file is there."""
    post = lose(context, booru, bring_posts)
    booru.set_year(2022)
    bring_posts(2022)
    booru.reset_requests()
    build_originals(context, post.bucket, 2022)
    row = ledger_of(context, post.id)
    assert (row.status, row.checked_release) == (Status.OK, 2022)
    assert requests_for(booru, post) == 1
    assert booru.requests()["posts"] == 1


def test_still_gone_is_asked_once_a_release(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """A file that is still a 404 costs one request a release, and the second build of that release none."""
    post = lose(context, booru, bring_posts)
    first = ledger_of(context, post.id)
    booru.set_year(2022)
    bring_posts(2022)
    booru.set_fault(post.md5, "gone")
    booru.reset_requests()
    build_originals(context, post.bucket, 2022)
    second = ledger_of(context, post.id)
    assert (second.reason, second.checked_release, second.attempts) == (Reason.GONE, 2022, first.attempts + 1)
    assert first.checked_at is not None
    assert second.checked_at is not None
    assert first.checked_at < second.checked_at
    booru.reset_requests()
    for year in (2022, 2021):
        assert build_originals(context, post.bucket, year).requests == 0
    assert not booru.requests()
    assert ledger_of(context, post.id) == second


@pytest.mark.parametrize("answer", [(200, b"[]"), (404, b"{}")])
def test_no_answer_about_a_file_that_is_gone_is_not_noted_as_one(
    booru: BooruProcess, settings: Settings, answer: tuple[int, bytes]
) -> None:
    """A build whose question was not answered leaves it open; the next one asks again, and notes the answer."""
    instead = {BY_IDS: answer}
    post = post_that(booru, is_expunged=False)
    with altered(booru, lambda record: record, instead=instead) as url:
        with RunContext(settings.replace(api_url=url)) as context:
            sources.bring_posts(context.source, context.layout, 2021, now=context.now(), progress=lambda _line: None)
            sources.split_by_bucket(context.layout, 2021)
            booru.set_fault(post.md5, "gone")
            build_originals(context, post.bucket, 2021)
            silent = ledger_of(context, post.id)
        instead.clear()
        with RunContext(settings.replace(api_url=url)) as context:
            build_originals(context, post.bucket, 2021)
            answered = ledger_of(context, post.id)
    assert (silent.reason, silent.checked_release) == (Reason.GONE, None)
    assert (answered.reason, answered.checked_release) == (Reason.GONE, 2021)


def test_same_release_asks_again_on_request_only(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """Without `recheck` a release asks once; with it, for these reasons and no others, as often as one likes."""
    post = lose(context, booru, bring_posts)
    for recheck in (frozenset[Reason](), frozenset({Reason.TOO_LARGE})):
        assert build_originals(context, post.bucket, 2021, recheck=recheck).requests == 0
    assert not booru.requests()
    build_originals(context, post.bucket, 2021, recheck=frozenset({Reason.GONE}))
    assert ledger_of(context, post.id).status is Status.OK
    assert requests_for(booru, post) == booru.requests()["posts"] == 1


def test_host_is_asked_for_what_the_api_shows_only(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """A post that the API no longer has gets that reason without a request to the file host."""
    post = lose(context, booru, bring_posts, is_expunged=True)
    booru.set_year(2022)
    build_originals(context, post.bucket, 2021, recheck=frozenset({Reason.GONE}))
    row = ledger_of(context, post.id)
    assert (row.reason, row.checked_release) == (Reason.EXPUNGED, 2021)
    assert requests_for(booru, post) == 0


def expunge(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> SitePost:
    """A post that 2021 had and the sweep of 2022 lacks; the site has it again."""
    bring_posts(2021)
    post = post_that(booru, is_expunged=True)
    build_originals(context, post.bucket, 2021)
    booru.set_year(2022)
    bring_posts(2022)
    build_originals(context, post.bucket, 2022)
    assert ledger_of(context, post.id).reason is Reason.EXPUNGED
    booru.set_year(2021)
    booru.reset_requests()
    return post


def test_expunged_post_that_no_sweep_has_comes_back(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """On request an expunged post is asked about though the sweep lacks it; restored, it is one of the year's posts."""
    post = expunge(context, booru, bring_posts)
    build_originals(context, post.bucket, 2022)
    assert not booru.requests()
    build_originals(context, post.bucket, 2022, recheck=frozenset({Reason.EXPUNGED}))
    assert ledger_of(context, post.id).status is Status.OK
    before = pq.read_table(context.layout.posts(2022)).num_rows
    assert apply_updates(context.layout, 2022) == 1
    after = pq.read_table(context.layout.posts(2022))
    assert after.num_rows == before + 1 == read_report(context.layout, 2022).rows  # type: ignore[union-attr]
    assert after["id"].to_pylist() == sorted({*after["id"].to_pylist(), post.id})
    assert apply_updates(context.layout, 2022) == 0
    split_by_bucket(context.layout, 2022)
    plan = plan_stored_bucket(
        context.layout, post.bucket, 2022, ledger=read_ledger(context.layout.ledger(post.bucket)), exclude_tags=NO_TAGS
    )
    assert (plan.fetch, plan.settle, plan.recheck) == ((), (), ())


def test_post_that_was_taken_down_is_not_asked_about(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """What was taken down does not come back, whatever the site shows, and its row goes."""
    post = expunge(context, booru, bring_posts)
    write_takedowns(context.layout, Takedowns(posts={post.id: TakenDown()}))
    build_originals(context, post.bucket, 2022, recheck=frozenset({Reason.EXPUNGED}))
    assert post.id not in read_ledger(context.layout.ledger(post.bucket))
    assert not booru.requests()


def test_hidden_in_an_old_copy_is_asked_about(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """Metadata from a dump may be old: what it hides, and an earlier release lacked, the API is asked about."""
    post = post_that(booru, is_expunged=False)
    for year in (2021, 2022):
        bring_posts(year)
        hide(context, year, post)
    build_originals(context, post.bucket, 2021)
    assert ledger_of(context, post.id).reason is Reason.RESTRICTED
    booru.reset_requests()
    build_originals(context, post.bucket, 2022)
    row = ledger_of(context, post.id)
    assert (row.status, row.reason) == (Status.OK, None)
    assert requests_for(booru, post) == booru.requests()["posts"] == 1


def test_row_without_a_file_says_when_it_was_looked_at(
    context: RunContext, booru: BooruProcess, bring_posts: BringPosts
) -> None:
    """What follows from the metadata was looked at by the sweep, for the release of the sweep; once a release."""
    hidden = next(p["id"] for p in booru.truth(2021) if not p.get("md5") and p["created_at"] < "2021-12-31T19")
    bring_posts(2021)
    build_originals(context, bucket_of(hidden), 2021)
    row, report = ledger_of(context, hidden), read_report(context.layout, 2021)
    assert report is not None
    assert (row.checked_at, row.checked_release) == (report.taken_at, 2021)
    bring_posts(2021)
    build_originals(context, bucket_of(hidden), 2021)
    assert ledger_of(context, hidden) == row


def test_plan_shows_what_is_asked_about(context: RunContext, booru: BooruProcess, bring_posts: BringPosts) -> None:
    """`--dry-run`, `plan` and `--retry` see the posts: in the next release, and for the reasons of `--recheck`."""
    post = lose(context, booru, bring_posts)
    known = read_ledger(context.layout.ledger(post.bucket))

    def planned(recheck: frozenset[Reason]) -> tuple[int, ...]:
        plan = plan_stored_bucket(
            context.layout, post.bucket, 2021, ledger=known, exclude_tags=frozenset(), recheck=recheck
        )
        assert bool(plan.fetch or plan.settle or plan.recheck) == bool(plan.recheck)
        return plan.recheck

    assert planned(frozenset()) == ()
    assert planned(RECHECKABLE) == tuple(sorted(id_ for id_, row in known.items() if row.reason in RECHECKABLE))
    assert planned(frozenset({Reason.GONE})) == (post.id,)


def test_ledger_of_an_earlier_version_is_read(context: RunContext) -> None:
    """Ledgers without the two columns are read; their rows were never asked about, as far as anyone knows."""
    path = context.layout.ledger("0001")
    path.parent.mkdir(parents=True)
    row = LedgerRow(id=1, md5="0" * 32, ext="jpg", reason=Reason.GONE, fetched_at=datetime(2022, 1, 1, tzinfo=UTC))
    pq.write_table(table_of([row], LEDGER_SCHEMA).drop_columns(["checked_at", "checked_release"]), path)
    assert read_ledger(path) == {1: row}
    assert not row.was_checked(release=2021)


def test_reasons_to_ask_again_are_a_closed_list() -> None:
    """`all`, or names from the list; a held file, a full disk and the operator's own choice are not on it."""
    assert parse_recheck("gone, refused") == {Reason.GONE, Reason.REFUSED}
    assert parse_recheck("all") == RECHECKABLE
    assert parse_recheck("") == frozenset()
    for name in ("gnoe", "replaced", "disk_full", "excluded_tag", "rating", "all,gone"):
        with pytest.raises(ValueError, match="not a reason to ask again"):
            parse_recheck(name)
