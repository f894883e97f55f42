"""Opens a source by its name in the settings, and fetches the posts of a release from it."""

import os
from datetime import datetime
from pathlib import Path

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import SweepReport, read_report
from danbooru_pipeline.progress import Say
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.bulk import BulkSource, load_posts
from danbooru_pipeline.sources.files import ArchiveSource, DumpSource
from danbooru_pipeline.sources.source import Source
from danbooru_pipeline.sources.sweep import sweep_posts


def open_bulk(name: str, settings: Settings, *, now: datetime, shows_only: bool = False) -> BulkSource:
    """The source `name`: ``bigquery``, ``dump`` or ``archive``.

    Args:
        name: of the source.
        settings: where it is.
        now: the time.
        shows_only: whether a table of a dump over HTTP is only shown, by its first file, and without rows.

    Raises:
        SettingsError: its address is not set.
    """
    if name == "dump":
        if not settings.dump:
            raise SettingsError("the source dump has no address; set DANBOORU_DUMP to a folder or an address")
        agent, seconds = settings.user_agent, settings.retry_seconds
        return DumpSource(settings.dump, user_agent=agent, retry_seconds=seconds, shows_only=shows_only)
    if name == "archive":
        if not settings.archive:
            raise SettingsError("the source archive has no path; set DANBOORU_ARCHIVE to a metadata folder or tar.xz")
        return ArchiveSource(Path(settings.archive), cdn_url=settings.cdn_url)
    from danbooru_pipeline.sources.bigquery import BigQuerySource  # noqa: PLC0415 - takes two seconds

    emulator = os.environ.get("BIGQUERY_EMULATOR_HOST", "")
    if emulator and not settings.bigquery_grpc:
        raise SettingsError("BIGQUERY_EMULATOR_HOST is set; set DANBOORU_BIGQUERY_GRPC to its host:port for rows")
    return BigQuerySource(
        settings.bigquery_tables,
        emulator=emulator,
        grpc_endpoint=settings.bigquery_grpc,
        now=now,
        retry_seconds=settings.retry_seconds,
        read_before=lambda year: _read_before(Layout(settings.root), year),
    )


def _read_before(layout: Layout, year: int) -> datetime | None:
    report = read_report(layout, year)
    return report.as_of if report is not None else None


def bring_posts(source: Source | BulkSource, layout: Layout, year: int, *, now: datetime, progress: Say) -> SweepReport:
    """Bring all posts of a release to ``metadata/YEAR/posts.parquet``.

    Raises:
        SourceError: the source cannot be used, or ends before the release does.
    """
    if isinstance(source, BulkSource):
        return load_posts(source, layout, year, now=now, progress=progress)
    return sweep_posts(source, layout, year, now=now, progress=progress)
