"""Checks of metadata, images and release: each records numbers, plotted over time, and the worst rows as a table.

A blocking check keeps a release from being published; a warning is for the operator to look at.
"""

from datetime import datetime

import dagster as dg
import pyarrow.parquet as pq

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.images import images_512px, original_images
from danbooru_pipeline.defs.metadata import posts, side_tables
from danbooru_pipeline.defs.partitions import bucket_releases, releases
from danbooru_pipeline.defs.release import release_manifest, release_snapshot
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import SHOWN
from danbooru_pipeline.errors import SourceStale, SourceUnusable
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.posts.drift import Columns, column_drift
from danbooru_pipeline.posts.report import judge_freshness, read_report
from danbooru_pipeline.posts.table_reports import read_table_reports
from danbooru_pipeline.release import read_summary, verify_release
from danbooru_pipeline.release.manifest.quality import (
    MAX_MISSING_SHARE,
    composition,
    drift,
    missing_shares,
    px512_balance,
)
from danbooru_pipeline.sources.completeness import Gap, count_gaps, posts_gaps, table_gaps, unreadable_gaps
from danbooru_pipeline.sources.tables import stale_tables
from danbooru_pipeline.years import cutoff

_WARN = dg.AssetCheckSeverity.WARN


def _table(head: str, rows: list[str]) -> dg.MarkdownMetadataValue:
    columns = head.count("|") - 1
    return dg.MetadataValue.md("\n".join([head, "|" + "---|" * columns, *(rows[:SHOWN] or ["| none |"])]))


