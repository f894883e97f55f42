"""Posts of a release from whichever source there is."""

from collections.abc import Callable
from datetime import datetime

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources.bulk import BulkSource, load_posts
from danbooru_pipeline.sources.report import SweepReport
from danbooru_pipeline.sources.source import Source
from danbooru_pipeline.sources.sweep import sweep_posts


def bring_posts(
    source: Source | BulkSource, layout: Layout, year: int, *, now: datetime, progress: Callable[[str], None]
) -> SweepReport:
    """Bring all posts of a release to ``metadata/YEAR/posts.parquet``.

    Raises:
        SourceError: the source cannot be used, or ends before the release does.
    """
    if isinstance(source, BulkSource):
        return load_posts(source, layout, year, now=now, progress=progress)
    return sweep_posts(source, layout, year, now=now, progress=progress)
