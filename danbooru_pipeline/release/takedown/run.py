"""Removal of posts from every published release, from the store, and from whatever is made later.

The list of ids is written before anything is removed, so a takedown that is killed anywhere is finished by running it
again, and no release is made until then. Releases are never changed: each that contained a post, or carries its
metadata, is made again without it under the next version, from its own files, and replaces the old one as a whole.
"""

import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import DamagedFile, ReleaseError
from danbooru_pipeline.io.atomic import commit_part, part_path, remove_parts
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.posts.report import load_posts_report, write_posts_report
from danbooru_pipeline.posts.table_reports import restate_tables
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, read_takedowns, write_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.write import REMOVED
from danbooru_pipeline.release.release_json import SHA256SUMS, Inputs, Release, published, read_release
from danbooru_pipeline.release.tables.image_rows import release_shards
from danbooru_pipeline.release.tables.side_tables import side_table_files
from danbooru_pipeline.release.takedown.without import (
    ids_present,
    lines_without,
    write_manifest_without,
    write_posts_without,
    write_slice_without,
)
from danbooru_pipeline.release.tree.content import Content, carried_metadata, manifest_to_carry
from danbooru_pipeline.release.tree.inputs import table_digests
from danbooru_pipeline.release.tree.snapshot import Action, SnapshotPlan, apply_snapshot, history_of, newest_before
from danbooru_pipeline.release.tree.swap import heal_releases
from danbooru_pipeline.store.ledger import write_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.recovery import ledger_or_recovered

_BUSY = "another takedown is running; wait for it to end, then run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakedownPlan:
    """What a takedown would do.

    Attributes:
        posts: id -> what is known about it; all ids that were asked for.
        years: of the releases that are made again.
        files: in the store that are removed.
    """

    layout: Layout
    posts: dict[int, TakenDown]
    years: tuple[int, ...]
    files: tuple[Path, ...]

    def lines(self) -> list[str]:
        """The plan for people."""
        lines = [f"would take down {len(self.posts)} posts and remove {len(self.files)} files from the store"]
        for year in self.years:
            release = read_release(self.layout.release(year))
            lines.append(f"would make {release.name} {release.next_version} in place of {release.version}")
        unknown = [str(id_) for id_, post in sorted(self.posts.items()) if post.first_year is None]
        if unknown:
            lines.append(f"in no release, and kept out of later ones: {', '.join(unknown)}")
        return lines


def plan_takedown(layout: Layout, ids: Iterable[int]) -> TakedownPlan:
    """Find out where posts are; without ids, what an unfinished takedown still has to do. Changes nothing."""
    known = read_takedowns(layout)
    wanted = dict.fromkeys(ids) or dict.fromkeys(known.posts if known.unfinished else ())
    posts = {id_: _find(layout, id_, known) for id_ in sorted(wanted)}
    years = [
        year
        for year, folder in published(layout).items()
        if (posts.keys() - removed_ids(folder)) & {id_ for id_, post in posts.items() if _reaches(post, year)}
    ]
    files = [path for id_ in posts for path in _store_files(layout, id_)]
    return TakedownPlan(layout=layout, posts=posts, years=tuple(years), files=tuple(files))


def _reaches(post: TakenDown, year: int) -> bool:
    """Whether a release contains a post, or what an earlier one said about it in the metadata that it carries."""
    return post.first_year is not None and post.first_year <= year


def _find(layout: Layout, post_id: int, known: Takedowns) -> TakenDown:
    """What releases say about a post. What was known before counts too, since they may be made again already."""
    before = known.posts.get(post_id, TakenDown())
    paths, first = set(before.paths), before.first_year
    for year, folder in published(layout).items():
        for row in _manifest_rows(folder, post_id):
            paths.update(path for path in (row["path"], row["px512_path"]) if path)
            first = year if first is None else min(first, year)
    return TakenDown(paths=tuple(sorted(paths)), first_year=first)