@dg.asset_check(asset=posts, blocking=True, partitions_def=releases)
def posts_reach_the_end_of_the_year(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.AssetCheckResult:
    """The source reaches the release's cutoff; its numbers are shown beside those of last year."""
    year = int(context.partition_key)
    now, before = read_report(run_context.layout, year), read_report(run_context.layout, year - 1)
    if now is None:
        return dg.AssetCheckResult(passed=False, description=f"the posts of {year} have no report; build `posts` again")
    verdict = judge_freshness(now, year)
    if not verdict.fresh:
        run_log.stopped_by = SourceStale(verdict.why)  # a headless build ends with the same words
    rows = [
        f"| {name} | {getattr(before, key, None) or ''} | {getattr(now, key) or ''} |"
        for name, key in (
            ("source", "name"), ("last id", "max_id"), ("newest post", "max_created_at"), ("rows", "rows"),
            ("rows that the source announces", "announced"), ("table written", "modified"),
            ("posts after the cutoff", "beyond"), ("rejected rows", "rejected"),
        )
    ]  # fmt: skip
    return dg.AssetCheckResult(
        passed=verdict.fresh,
        description=verdict.why,
        metadata={
            "last_id": now.max_id,
            "rows": now.rows,
            "rejected": now.rejected,
            "posts_after_the_cutoff": now.beyond,
            "hours_before_the_cutoff": _hours_before(cutoff(year), now.max_created_at),
            "source": _table(f"| | {year - 1} | {year} |", rows),
        },
    )


def _hours_before(limit: datetime, newest: datetime | None) -> float:
    return (limit - newest).total_seconds() / 3600 if newest is not None else -1.0


@dg.asset_check(asset=posts, blocking=True, partitions_def=releases)
def posts_are_as_many_as_the_source_counts(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.AssetCheckResult:
    """Reading gave the posts that the source counts, or the operator accepted that some are missing, with a reason."""
    return _whole(count_gaps(run_context.layout, int(context.partition_key)), run_context, run_log)


@dg.asset_check(asset=posts, blocking=True, partitions_def=releases)
def posts_of_last_year_are_there(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.AssetCheckResult:
    """Hardly any post of last year, or of an earlier read of this one, is gone, or that was accepted with a reason."""
    return _whole(posts_gaps(run_context.layout, int(context.partition_key)), run_context, run_log)


@dg.asset_check(asset=posts, blocking=True, partitions_def=releases)
def rows_of_posts_are_understood(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.AssetCheckResult:
    """Hardly any post gets no file for what its row says, or the operator accepted that with a reason."""
    gaps = unreadable_gaps(run_context.layout, int(context.partition_key), run_context.exclude_tags)
    return _whole(gaps, run_context, run_log)


@dg.asset_check(asset=side_tables, blocking=True, partitions_def=releases)
def side_tables_are_whole(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.AssetCheckResult:
    """No side table is empty or lost most rows that it had, last year or in an earlier read, or that was accepted."""
    return _whole(table_gaps(run_context.layout, int(context.partition_key)), run_context, run_log)


def _whole(gaps: list[Gap], run_context: RunContext, run_log: RunLog) -> dg.AssetCheckResult:
    accepted = run_context.settings.accept_incomplete
    left = [gap for gap in gaps if gap.name not in accepted]
    if left:
        run_log.stopped_by = run_log.stopped_by or SourceUnusable(
            left[0].line
        )  # a headless build ends with the same words
    rows = [f"| {gap.name} | {gap.what} | {accepted.get(gap.name, '')} |" for gap in [*left, *gaps]]
    return dg.AssetCheckResult(
        passed=not left,
        description="; ".join(gap.line for gap in left) or None,
        metadata={
            "missing": len(left),
            "accepted": len(gaps) - len(left),
            "gaps": _table("| what | missing | accepted because |", list(dict.fromkeys(rows))),
        },
    )


@dg.asset_check(asset=posts, partitions_def=releases)
def columns_are_those_of_last_year(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """No column of the posts is new, lost or of another type since last year. Nothing is lost: `extra` keeps it."""
    year = int(context.partition_key)
    now, before = read_report(run_context.layout, year), read_report(run_context.layout, year - 1)
    found = column_drift(before.columns if before else None, now.columns if now else Columns())
    rows = [
        *(f"| {name} | new | {count:,} |" for name, count in found.appeared.items()),
        *(f"| {name} | lost | |" for name in found.lost),
        *(f"| {name} | another type | {count:,} |" for name, count in found.retyped.items()),
    ]
    return dg.AssetCheckResult(
        passed=not found,
        severity=_WARN,
        metadata={
            "new": len(found.appeared),
            "lost": len(found.lost),
            "retyped": len(found.retyped),
            "columns": _table("| column | what | rows |", rows),
        },
    )


@dg.asset_check(asset=side_tables, blocking=True, partitions_def=releases)
def side_tables_reach_the_end_of_the_year(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """Every side table with a date was written after the release's cutoff."""
    year = int(context.partition_key)
    reports = read_table_reports(run_context.layout, year)
    stale = stale_tables(reports, year)
    rows = [
        f"| {name} | {report.status} | {report.rows:,} | {report.modified or ''} | {'stale' if name in stale else ''} |"
        for name, report in sorted(reports.items(), key=lambda item: item[0] not in stale)
    ]
    why = (
        f"{', '.join(stale)}: written before {cutoff(year):%Y-%m-%d %H:%M} UTC; set DANBOORU_TABLES_SOURCE to a newer "
        "source, then build `side_tables` again"
    )
    return dg.AssetCheckResult(
        passed=not stale,
        description=why if stale else None,
        metadata={
            "tables": sum(report.status == "ok" for report in reports.values()),
            "stale": len(stale),
            "what_came": _table("| table | status | rows | written | |", rows),
        },
    )


@dg.asset_check(asset=release_manifest, blocking=True, partitions_def=releases)
def every_post_has_its_row(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """Posts and manifest have the same number of rows, and every row has a status; pending rows are counted."""
    year = int(context.partition_key)
    summary = read_summary(run_context.layout, year)
    count = pq.read_metadata(run_context.layout.posts(year)).num_rows
    rows = [f"| {name} | {number:,} |" for name, number in summary.statuses.items()]
    return dg.AssetCheckResult(
        passed=count == summary.posts == sum(summary.statuses.values()),
        metadata={
            "posts": count,
            "manifest_rows": summary.posts,
            "pending": summary.pending,
            "statuses": _table("| status | posts |", rows),
        },
    )


@dg.asset_check(asset=release_manifest, blocking=True, partitions_def=releases)
def every_sfw_row_has_its_512px_image(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """Every row with an SFW rating has a 512px image or a reason, and every image is in the store."""
    year = int(context.partition_key)
    balance = px512_balance(run_context.layout, year)
    reasons = read_summary(run_context.layout, year).reasons["px512"]
    rows = [f"| {name} | {count:,} |" for name, count in sorted(reasons.items(), key=lambda item: -item[1])]
    return dg.AssetCheckResult(
        passed=balance.balances,
        metadata={
            "sfw_rows": balance.sfw_rows,
            "images": balance.images,
            "with_a_reason": balance.explained,
            "files": balance.files,
            "reasons": _table("| reason | posts |", rows),
        },
    )


@dg.asset_check(asset=release_manifest, partitions_def=releases)
def missing_files_below_threshold(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """No single reason accounts for missing files of more than 0.1 % of all posts."""
    summary = read_summary(run_context.layout, int(context.partition_key))
    shares = missing_shares(summary.reasons["original"], summary.posts)
    rows = [f"| {name} | {share:.3%} |" for name, share in shares.items()]
    return dg.AssetCheckResult(
        passed=all(share <= MAX_MISSING_SHARE for share in shares.values()),
        severity=_WARN,
        metadata={
            **{f"share_{name}": share for name, share in shares.items()},
            "share_of_all": sum(shares.values()),
            "worst": _table("| reason | share of posts |", rows),
        },
    )


@dg.asset_check(asset=release_manifest, partitions_def=releases)
def composition_is_stable(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """Ratings and types moved by less than 2 points, and tags per post by less than a tenth, since last year."""
    year = int(context.partition_key)
    before, now = composition(run_context.layout, year - 1), composition(run_context.layout, year)
    if before is None or now is None:
        return dg.AssetCheckResult(passed=True, severity=_WARN, description=f"{year - 1} is not there to compare with")
    found = drift(before, now)
    rows = [f"| {d.name} | {d.before:.4g} | {d.now:.4g} | {'look' if d.moved else ''} |" for d in found]
    return dg.AssetCheckResult(
        passed=not any(each.moved for each in found),
        severity=_WARN,
        metadata={
            "tags_per_post": now.tags_per_post,
            "moved": sum(each.moved for each in found),
            "drift": _table(f"| what | {year - 1} | {year} | |", rows),
        },
    )


@dg.asset_check(asset=release_snapshot, blocking=True, partitions_def=releases)
def release_verifies(
    context: dg.AssetCheckExecutionContext, run_context: dg.ResourceParam[RunContext]
) -> dg.AssetCheckResult:
    """The release verifies from its folder alone, as anyone can do it."""
    report = verify_release(run_context.layout.release(int(context.partition_key)))
    lines = [f"- {line}" for line in report.lines()[:SHOWN]]
    return dg.AssetCheckResult(passed=report.ok, metadata={"report": dg.MetadataValue.md("\n".join(lines))})


@dg.asset_check(asset=release_manifest, partitions_def=releases)
def every_bucket_is_finished(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """No bucket of the release is missing or failed. On the images themselves it would run with each of their runs."""
    keys = [f"{bucket}|{context.partition_key}" for bucket in BUCKETS]
    rows = []
    for asset in (original_images, images_512px):
        states = context.instance.get_status_by_partition(asset.key, keys, bucket_releases) or {}
        for key in keys:
            state = states.get(key)
            if state is None or state.name != "MATERIALIZED":
                shown = "missing" if state is None else state.name.lower()
                rows.append(f"| {asset.key.to_user_string()} | {key} | {shown} |")
    return dg.AssetCheckResult(
        passed=not rows,
        severity=_WARN,
        metadata={"unfinished": len(rows), "buckets": _table("| asset | partition | state |", rows)},
    )


CHECKS = [
    posts_reach_the_end_of_the_year,
    posts_are_as_many_as_the_source_counts,
    posts_of_last_year_are_there,
    rows_of_posts_are_understood,
    side_tables_are_whole,
    columns_are_those_of_last_year,
    side_tables_reach_the_end_of_the_year,
    every_post_has_its_row,
    every_sfw_row_has_its_512px_image,
    missing_files_below_threshold,
    composition_is_stable,
    release_verifies,
    every_bucket_is_finished,
]
