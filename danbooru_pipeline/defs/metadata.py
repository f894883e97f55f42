"""Assets of the metadata: the posts of a release, their slices by bucket, and the side tables."""

import hashlib
from collections.abc import Mapping

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import FOLLOW_CHECKED_RELEASE, OWNERS
from danbooru_pipeline.defs.described import described, settings_metadata, where
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.operate.preflight import check_clock
from danbooru_pipeline.posts import POST_SCHEMA
from danbooru_pipeline.posts.report import load_posts_report
from danbooru_pipeline.posts.table_reports import TableReport
from danbooru_pipeline.sources import bring_posts, export_side_tables, leave_out_side_tables, split_by_bucket
from danbooru_pipeline.store.follow import compare_with_sweep

GROUP = "metadata"
BUSY = "another run is writing the metadata of {year}; wait until it ends, then run again"
#: Of a run that decides to release without side tables: no table is asked for.
WITHOUT_TABLES_TAG = "danbooru/without-tables"


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
    metadata=described(runbook="a-run-died", schema=POST_SCHEMA),
)
def posts(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """All posts of a release, up to its cutoff, as one typed Parquet file sorted by id."""
    year = int(context.partition_key)
    with (
        clear_failures(run_context, run_log),
        exclusive(run_context.layout.year_lock(year), busy=BUSY.format(year=year)),
    ):
        check_clock(run_context)
        report = bring_posts(
            run_context.source, run_context.layout, year, now=run_context.now(), progress=context.log.info
        )
        missed = compare_with_sweep(run_context.layout, year)
    if missed is not None:
        context.log.info(missed.line())
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": report.rows,
            "rejected_rows": report.rejected,
            "rows_with_unknown_columns": report.drifted,
            "last_id": report.max_id,
            "newest_post": str(report.max_created_at),
            "requests": report.requests,
            "settings": settings_metadata(),
            **where(run_context.layout.posts(year)),
            **(missed.as_numbers() if missed else {}),
        },
        data_version=dg.DataVersion(report.sha256),
    )


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"parquet"},
    owners=OWNERS,
    deps=[posts],
    metadata=described(runbook="a-run-died", schema=POST_SCHEMA),
    automation_condition=FOLLOW_CHECKED_RELEASE,
)
def posts_by_bucket(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """The posts of a release as one small file for each bucket, so that a bucket reads its rows in milliseconds."""
    year = int(context.partition_key)
    with (
        clear_failures(run_context, run_log),
        exclusive(run_context.layout.year_lock(year), busy=BUSY.format(year=year)),
    ):
        written = split_by_bucket(run_context.layout, year)
    report = load_posts_report(run_context.layout, year)
    return dg.MaterializeResult(
        metadata={
            "buckets_with_posts": written,
            **where(run_context.layout.posts_by_bucket(year)),
        },
        data_version=dg.DataVersion(report.sha256),
    )


@dg.asset(
    partitions_def=releases,
    group_name=GROUP,
    kinds={"json"},
    owners=OWNERS,
    metadata=described(runbook="side-tables-did-not-come"),
)
def side_tables(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """Tags, aliases, implications, artists, pools, notes, comments and more, as far as the source offers them.

    A run with the tag danbooru/without-tables decides that the release has none, and asks for none.
    """
    year = int(context.partition_key)
    with (
        clear_failures(run_context, run_log),
        exclusive(run_context.layout.year_lock(year), busy=BUSY.format(year=year)),
    ):
        if WITHOUT_TABLES_TAG in context.run.tags:
            reports = leave_out_side_tables(run_context.layout, year)
        else:
            reports = export_side_tables(run_context.tables_source, run_context.layout, year, progress=context.log.info)
    lines = [
        f"| {name} | {report.status} | {report.rows:,} | {report.rejected:,} |" for name, report in reports.items()
    ]
    came = "\n".join(("| table | status | rows | rejected |", "|---|---|---:|---:|", *lines))
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": sum(report.rows for report in reports.values()),
            "tables": sum(report.status == "ok" for report in reports.values()),
            "what_came": dg.MetadataValue.md(came),
            **where(run_context.layout.side_tables_report(year)),
        },
        data_version=dg.DataVersion(_version_of(reports)),
    )


def _version_of(reports: Mapping[str, TableReport]) -> str:
    """A digest of what came: the same tables have the same, however often they are brought."""
    lines = [f"{name} {report.status} {report.rows} {report.sha256}" for name, report in sorted(reports.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
