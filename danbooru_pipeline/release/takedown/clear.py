"""Clears what is not published: the store, and everything that was fetched for a year. Idempotent, and safe to kill.

Rows go before files, so a crash in between leaves a file without a row, never a row without its file.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from danbooru_pipeline.errors import DamagedFile, DanbooruPipelineError
from danbooru_pipeline.io.atomic import commit_part, part_path, remove_folder, remove_part, remove_parts
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.leases import leased
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.posts.report import find_posts_report, write_posts_report
from danbooru_pipeline.posts.table_reports import restate_tables
from danbooru_pipeline.release.mentions import Search, files_of_buckets, ids_present, posts_of_name
from danbooru_pipeline.release.post_lines import is_about_posts
from danbooru_pipeline.release.takedown.without import (
    lines_without,
    write_manifest_without,
    write_posts_without,
    write_slice_without,
)
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import write_ledger
from danbooru_pipeline.store.recovery import ledger_or_recovered


def store_files(layout: Layout, ids: Collection[int]) -> Iterator[Path]:
    """Files of some posts anywhere in the store: in place, unfinished, in the quarantine, or set aside."""
    for path in files_of_buckets(layout.store, {bucket_of(id_) for id_ in ids}):
        if not posts_of_name(path.name).isdisjoint(ids):
            yield path


def is_named_before_release(layout: Layout, ids: frozenset[int]) -> bool:
    """Whether ledgers, metadata or what following saw name one of some posts; what cannot be read counts as such."""
    buckets = sorted({bucket_of(id_) for id_ in ids})
    files = [*map(layout.ledger, buckets), *layout.follow_parts]
    for year in layout.metadata_years:
        files += _slices(layout, year, buckets)
        files += [layout.manifest(year), layout.posts(year), *_carried(layout, year), *_side_tables(layout, year)]
    try:
        rows = [row.id for bucket in buckets for row in Journal(layout.ledger_journal(bucket)).read()]
        return not ids.isdisjoint(rows) or bool(Search(ids).of_files(files))
    except (DanbooruPipelineError, OSError, ValueError):
        return True


def clear_store(layout: Layout, ids: Collection[int]) -> None:
    """Remove the rows and the files of some posts, bucket by bucket; waits for buckets that are worked on."""
    for bucket in sorted({bucket_of(id_) for id_ in ids}):
        mine = frozenset(id_ for id_ in ids if bucket_of(id_) == bucket)
        with leased(layout.bucket_lock(bucket)):
            _clear_rows(layout, bucket, mine)
            for path in list(store_files(layout, mine)):
                remove_part(path)


def _clear_rows(layout: Layout, bucket: str, ids: frozenset[int]) -> None:
    rows = ledger_or_recovered(layout, bucket)
    if not rows.keys().isdisjoint(ids):
        write_ledger(layout.ledger(bucket), [row for row in rows.values() if row.id not in ids])
    journal = Journal(layout.ledger_journal(bucket))
    left = journal.read()
    if not ids.isdisjoint(row.id for row in left):
        journal.clear()
        for row in left:
            if row.id not in ids:
                journal.add(row)
        journal.close()


def clear_metadata(layout: Layout, year: int, ids: Collection[int], *, keep_sweeps: bool = False) -> bool:
    """Remove the posts from everything that was fetched for a year, published or not. Returns whether any was there.

    Args:
        layout: of the root.
        year: of the metadata.
        ids: of the posts.
        keep_sweeps: for a sweep that knows the posts already; it may be under way.
    """
    with exclusive(layout.year_lock(year)):
        for folder in (layout.metadata(year), layout.posts_by_bucket(year), layout.side_table(year, "").parent):
            remove_parts(folder)
        found = False if keep_sweeps else _drop_sweeps(layout, year)
        for slice_ in _slices(layout, year, {bucket_of(id_) for id_ in ids}):
            if slice_.exists() and ids_present([slice_], ids):
                write_slice_without(slice_, ids)
                found = True
        manifest, posts = layout.manifest(year), layout.posts(year)
        if manifest.exists() and ids_present([manifest], ids):
            write_manifest_without([manifest], manifest, ids)
            found = True
        for path in _carried(layout, year):
            found |= lines_without(path, path, ids, about_posts=is_about_posts(path.name))
        tables = _side_tables(layout, year)
        rewritten = [path.stem for path in tables if lines_without(path, path, ids, about_posts=False)]
        restate_tables(layout, year, rewritten)
        found |= bool(rewritten)
        for path in (layout.rejected(year), layout.unreconciled(year)):
            path.unlink(missing_ok=True)
        if posts.exists() and ids_present([posts], ids):
            part = part_path(posts)
            rows, digest = write_posts_without([posts], part, ids)
            report = find_posts_report(layout, year)
            if report is not None:  # without one no release is made from these posts
                write_posts_report(layout, year, report.with_rows(rows=rows, sha256=digest))
            commit_part(part, posts)  # last, since a rerun looks at this file
            found = True
    return found


def _slices(layout: Layout, year: int, buckets: Collection[str]) -> list[Path]:
    slices = [path(year, bucket) for bucket in buckets for path in (layout.posts_bucket, layout.refreshed)]
    return [layout.earlier_posts(year), *slices]


def _carried(layout: Layout, year: int) -> list[Path]:
    return sorted(layout.carried(year).rglob("*.json"))


def _side_tables(layout: Layout, year: int) -> list[Path]:
    return sorted(layout.side_table(year, "").parent.glob("*.json"))


def _drop_sweeps(layout: Layout, year: int) -> bool:
    """Drop pages of an unfinished sweep: they are fetched again, without these posts."""
    there = layout.sweeps(year).is_dir()
    remove_folder(layout.sweeps(year))
    return there


def clear_following(layout: Layout, ids: Collection[int]) -> None:
    """Remove the posts from what following the site has seen."""
    for part in layout.follow_parts:
        try:
            with damage_named(part):
                is_about = bool(ids_present([part], ids))
        except DamagedFile:
            part.unlink()  # nobody can tell whether it names one of them, and it only makes a figure
            continue
        if is_about:
            write_slice_without(part, ids)
