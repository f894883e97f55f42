"""The plan of a release without some posts, made from its own files: it replaces the one with them as a whole."""

from collections.abc import Collection, Mapping
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.atomic import remove_folder
from danbooru_pipeline.io.parquet import read_batches, write_parquet
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import Takedowns
from danbooru_pipeline.release.documents.options import options_from
from danbooru_pipeline.release.mentions import ids_present
from danbooru_pipeline.release.post_lines import is_about_posts
from danbooru_pipeline.release.release_json import newest_before, read_release
from danbooru_pipeline.release.tables.corrections import DECIDED_SCHEMA
from danbooru_pipeline.release.tables.image_rows import release_shards
from danbooru_pipeline.release.tables.side_tables import side_table_files
from danbooru_pipeline.release.takedown.without import lines_without, write_manifest_without, write_posts_without
from danbooru_pipeline.release.tree.content import Content, carried_metadata, manifest_to_carry
from danbooru_pipeline.release.tree.plan import Action, SnapshotPlan, with_version
from danbooru_pipeline.release.tree.versions import history_of
from danbooru_pipeline.release_paths import CORRECTIONS, SHA256SUMS


def plan_again(layout: Layout, year: int, takedowns: Takedowns) -> SnapshotPlan:
    """Plan a release of a year without the posts that were taken down. Tables without them are written beside it.

    Raises:
        ReleaseError: RELEASE.json cannot be read, or says what this version does not understand.
    """
    folder, work = layout.release(year), layout.takedown(year)
    standing, earlier = read_release(folder), newest_before(layout, year)
    try:
        options = options_from(standing.options)
    except ReleaseError as error:
        raise ReleaseError(f"{folder} cannot be made again: {error}") from error
    remove_folder(work)
    work.mkdir()
    ids = takedowns.ids
    content = _content_without(folder, year, ids, work=work, earlier=earlier)
    summary = write_manifest_without(
        release_shards(folder, "manifest/files"), content.manifest, ids, year=year, carried=_manifests(content.metadata)
    )
    _, digest = write_posts_without(release_shards(folder, "parquet/posts"), content.posts, ids)
    plan = SnapshotPlan(
        layout=layout,
        year=year,
        action=Action.NEW_VERSION,
        version=standing.version,
        summary=summary,
        rejected=standing.counts.rejected,
        sources=tuple(standing.sources),
        inputs=content.inputs(manifest=summary.digest, posts=digest),
        image_settings=standing.image_settings,
        standing=standing,
        previous=read_release(earlier).ref if earlier else None,
        earlier=earlier,
        content=content,
        options=options,
        takedowns=takedowns,
        history=history_of(earlier, standing),
    )
    return with_version(plan)


def _content_without(folder: Path, year: int, ids: Collection[int], *, work: Path, earlier: Path | None) -> Content:
    """The content of a release. Files that mention one of these posts are rewritten in `work`, the others shared."""
    metadata = {
        name: _cleared_carried(name, path, ids, work=work)
        for name, path in _carried(folder, year, earlier=earlier).items()
    }
    # A year's list of checksums no longer fits its manifest when that is cleared here.
    changed = {
        Path(name).parent for name, path in metadata.items() if path.suffix == ".parquet" and work in path.parents
    }
    return Content(
        posts=work / "posts.parquet",
        manifest=work / "manifest.parquet",
        images=folder,
        tables={
            name: _cleared(path, work / f"{name}.json", ids, about_posts=False)
            for name, path in side_table_files(folder, year).items()
        },
        metadata={
            name: path
            for name, path in metadata.items()
            if Path(name).name != SHA256SUMS or Path(name).parent not in changed
        },
        corrections=_corrections_without(folder, ids, work=work),
    )


def _manifests(metadata: Mapping[str, Path]) -> dict[int, list[Path]]:
    """Year -> files of the earlier manifests among what is carried."""
    names = sorted(name for name in metadata if Path(name).suffix == ".parquet")
    return {
        int(year): [metadata[name] for name in of_year]
        for year, of_year in groupby(names, key=lambda name: Path(name).parent.name)
    }


def _corrections_without(folder: Path, ids: Collection[int], *, work: Path) -> Path | None:
    """What people decided about the other posts."""
    if not (folder / CORRECTIONS).is_file():
        return None
    gone = pa.array(sorted(ids), pa.int64())
    tables = (t.filter(pc.invert(pc.is_in(t["post_id"], gone))) for t in read_batches(folder / CORRECTIONS))
    kept = (table.select(DECIDED_SCHEMA.names) for table in tables)
    write_parquet(work / "decided.parquet", kept, schema=DECIDED_SCHEMA, dictionary=())
    return work / "decided.parquet"


def _carried(folder: Path, year: int, *, earlier: Path | None) -> Mapping[str, Path]:
    """What a release carries; the files of the release before it, which was made again first, in place of its own."""
    carried = carried_metadata(folder, without=year)
    if earlier is None:
        return carried
    manifest = manifest_to_carry(earlier)
    outdated = {str(Path(name).parent) for name in manifest}
    kept = {name: path for name, path in carried.items() if str(Path(name).parent) not in outdated}
    shared = carried_metadata(earlier, without=year)
    return kept | {name: path for name, path in shared.items() if name in kept} | manifest


def _cleared_carried(name: str, path: Path, ids: Collection[int], *, work: Path) -> Path:
    """A file of an earlier year without these posts: a manifest, posts of either dialect, or a side table."""
    if path.name == SHA256SUMS:
        return path
    if path.suffix != ".parquet":
        return _cleared(path, work / name, ids, about_posts=is_about_posts(path.name))
    if not ids_present([path], ids):
        return path
    (work / name).parent.mkdir(parents=True, exist_ok=True)
    write_manifest_without([path], work / name, ids)
    return work / name


def _cleared(path: Path, target: Path, ids: Collection[int], *, about_posts: bool) -> Path:
    return target if lines_without(path, target, ids, about_posts=about_posts) else path
