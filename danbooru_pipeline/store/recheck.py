"""Asks the source again about posts whose file is not held: it may have changed since the sweep, or since last year.

What an earlier release could not have is asked about before anything is fetched, by ids, so the file host is asked only
for files that the booru shows. What could not be fetched now is asked about afterwards.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import REASONS, RECHECKABLE, Reason, Status
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.posts.report import read_report, says_banned
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.sources import save_updates
from danbooru_pipeline.sources.controls import controls_of
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.store.open_ledger import OpenLedger
from danbooru_pipeline.store.plan import FILE_REASONS, BucketPlan
from danbooru_pipeline.store.planning import plan_stored_bucket

#: Outcomes of an attempt that may have a cause upstream.
RECHECK_REASONS: Final = FILE_REASONS | {reason for reason, (status, _) in REASONS.items() if status is Status.PENDING}
#: Outcomes that follow from a metadata row. A sweep of the API has just asked; a copy of the metadata may be old.
METADATA_REASONS: Final = frozenset({Reason.RESTRICTED, Reason.BANNED, Reason.BAD_ROW})


def ask_before_fetching(
    context: RunContext,
    ledger: OpenLedger,
    bucket: str,
    year: int,
    *,
    plan: BucketPlan,
    recheck: frozenset[Reason] = frozenset(),
) -> BucketPlan:
    """Ask about posts that earlier builds got no file of. Returns the plan that the answers leave.

    Without an answer the plan stays: then the metadata is the newest that is known.

    Args:
        context: asks the source.
        ledger: of the bucket; the plan is settled in it.
        bucket: its name.
        year: of the release.
        plan: of the bucket.
        recheck: the reasons that the plan was made with.

    Raises:
        SourceBlocked: the booru refuses us as a client.
    """
    asked = sorted({*plan.recheck, *_hidden_in_a_copy(context.layout, ledger, year)})
    answered = _ask(context, bucket, year, asked) if asked else frozenset()
    if not answered:
        return plan
    layout, excluded = context.layout, context.exclude_tags
    new = plan_stored_bucket(layout, bucket, year, ledger=ledger.rows, exclude_tags=excluded, recheck=recheck)
    ledger.settle((*new.keep, *new.settle))
    now = context.now()
    ledger.settle(ledger.rows[id_].checked(at=now, release=year) for id_ in answered if id_ in ledger.rows)
    return replace(new, recheck=tuple(asked))


def failed_ids(ledger: OpenLedger, tried: Iterable[Fetch], *, asked: Collection[int] = ()) -> tuple[int, ...]:
    """Posts whose file was tried and could not be had, for a cause that may lie upstream.

    Args:
        ledger: of the bucket; has the row of every attempt.
        tried: the files that were tried.
        asked: ids of posts that the source was asked about before.
    """
    known = set(asked)
    failed = (fetch.id for fetch in tried if ledger.rows[fetch.id].reason in RECHECK_REASONS)
    return tuple(id_ for id_ in failed if id_ not in known)


def recheck_bucket(
    context: RunContext, ledger: OpenLedger, bucket: str, year: int, *, failed: Collection[int]
) -> tuple[Fetch, ...]:
    """Settle posts that were hidden or expunged since the sweep. Returns the files of those that have another one now.

    A post that the source says nothing about counts as not asked about: the next build asks again.

    Args:
        context: asks the source.
        ledger: of the bucket; has the row of every attempt.
        bucket: its name; the answers are saved beside its slice of the sweep.
        year: of the release.
        failed: ids of the posts.

    Raises:
        SourceBlocked: the booru refuses us as a client.
    """
    answered = _ask(context, bucket, year, list(failed))
    if not answered:
        return ()
    plan = plan_stored_bucket(context.layout, bucket, year, ledger=ledger.rows, exclude_tags=context.exclude_tags)
    ledger.settle(plan.settle)
    now = context.now()
    ledger.settle(ledger.rows[id_].checked(at=now, release=year) for id_ in answered if id_ in ledger.rows)
    return tuple(fetch for fetch in plan.fetch if fetch.id in answered and ledger.rows[fetch.id].md5 != fetch.md5)


def seen_in_sweep(rows: Iterable[LedgerRow], layout: Layout, year: int) -> Iterable[LedgerRow]:
    """Rows that follow from the metadata: those without a file were last looked at by the sweep."""
    report = read_report(layout, year)
    for row in rows:
        is_of_later = row.first_release is not None and row.first_release > year
        is_new = row.reason in RECHECKABLE and not is_of_later and not row.was_checked(release=year)
        yield row.checked(at=report.taken_at, release=year) if report and is_new else row


def expect_rechecks(
    context: RunContext, buckets: Iterable[str], year: int, *, recheck: frozenset[Reason] = frozenset()
) -> None:
    """Name the posts that the buckets of a run will ask about before they fetch, so that they share requests.

    It reads three columns of each ledger, and may name a post too many, which is asked about where a request has room.
    """
    report = read_report(context.layout, year)
    is_copy = report is not None and report.name != "api"
    due = FILE_REASONS | (METADATA_REASONS if is_copy else frozenset())
    found = [id_ for bucket in buckets for id_ in _due_ids(context.layout.ledger(bucket), year, due, recheck)]
    if found:
        context.rechecker.expect(found)


def _due_ids(path: Path, year: int, due: Collection[Reason], recheck: Collection[Reason]) -> list[int]:
    if not path.exists():
        return []
    columns = [name for name in ("id", "reason", "checked_release") if name in pq.read_schema(path).names]
    rows = pq.ParquetFile(path).read(columns=columns)
    rows = rows.filter(rows["reason"].is_valid())
    return [
        row["id"]
        for row in rows.to_pylist()
        if row["reason"] in recheck or (row["reason"] in due and (row.get("checked_release") or 0) < year)
    ]


def _ask(context: RunContext, bucket: str, year: int, ids: list[int]) -> frozenset[int]:
    """Ask about posts and save the answers. Returns the ids that there is an answer for."""
    taken_down = read_takedowns(context.layout).ids  # they must not come back
    ids = [id_ for id_ in ids if id_ not in taken_down]
    if not ids:
        return frozenset()
    updates = context.rechecker.recheck(
        ids,
        controls=controls_of(context.layout, year, bucket, asked=ids),
        says_banned=says_banned(context.layout, year),
    )
    answered = frozenset(updates.rows) | updates.expunged
    if answered:
        save_updates(context.layout, year, bucket, updates)
    return answered


def _hidden_in_a_copy(layout: Layout, ledger: OpenLedger, year: int) -> Iterable[int]:
    """Posts that an earlier release had no file of, and that a copy of the metadata (no sweep) still hides."""
    report = read_report(layout, year)
    if report is None or report.name == "api":
        return []
    return [
        row.id
        for row in ledger.known.values()
        if row.reason in METADATA_REASONS
        and ledger.rows[row.id].reason in METADATA_REASONS
        and not row.was_checked(release=year)
    ]
