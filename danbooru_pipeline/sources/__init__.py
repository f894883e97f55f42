"""Where metadata comes from.

The JSON API is a `Source`: it answers, page by page, which records follow an id. The mirror, dumps and archives are a
`BulkSource`: they give whole tables in any order. Typing rows and splitting them by bucket is the same for both.
"""

from danbooru_pipeline.posts.report import SweepReport
from danbooru_pipeline.sources.api import ApiSource
from danbooru_pipeline.sources.bulk import BulkSource
from danbooru_pipeline.sources.open import bring_posts
from danbooru_pipeline.sources.recheck import PostUpdates, apply_updates, discard_updates, recheck_posts, save_updates
from danbooru_pipeline.sources.source import Page, Source
from danbooru_pipeline.sources.split import split_by_bucket
from danbooru_pipeline.sources.sweep import sweep_posts
from danbooru_pipeline.sources.tables import SIDE_TABLES, export_side_tables, leave_out_side_tables

__all__ = [
    "SIDE_TABLES",
    "ApiSource",
    "BulkSource",
    "Page",
    "PostUpdates",
    "Source",
    "SweepReport",
    "apply_updates",
    "bring_posts",
    "discard_updates",
    "export_side_tables",
    "leave_out_side_tables",
    "recheck_posts",
    "save_updates",
    "split_by_bucket",
    "sweep_posts",
]
