"""The hidden tree in which a release is made: each method adds one part of it, whole.

Files of the store and of earlier releases come in as hard links and are never written to. A release is made from the
frozen manifest and posts of its year and from nothing that may move meanwhile.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from danbooru_pipeline.atomic import atomic_file, fsync_folder, link_or_copy, write_atomic
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.layout import (
    BUCKET_COUNT,
    BUCKETS,
    Layout,
    checksums_path,
    manifest_path,
    metadata_path,
    parquet_path,
)
from danbooru_pipeline.posts import DICTIONARY_COLUMNS, POST_SCHEMA
from danbooru_pipeline.release.archive import Member, text_segments, write_tar_xz, write_xz
from danbooru_pipeline.release.jsonl import write_posts_jsonl
from danbooru_pipeline.release.manifest import MANIFEST_DICTIONARY, MANIFEST_SCHEMA
from danbooru_pipeline.release.papers import (
    ARCHIVE,
    FILELIST,
    LIST_COLUMNS,
    LIST_SCHEMA,
    NSFW_IDS,
    TREES,
    ImageFile,
    Tree,
    bucket_number,
    filelist_lines,
    list_columns,
    nsfw_id_lines,
    sums_lines,
    tree_files,
)
from danbooru_pipeline.release.progress import Progress, silent
from danbooru_pipeline.release.regroup import Regrouper
from danbooru_pipeline.release.tables import TagCounter, read_batches, row_count, write_shards
from danbooru_pipeline.years import cutoff, sfw_ratings

_READ_ONLY = 0o444


class Staging:
    """A release in the making."""

    def __init__(self, layout: Layout, year: int, *, threads: int = 1, progress: Progress = silent) -> None:
        self.folder = layout.staging(year)
        self.threads = threads
        self.progress = progress
        self._layout = layout
        self._year = year
        self.folder.mkdir(parents=True)

    def write_tables(self, rows: int) -> TagCounter:
        """Write posts as JSON lines and as Parquet, and the manifest. Returns the tags that were counted on the way."""
        tags = TagCounter()
        posts, manifest = self._layout.posts(self._year), self._layout.manifest(self._year)
        if row_count(posts) != rows:
            raise ReleaseRefused(
                f"there are {row_count(posts)} posts, the manifest has {rows}; build the manifest again"
            )

        def counted() -> Iterator[object]:
            for table in read_batches(posts):
                tags.add(table["tag_string"])
                yield table

        write_shards(
            counted(),
            rows,
            path_of=lambda n, of: self.folder / parquet_path("posts", n, of=of),
            schema=POST_SCHEMA,
            dictionary=DICTIONARY_COLUMNS,
        )
        write_shards(
            read_batches(manifest),
            rows,
            path_of=lambda n, of: self.folder / manifest_path(n, of=of),
            schema=MANIFEST_SCHEMA,
            dictionary=MANIFEST_DICTIONARY,
        )
        write_posts_jsonl(posts, lambda n: self.folder / metadata_path(self._year, "posts", n), progress=self.progress)
        return tags

    def link_images(self) -> None:
        """Link both trees, and write the lists of their files."""
        manifest = self._layout.manifest(self._year)
        with atomic_file(self.folder / NSFW_IDS) as file:
            batches = read_batches(manifest, columns=("id", "rating"))
            file.writelines(nsfw_id_lines(batches, sfw=sfw_ratings(self._year)))
        with Regrouper(LIST_SCHEMA, key=bucket_number, folder=self.folder) as by_bucket:
            for table in read_batches(manifest, columns=LIST_COLUMNS):
                by_bucket.add(list_columns(table))
            with atomic_file(self.folder / FILELIST) as file:
                write_xz(file, text_segments(self._link_trees(by_bucket)), threads=self.threads)

    def _link_trees(self, by_bucket: Regrouper) -> Iterator[bytes]:
        for tree in TREES:
            (self.folder / tree.name).mkdir()
            for number, table in by_bucket.groups():
                files = tree_files(table, tree)
                self._link_bucket(tree, BUCKETS[number], files)
                yield filelist_lines(files)
                self.progress(tree.name, number + 1, BUCKET_COUNT)

    def _link_bucket(self, tree: Tree, bucket: str, files: list[ImageFile]) -> None:
        if not files:
            return
        (self.folder / tree.name / bucket).mkdir()
        for file in files:
            source = self._layout.store / file.path
            try:
                _link_read_only(source, self.folder / file.path)
            except FileNotFoundError:
                raise ReleaseRefused(f"{source} is gone since the manifest; build the manifest again") from None
        sums = sums_lines((file.sha256, file.path) for file in files)
        write_atomic(self.folder / checksums_path(tree.name, bucket), sums)

    def carry_metadata(self, earlier: Path | None, tables: Mapping[str, Path]) -> None:
        """Link the side tables of this year, and all metadata of earlier years as the last release has them."""
        for name, source in tables.items():
            link_or_copy(source, self.folder / metadata_path(self._year, name, 0))
        if earlier is None:
            return
        # `earlier` is read-only and verified; what it carried itself is carried on.
        for parent, _, names in os.walk(earlier / "metadata"):
            target = self.folder / Path(parent).relative_to(earlier)
            if target == self.folder / "metadata" / str(self._year):
                continue
            target.mkdir(exist_ok=True)
            for name in names:
                link_or_copy(Path(parent) / name, target / name)

    def write_archive(self) -> None:
        """Pack the metadata of all years."""
        files = [path for path in (self.folder / "metadata").rglob("*") if path.is_file()]
        members = [Member(path.relative_to(self.folder).as_posix(), path) for path in files]
        with atomic_file(self.folder / ARCHIVE) as file:
            mtime = int(cutoff(self._year).timestamp())
            write_tar_xz(file, members, mtime=mtime, threads=self.threads, progress=self.progress)

    def seal(self) -> None:
        """Make all papers read-only; images are since they were linked."""
        trees = {self.folder / tree.name / bucket for tree in TREES for bucket in BUCKETS}
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if Path(parent) / name not in trees]
            for name in names:
                _make_read_only(Path(parent) / name)

    def flush(self) -> None:
        """Make all names survive a power cut; the bytes do since they were written."""
        for parent, _, _ in os.walk(self.folder, topdown=False):
            fsync_folder(Path(parent))


def _link_read_only(source: Path, target: Path) -> None:
    link_or_copy(source, target)
    _make_read_only(target)


def _make_read_only(path: Path) -> None:
    # Of a linked file this changes the mode under all its names, which is meant: writers always bring a new file.
    if path.stat().st_mode & 0o777 != _READ_ONLY:
        path.chmod(_READ_ONLY)
