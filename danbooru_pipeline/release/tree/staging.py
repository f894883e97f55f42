"""The hidden tree in which a release is made; each method adds one complete part.

Files of the store and of earlier releases come in as hard links and are never written to. A release is made from the
frozen manifest and posts of its year, and from nothing that may change meanwhile.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.atomic import (
    atomic_file,
    link_or_copy,
    make_read_only,
    sync_file_system,
    write_unpublished,
)
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.parquet import read_batches, row_count, write_shards
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS
from danbooru_pipeline.posts import DICTIONARY_COLUMNS, POST_SCHEMA, encode_2021_complete
from danbooru_pipeline.posts.tags import TagCounter
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.checksums import (
    ARCHIVE,
    FILELIST,
    FILELIST_SEGMENT_BYTES,
    LIST_SCHEMA,
    NSFW_IDS,
    TREES,
    by_bucket,
    filelist_lines,
    list_columns,
    nsfw_id_lines,
    sums_lines,
    tree_files,
)
from danbooru_pipeline.release.manifest.row import MANIFEST_DICTIONARY, MANIFEST_SCHEMA
from danbooru_pipeline.release.tree.archive import TarEntry, text_segments, write_tar_xz, write_xz
from danbooru_pipeline.release.tree.content import Content
from danbooru_pipeline.release.tree.jsonl import write_posts_jsonl
from danbooru_pipeline.release.tree.relations import RelationFiller
from danbooru_pipeline.release.tree.segments import SegmentStore
from danbooru_pipeline.release_paths import (
    checksums_path,
    manifest_path,
    metadata_path,
    old_metadata_path,
    parquet_path,
)
from danbooru_pipeline.years import cutoff, sfw_ratings

_READABLE_FOLDER = 0o755
#: Up to so many posts the kernel still has in memory what the manifest looked at, and no link waits for a disk. Threads
#: would take turns at the interpreter's lock, for a tenth more of CPU.
_WARM_POSTS = 1_000_000
#: The name of each post's file in either tree.
_NAMES_SCHEMA = pa.schema([("id", pa.int64()), *((tree.path, pa.binary()) for tree in TREES)])


class Staging:
    """A release in the making.

    Args:
        folder: of the tree; must not exist.
        content: the files that it is filled from.
        year: of the release.
        threads: that link, hash and compress.
        progress: called with counts of rows, buckets and segments.
        segments: cache of compressed segments.
    """

    def __init__(
        self,
        folder: Path,
        content: Content,
        *,
        year: int,
        threads: int = 1,
        progress: Progress = silent,
        segments: SegmentStore | None = None,
    ) -> None:
        self._segments = segments
        self.folder = folder
        self.threads = threads
        self.progress = progress
        self._content = content
        self._year = year
        self.folder.mkdir(parents=True)

    def write_tables(self, rows: int, *, dialect_2017: bool = False) -> TagCounter:
        """Write posts as Parquet and as JSON lines, and the manifest. Returns the count of the posts' tags."""
        tags = TagCounter()
        posts, manifest = self._content.posts, self._content.manifest
        if row_count(posts) != rows:
            raise ReleaseRefused(
                f"there are {row_count(posts)} posts, the manifest has {rows}; build the manifest again"
            )
        with RelationFiller(self._content.tables, self.folder) as relations:

            def counted() -> Iterator[pa.Table]:
                for table in read_batches(posts):
                    tags.add(table["tag_string"])
                    yield relations.fill(table)

            write_shards(
                counted(),
                rows,
                path_of=lambda n, of: self.folder / parquet_path("posts", n, of=of),
                schema=POST_SCHEMA,
                dictionary=DICTIONARY_COLUMNS,
            )
            self._write_lines(relations, dialect_2017=dialect_2017)
        write_shards(
            read_batches(manifest),
            rows,
            path_of=lambda n, of: self.folder / manifest_path(n, of=of),
            schema=MANIFEST_SCHEMA,
            dictionary=MANIFEST_DICTIONARY,
        )
        return tags

    def _write_lines(self, relations: RelationFiller, *, dialect_2017: bool) -> None:
        posts = sorted((self.folder / "parquet").glob("posts-*.parquet"))

        def write(path_of: Callable[[int], str], encode: Callable[[pa.Table], bytes]) -> None:
            write_posts_jsonl(posts, lambda n: self.folder / path_of(n), encode=encode, progress=self.progress)

        write(lambda n: metadata_path(self._year, "posts", n), encode_2021_complete)
        if dialect_2017:
            write(lambda n: old_metadata_path(self._year, n), relations.encode_2017)

    def link_images(self) -> None:
        """Link the images of both trees."""
        for tree in TREES:
            (self.folder / tree.name).mkdir()
        threads = self.threads if row_count(self._content.manifest) > _WARM_POSTS else 1
        with (
            self._manifest_by_bucket(_file_names, _NAMES_SCHEMA) as manifest,
            ordered_map(self._link_bucket, manifest.groups(), threads=threads, name="link") as linked,
        ):
            for bucket in linked:
                self.progress("links", int(bucket) + 1, BUCKET_COUNT)

    def _link_bucket(self, group: tuple[int, pa.Table]) -> str:
        bucket, table = BUCKETS[group[0]], group[1]
        for tree in TREES:
            names = [name for name in table[tree.path].to_pylist() if name is not None]
            if names:
                source, target = (f"{root}/{tree.name}/{bucket}" for root in (self._content.images, self.folder))
                os.mkdir(target)  # noqa: PTH102 - a `Path` for each of 2000 folders takes as long as the call
                _link_read_only(names, source, target, looks=not self._content.read_only)
        return bucket

    def write_lists(self) -> None:
        """Write the list of all files, the checksums of each bucket, and the ids that are not SFW."""
        with atomic_file(self.folder / NSFW_IDS) as file:
            batches = read_batches(self._content.manifest, columns=("id", "rating"))
            file.writelines(nsfw_id_lines(batches, sfw=sfw_ratings(self._year)))
        with (
            self._manifest_by_bucket(list_columns, LIST_SCHEMA) as manifest,
            atomic_file(self.folder / FILELIST) as file,
        ):
            write_xz(file, text_segments(self._write_sums(manifest), FILELIST_SEGMENT_BYTES), threads=self.threads)

    def _write_sums(self, manifest: ExternalGroupBy) -> Iterator[bytes]:
        """Write the checksums of each bucket, and yield its part of the list of all files."""
        for tree in TREES:
            for number, table in manifest.groups():
                files = tree_files(table, tree)
                if files:
                    sums = sums_lines((file.sha256, file.path) for file in files)
                    write_unpublished(self.folder / checksums_path(tree.name, BUCKETS[number]), sums)
                yield filelist_lines(files)
                self.progress(f"lists of {tree.name}", number + 1, BUCKET_COUNT)

    def _manifest_by_bucket(self, chosen: Callable[[pa.Table], pa.Table], schema: pa.Schema) -> ExternalGroupBy:
        """What is chosen of the manifest, grouped by bucket; `schema` has the columns, under the manifest's names."""
        grouped = ExternalGroupBy(schema, key=by_bucket, folder=self.folder)
        for table in read_batches(self._content.manifest, columns=schema.names):
            grouped.add(chosen(table))
        return grouped

    def carry_metadata(self) -> None:
        """Link the side tables of this year and all metadata of earlier years."""
        tables = {metadata_path(self._year, name, 0): path for name, path in self._content.tables.items()}
        for name, source in sorted({**self._content.metadata, **tables}.items()):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, self.folder / name)

    def write_archive(self) -> None:
        """Pack the metadata of all years."""
        files = [path for path in (self.folder / "metadata").rglob("*") if path.is_file()]
        members = [TarEntry(path.relative_to(self.folder).as_posix(), path) for path in files]
        with atomic_file(self.folder / ARCHIVE) as file:
            mtime = int(cutoff(self._year).timestamp())
            write_tar_xz(file, members, mtime=mtime, threads=self.threads, progress=self.progress, store=self._segments)

    def seal(self) -> None:
        """Make all documents read-only; images already are, since linking."""
        trees = {self.folder / tree.name / bucket for tree in TREES for bucket in BUCKETS}
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if Path(parent) / name not in trees]
            for name in names:
                make_read_only(Path(parent) / name)

    def flush(self) -> None:
        """Flush the tree, so that it survives a power cut once it has its name.

        The mode of its folders is open to readers as that of the files is, whatever the umask: rsync serves it to
        everybody.
        """
        for parent, _, _ in os.walk(self.folder, topdown=False):
            Path(parent).chmod(_READABLE_FOLDER)
        sync_file_system(self.folder)


