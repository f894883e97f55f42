"""What a tree is filled from: tables, images and metadata of the store, or of a release that is made again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.release_json import Inputs, read_release
from danbooru_pipeline.release.tables.image_rows import carried_manifests, release_shards
from danbooru_pipeline.release.tree.inputs import side_tables, table_digests
from danbooru_pipeline.release_paths import (
    METADATA,
    SHA256SUMS,
    earlier_manifest_path,
    metadata_folder,
    old_metadata_folder,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Files that become a release. They are read and linked, never written to.

    Attributes:
        posts, manifest: Parquet tables of the release's year, sorted by id.
        images: folder that has ``original/`` and ``512px/``.
        tables: side table -> file of JSON lines.
        metadata: path in the release -> file, for the metadata and the manifests of earlier years.
        read_only: all images are read-only, as those of the store are once a manifest was made of them.
        corrections: what people decided about tags; None where nobody has.
    """

    posts: Path
    manifest: Path
    images: Path
    tables: Mapping[str, Path] = field(default_factory=dict)
    metadata: Mapping[str, Path] = field(default_factory=dict)
    read_only: bool = False
    corrections: Path | None = None

    def inputs(self, *, manifest: str, posts: str) -> Inputs:
        """The digests of everything, from those of the rows of manifest and posts."""
        corrections = None if self.corrections is None else sha256_of(self.corrections)
        return Inputs(manifest=manifest, posts=posts, side_tables=table_digests(self.tables), corrections=corrections)


def store_content(layout: Layout, year: int, *, earlier: Path | None) -> Content:
    """The content of a year from the store, with the metadata that the release before carries.

    Raises:
        ReleaseError: the report of the side tables is damaged.
    """
    return Content(
        posts=layout.posts(year),
        manifest=layout.manifest(year),
        images=layout.store,
        read_only=True,
        tables=side_tables(layout, year),
        metadata=_archive_metadata(layout, year)
        | ({} if earlier is None else carried_metadata(earlier, without=year) | manifest_to_carry(earlier)),
        corrections=layout.decided if layout.decided.is_file() else None,
    )


def _archive_metadata(layout: Layout, year: int) -> dict[str, Path]:
    folder = layout.carried(year)
    return {f"metadata/{_relative(folder, path)}": path for path in sorted(folder.glob("[0-9]*/*.json"))}


def carried_metadata(folder: Path, *, without: int) -> dict[str, Path]:
    """Path -> file of what a release has about other years than `without`: their metadata and carried manifests."""
    found = {
        earlier_manifest_path(year, path.name): path
        for year, shards in carried_manifests(folder).items()
        for path in (*shards, shards[0].parent / SHA256SUMS)
        if path.is_file()
    }
    own = {folder / metadata_folder(without), folder / old_metadata_folder(without)}
    for parent, folders, names in os.walk(folder / METADATA):
        folders[:] = [name for name in folders if Path(parent, name) not in own]
        found |= {_relative(folder, Path(parent, name)): Path(parent, name) for name in names}
    return dict(sorted(found.items()))


def manifest_to_carry(folder: Path) -> dict[str, Path]:
    """The manifest of a release, under the name by which later releases carry it: ``earlier/2021/files-…``.

    Its list of checksums comes with it, by which `verify` knows that it is what that release recorded.
    """
    year = read_release(folder).year
    files = [*release_shards(folder, "manifest/files"), folder / SHA256SUMS]
    return {earlier_manifest_path(year, path.name): path for path in files}


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
