"""Asks the source again about posts whose file could not be fetched: it may have changed since the sweep."""

from collections.abc import Iterable
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.posts.report import read_report
from danbooru_pipeline.sources import save_updates
from danbooru_pipeline.store.open_ledger import OpenLedger
from danbooru_pipeline.store.planning import plan_stored_bucket, read_bucket_posts

#: Outcomes that may have a cause upstream.
RECHECK_REASONS: Final = frozenset(
    reason
    for reason, (status, _) in REASONS.items()
    if status is Status.PENDING or reason in {Reason.GONE, Reason.TOO_LARGE}
)


def recheck_bucket(
    context: RunContext, ledger: OpenLedger, bucket: str, year: int, *, tried: Iterable[Fetch]
) -> tuple[Fetch, ...]:
    """Settle posts that were hidden or expunged since the sweep. Returns the files of those that have another one now.

    Args:
        context: asks the source.
        ledger: of the bucket; has the row of every attempt.
        bucket: its name; the answers are saved beside its slice of the sweep.
        year: of the release.
        tried: the files that were tried.

    Raises:
        SourceBlocked: the booru refuses us as a client.
    """
    doubtful = [fetch.id for fetch in tried if ledger.rows[fetch.id].reason in RECHECK_REASONS]
    if not doubtful:
        return ()
    control_id = _control_id(context.layout, bucket, year, doubtful)
    updates = context.rechecker.recheck(doubtful, control_id=control_id)
    if not updates.rows and not updates.expunged:
        return ()
    save_updates(context.layout, year, bucket, updates)
    plan = plan_stored_bucket(context.layout, bucket, year, ledger=ledger.rows, exclude_tags=context.exclude_tags)
    ledger.settle(plan.settle)
    return tuple(fetch for fetch in plan.fetch if fetch.id in updates.rows and ledger.rows[fetch.id].md5 != fetch.md5)


def _control_id(layout: Layout, bucket: str, year: int, doubtful: list[int]) -> int | None:
    """A post that the source should know: another visible one of the bucket, else the last of the year."""
    others = (post.id for post in read_bucket_posts(layout, bucket, year) if post.id not in doubtful and post.visible)
    report = read_report(layout, year)
    return next(others, None) or (report.max_id if report else None)