def _file_names(table: pa.Table) -> pa.Table:
    """The ids of manifest rows and the names of their files, without folders."""
    # All of a bucket's folders have names of one length. Bytes, since the system would encode texts at each call.
    names = [pc.utf8_slice_codeunits(table[tree.path], len(f"{tree.name}/{BUCKETS[0]}/")) for tree in TREES]
    return pa.table([table["id"], *(each.cast(pa.binary()) for each in names)], schema=_NAMES_SCHEMA)


def _link_read_only(names: Iterable[bytes], source: str, target: str, *, looks: bool) -> None:
    """Link files of one folder into another, where they are read-only.

    Args:
        names: of the files.
        source: their folder.
        target: where they get another name.
        looks: not all of them are known to be read-only.
    """
    # With open folders and plain names: with whole paths this is slower than ``cp -al`` (benchmarks/release.py), and a
    # look at each mode takes half as long as the link.
    with _opened(source) as there, _opened(target) as here:
        for name in names:
            try:
                os.link(name, name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)
            except FileNotFoundError:
                raise _missing(Path(source, os.fsdecode(name))) from None
            except OSError:
                link_or_copy(*(Path(folder, os.fsdecode(name)) for folder in (source, target)))
                make_read_only(name, folder=here)
            else:
                if looks:
                    make_read_only(name, folder=here)


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise _missing(Path(folder)) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _missing(path: Path) -> ReleaseRefused:
    return ReleaseRefused(f"{path} is gone since the manifest; build the manifest again")