def _manifest_rows(folder: Path, post_id: int) -> list[dict[str, str | None]]:
    return [
        row
        for path in release_shards(folder, "manifest/files")
        for table in read_batches(path, columns=("id", "path", "px512_path"))
        for row in table.filter(pc.equal(table["id"], pa.scalar(post_id, pa.int64()))).to_pylist()
    ]


def removed_ids(folder: Path) -> set[int]:
    """Ids that a release lists in ``removed.txt``: posts that were taken down. Empty when it has no such file.

    Raises:
        ReleaseError: a line is not an id.
    """
    path = folder / REMOVED
    try:
        return set(map(int, path.read_bytes().split())) if path.is_file() else set()
    except ValueError as error:
        raise ReleaseError(f"{path} cannot be read ({error}); verify the release") from error


def _store_files(layout: Layout, post_id: int) -> list[Path]:
    bucket = bucket_of(post_id)
    folders = (layout.original_bucket(bucket), layout.px512_bucket(bucket), layout.replaced_bucket(bucket))
    return [
        folder / name for folder in folders for name in list_files(folder) if name.partition(".")[0] == str(post_id)
    ]


def apply_takedown(
    plan: TakedownPlan,
    *,
    created_at: datetime,
    signing_key: Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> list[Release]:
    """Do what a plan says, and finish what an earlier takedown left. Returns the new releases, oldest first.

    Args:
        plan: from `plan_takedown`.
        created_at: the time that each RELEASE.json records.
        signing_key: private key for SHA256SUMS.sig; without it releases are not signed.
        threads: that link, hash and compress; default one per core.
        progress: see `apply_snapshot`.

    Raises:
        StoreError: another takedown or a build holds a lock that is needed.
    """
    layout = plan.layout
    make = partial(apply_snapshot, created_at=created_at, signing_key=signing_key, threads=threads, progress=progress)
    with exclusive(layout.takedowns_lock, busy=_BUSY):
        known = read_takedowns(layout)
        takedowns = Takedowns(posts={**known.posts, **plan.posts}, unfinished=True)
        write_takedowns(layout, takedowns)
        _clear_root(layout, takedowns.ids)
        heal_releases(layout)
        made = []
        for year, folder in published(layout).items():
            gone = {id_ for id_, post in takedowns.posts.items() if _reaches(post, year)}
            if gone - removed_ids(folder):
                again = _plan_again(layout, year, takedowns)
                made.append(make(again))
            shutil.rmtree(layout.takedown(year), ignore_errors=True)
        write_takedowns(layout, replace(takedowns, unfinished=False))
    return made


def _clear_store(layout: Layout, bucket: str, ids: Collection[int]) -> None:
    """Remove rows before files: a crash in between leaves a file without a row, never a row without its file."""
    with exclusive(layout.bucket_lock(bucket)):
        rows = ledger_or_recovered(layout, bucket)
        if not rows.keys().isdisjoint(ids):
            write_ledger(layout.ledger(bucket), [row for row in rows.values() if row.id not in ids])
        for id_ in (id_ for id_ in ids if bucket_of(id_) == bucket):
            for path in _store_files(layout, id_):
                path.unlink(missing_ok=True)


def _clear_root(layout: Layout, ids: Collection[int]) -> None:
    """Remove the posts from everything but the releases."""
    for bucket in sorted({bucket_of(id_) for id_ in ids}):
        _clear_store(layout, bucket, ids)
    for year in layout.metadata_years:
        _clear_metadata(layout, year, ids)
    for part in layout.follow_parts:
        try:
            with damage_named(part):
                is_about = bool(ids_present([part], ids))
        except DamagedFile:
            part.unlink()  # nobody can tell whether it names one of them, and it only makes a figure
            continue
        if is_about:
            write_slice_without(part, ids)


def _clear_metadata(layout: Layout, year: int, ids: Collection[int]) -> None:
    """Remove the posts from everything that was fetched for a year, published or not."""
    with exclusive(layout.year_lock(year)):
        remove_parts(layout.metadata(year))
        shutil.rmtree(layout.sweeps(year), ignore_errors=True)
        for bucket in {bucket_of(id_) for id_ in ids}:
            for slice_ in (layout.posts_bucket(year, bucket), layout.refreshed(year, bucket)):
                if slice_.exists() and ids_present([slice_], ids):
                    write_slice_without(slice_, ids)
        manifest, posts = layout.manifest(year), layout.posts(year)
        if manifest.exists() and ids_present([manifest], ids):
            write_manifest_without([manifest], manifest, ids)
        tables = sorted(layout.side_table(year, "").parent.glob("*.json"))
        rewritten = [path.stem for path in tables if lines_without(path, path, ids, about_posts=False)]
        restate_tables(layout, year, rewritten)
        for path in (layout.rejected(year), layout.unreconciled(year)):
            path.unlink(missing_ok=True)
        if posts.exists() and ids_present([posts], ids):
            part = part_path(posts)
            rows, digest = write_posts_without([posts], part, ids)
            report = load_posts_report(layout, year).with_rows(rows=rows, sha256=digest)
            write_posts_report(layout, year, report)
            commit_part(part, posts)  # last, since a rerun looks at this file


def _plan_again(layout: Layout, year: int, takedowns: Takedowns) -> SnapshotPlan:
    """The plan of a release without these posts, from its own files, that replaces the one with them."""
    folder, work = layout.release(year), layout.takedown(year)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    standing, earlier = read_release(folder), newest_before(layout, year)
    ids = takedowns.ids
    content = _content_without(folder, year, ids, work=work, earlier=earlier)
    summary = write_manifest_without(release_shards(folder, "manifest/files"), content.manifest, ids)
    _, digest = write_posts_without(release_shards(folder, "parquet/posts"), content.posts, ids)
    return SnapshotPlan(
        layout=layout,
        year=year,
        action=Action.NEW_VERSION,
        version=standing.next_version,
        summary=summary,
        rejected=standing.counts.rejected,
        sources=tuple(standing.sources),
        inputs=Inputs(manifest=summary.digest, posts=digest, side_tables=table_digests(content.tables)),
        image_settings=standing.image_settings,
        standing=standing,
        previous=read_release(earlier).ref if earlier else None,
        earlier=earlier,
        content=content,
        options=DocumentOptions(**standing.options),
        takedowns=takedowns,
        history=history_of(earlier, standing),
    )


def _content_without(folder: Path, year: int, ids: Collection[int], *, work: Path, earlier: Path | None) -> Content:
    """The content of a release. Files that mention one of these posts are rewritten in `work`, the others shared."""
    # What an earlier release carries was cleared when that one was made again, so its files are shared, and its own
    # manifest with its list of checksums. Without that release, a list no longer fits what is cleared here.
    carried = carried_metadata(folder, without=year)
    shared = carried_metadata(earlier, without=year) | manifest_to_carry(earlier) if earlier else {}
    metadata = {
        name: shared.get(name, path)
        for name, path in carried.items()
        if name in shared or Path(name).name != SHA256SUMS
    } | {name: path for name, path in shared.items() if Path(name).name == SHA256SUMS}
    return Content(
        posts=work / "posts.parquet",
        manifest=work / "manifest.parquet",
        images=folder,
        tables={
            name: _cleared(path, work / f"{name}.json", ids, about_posts=False)
            for name, path in side_table_files(folder, year).items()
        },
        metadata={name: _cleared_carried(name, path, ids, work=work) for name, path in metadata.items()},
    )


def _cleared_carried(name: str, path: Path, ids: Collection[int], *, work: Path) -> Path:
    """A file of an earlier year without these posts: a manifest, posts of either dialect, or a side table."""
    if path.name == SHA256SUMS:
        return path
    if path.suffix != ".parquet":
        return _cleared(path, work / name, ids, about_posts=path.name.startswith(("posts", "20")))
    if not ids_present([path], ids):
        return path
    (work / name).parent.mkdir(parents=True, exist_ok=True)
    write_manifest_without([path], work / name, ids)
    return work / name


def _cleared(path: Path, target: Path, ids: Collection[int], *, about_posts: bool) -> Path:
    return target if lines_without(path, target, ids, about_posts=about_posts) else path
