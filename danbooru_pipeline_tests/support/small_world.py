"""Two releases of the embedded booru, made as real ones are but without Dagster: what readers and validators get."""

from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import start_booru
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.release import DocumentOptions, apply_snapshot, flip_current, plan_snapshot, write_manifest
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import bring_posts, export_side_tables, split_by_bucket
from danbooru_pipeline.store.originals import build_originals
from danbooru_pipeline.store.px512 import build_px512

OPTIONS = DocumentOptions(
    maker="Example & Archive",
    contact="removals@example.org",
    url="https://data.example.org/releases",
    webdataset=True,
    torrent=True,
)
YEARS = (2021, 2022)


def silent(_line: str) -> None:
    """Say nothing."""


def make_releases(root: Path, *, posts: int = 90, options: DocumentOptions = OPTIONS) -> Layout:
    """Build both years below a folder."""
    with start_booru(posts=posts, year=YEARS[0], files=root / "booru", rate_limit=False) as booru:
        settings = Settings(
            root=root / "root", api_url=booru.api_url, cdn_url=booru.cdn_url, workers=2, png_level=0, retry_seconds=3
        )
        for year in YEARS:
            booru.set_year(year)
            with RunContext(settings) as context:
                make_release(context, year, options=options)
    flip_current(Layout(settings.root))
    return Layout(settings.root)


def make_release(context: RunContext, year: int, *, options: DocumentOptions) -> None:
    """Build one year with a run_context that is open."""
    layout = context.layout
    bring_posts(context.source, layout, year, now=context.now(), progress=silent)
    split_by_bucket(layout, year)
    export_side_tables(context.source, layout, year, progress=silent)
    for bucket in BUCKETS:
        # A bucket without posts may still have rows of posts that are gone.
        if layout.posts_bucket(year, bucket).exists() or layout.ledger(bucket).exists():
            build_originals(context, bucket, year)
            build_px512(context, bucket, year)
    write_manifest(layout, year, px512_settings=context.image_settings.fingerprint())
    plan = plan_snapshot(layout, year, image_settings=context.image_settings.as_dict(), options=options)
    apply_snapshot(plan, created_at=context.now(), threads=2)
