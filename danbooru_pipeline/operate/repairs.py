"""What makes a damaged file again: it is set aside first, and comes from what the root still has.

Where nothing in the root has it, it is only set aside, and the next build brings it.
"""

from collections.abc import Callable
from pathlib import Path

from danbooru_pipeline.errors import DamagedFile, StoreError
from danbooru_pipeline.io.damage import damage_named, set_aside
from danbooru_pipeline.io.leases import leased
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.parquet import read_batches, row_count
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import PostsReport, load_posts_report, write_posts_report
from danbooru_pipeline.release.manifest.summary import Tally
from danbooru_pipeline.release.manifest.write import write_manifest_table
from danbooru_pipeline.release.release_json import published, read_release
from danbooru_pipeline.release.takedown.without import write_posts_without
from danbooru_pipeline.sources import split_by_bucket
from danbooru_pipeline.store.recovery import ledger_or_recovered
from danbooru_pipeline.store.root import require_known_root

#: ``repair(layout, path, why)`` makes the file again, or leaves it to the next build.
Repair = Callable[[Layout, Path, str], None]


def year_of(layout: Layout, path: Path) -> int:
    """The year of a file below ``metadata/``."""
    return int(path.relative_to(layout.root / "metadata").parts[0])


def leave_to_build(_layout: Layout, path: Path, why: str) -> None:
    """Set a file aside that the next build brings."""
    _aside(path, why)


def _aside(path: Path, why: str) -> None:
    if path.exists():
        set_aside(path, why)


def repair_ledger(layout: Layout, path: Path, _why: str) -> None:
    """Make a ledger again from the manifests of the root."""
    with leased(layout.bucket_lock(path.stem)):
        ledger_or_recovered(layout, path.stem)


def repair_slices(layout: Layout, path: Path, why: str) -> None:
    """Split the posts of a year by bucket again."""
    year = year_of(layout, path)
    busy = f"another run is writing the metadata of {year}; wait until it ends, then run again"
    with exclusive(layout.year_lock(year), busy=busy):
        if path.exists():
            set_aside(path, why, folder=layout.metadata(year))
        split_by_bucket(layout, year)


def repair_posts_report(layout: Layout, path: Path, why: str) -> None:
    """Take the report of a year's posts from its release."""
    year = year_of(layout, path)
    _aside(path, why)
    folder = published(layout).get(year)
    sources = read_release(folder).sources if folder else []
    if sources:
        write_posts_report(layout, year, PostsReport({"source": sources[0]}))


def repair_posts(layout: Layout, path: Path, why: str) -> None:
    """Take the posts of a year from its release."""
    _aside(path, why)
    year = year_of(layout, path)
    shards = layout.released_posts(year) if year in published(layout) else []
    if shards:
        write_posts_without(shards, path, ())


def repair_manifest(layout: Layout, path: Path, why: str) -> None:
    """Take the manifest of a year from its release."""
    _aside(path, why)
    folder = published(layout).get(year_of(layout, path))
    if folder is None:
        return
    shards, tally = sorted(folder.glob("manifest/files-*.parquet")), Tally()
    for shard in shards:
        for table in read_batches(shard):
            tally.add(table)
    tables = (table for shard in shards for table in read_batches(shard))
    write_manifest_table(path, tables, tally.summary(read_release(folder).inputs.manifest))


def repair_version(layout: Layout, path: Path, why: str) -> None:
    """Set a version aside that cannot be read; that of newer code stays.

    Raises:
        StoreError: the root is of newer code.
    """
    try:
        require_known_root(layout)
    except DamagedFile:
        _aside(path, why)


def require_swept(layout: Layout, year: int) -> None:
    """Refuse to go on with the posts of an earlier build where they are damaged; slices are made again.

    Raises:
        StoreError: a file of the sweep is damaged.
    """
    for path, check in (
        (layout.posts(year), lambda: row_count(layout.posts(year))),
        (layout.posts_report(year), lambda: load_posts_report(layout, year).source["sha256"]),
    ):
        try:
            with damage_named(path):
                check()
        except (DamagedFile, FileNotFoundError) as error:
            why = error.why if isinstance(error, DamagedFile) else "it is missing"
            raise StoreError(
                f"{path} is damaged ({why}); run danbooru-pipeline build {year}, which makes it again"
            ) from error
    if _sliced_rows(layout, year) != row_count(layout.posts(year)):
        repair_slices(layout, layout.posts_by_bucket(year), "its posts are not all posts of the year")


def _sliced_rows(layout: Layout, year: int) -> int | None:
    try:
        return sum(row_count(path) for path in layout.posts_by_bucket(year).glob("[0-9]*.parquet"))
    except (OSError, ValueError):
        return None
