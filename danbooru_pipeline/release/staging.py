"""The hidden tree in which a release is made: each method adds one part of it, whole.

Files of the store and of earlier releases come in as hard links and are never written to. A release is made from the
frozen manifest and posts of its year and from nothing that may move meanwhile.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.atomic import atomic_file, fsync_folder, link_or_copy, write_atomic
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.layout import (
    BUCKET_COUNT,
    BUCKETS,
    checksums_path,
    manifest_path,
    metadata_path,
    parquet_path,
)
from danbooru_pipeline.posts import DICTIONARY_COLUMNS, POST_SCHEMA, encode_2021
from danbooru_pipeline.release.archive import Member, text_segments, write_tar_xz, write_xz
from danbooru_pipeline.release.content import Content
from danbooru_pipeline.release.jsonl import write_posts_jsonl
from danbooru_pipeline.release.manifest import MANIFEST_DICTIONARY, MANIFEST_SCHEMA
from danbooru_pipeline.release.members import Members
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
from danbooru_pipeline.release.segments import SegmentStore
from danbooru_pipeline.release.tables import TagCounter, read_batches, row_count, write_shards
from danbooru_pipeline.years import cutoff, sfw_ratings

_READ_ONLY = 0o444
_AHEAD = 8  # buckets that are linked before the list of the first is written


class Staging:
    """A release in the making."""

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
        """Write posts as Parquet and as JSON lines, and the manifest. Returns the tags that were counted on the way."""
        tags = TagCounter()
        posts, manifest = self._content.posts, self._content.manifest
        if row_count(posts) != rows:
            raise ReleaseRefused(
                f"there are {row_count(posts)} posts, the manifest has {rows}; build the manifest again"
            )
        with Members(self._content.tables, self.folder) as members:

            def counted() -> Iterator[pa.Table]:
                for table in read_batches(posts):
                    tags.add(table["tag_string"])
                    yield members.fill(table)

            write_shards(
                counted(),
                rows,
                path_of=lambda n, of: self.folder / parquet_path("posts", n, of=of),
                schema=POST_SCHEMA,
                dictionary=DICTIONARY_COLUMNS,
            )
            self._write_lines(members, dialect_2017=dialect_2017)
        write_shards(
            read_batches(manifest),
            rows,
            path_of=lambda n, of: self.folder / manifest_path(n, of=of),
            schema=MANIFEST_SCHEMA,
            dictionary=MANIFEST_DICTIONARY,
        )
        return tags

    def _write_lines(self, members: Members, *, dialect_2017: bool) -> None:
        posts = sorted((self.folder / "parquet").glob("posts-*.parquet"))
        dialects = {"posts": encode_2021} | ({str(self._year): members.encode_2017} if dialect_2017 else {})
        for table, encode in dialects.items():
            write_posts_jsonl(
                posts,
                lambda n, table=table: self.folder / metadata_path(self._year, table, n),  # type: ignore[misc]
                encode=encode,
                progress=self.progress,
            )

    def link_images(self) -> None:
        """Link both trees, and write the lists of their files."""
        manifest = self._content.manifest
        with atomic_file(self.folder / NSFW_IDS) as file:
            batches = read_batches(manifest, columns=("id", "rating"))
            file.writelines(nsfw_id_lines(batches, sfw=sfw_ratings(self._year)))
        with Regrouper(LIST_SCHEMA, key=bucket_number, folder=self.folder) as by_bucket:
            for table in read_batches(manifest, columns=LIST_COLUMNS):
                by_bucket.add(list_columns(table))
            with atomic_file(self.folder / FILELIST) as file:
                write_xz(file, text_segments(self._link_trees(by_bucket)), threads=self.threads)

    def _link_trees(self, by_bucket: Regrouper) -> Iterator[bytes]:
        with ThreadPoolExecutor(self.threads, thread_name_prefix="link") as pool:
            for tree in TREES:
                (self.folder / tree.name).mkdir()
                buckets = ((number, tree_files(table, tree)) for number, table in by_bucket.groups())
                for number, files in _ahead(pool, self._link_bucket, tree, buckets):
                    yield filelist_lines(files)
                    self.progress(tree.name, number + 1, BUCKET_COUNT)

    def _link_bucket(self, tree: Tree, bucket: str, files: list[ImageFile]) -> None:
        if not files:
            return
        (self.folder / tree.name / bucket).mkdir()
        images, folder = os.fspath(self._content.images), os.fspath(self.folder)
        for file in files:
            source = f"{images}/{file.path}"
            try:
                _link_read_only(source, f"{folder}/{file.path}")
            except FileNotFoundError:
                raise ReleaseRefused(f"{source} is gone since the manifest; build the manifest again") from None
        sums = sums_lines((file.sha256, file.path) for file in files)
        write_atomic(self.folder / checksums_path(tree.name, bucket), sums)

    def carry_metadata(self) -> None:
        """Link the side tables of this year, and all metadata of earlier years."""
        tables = {metadata_path(self._year, name, 0): path for name, path in self._content.tables.items()}
        for name, source in sorted({**self._content.metadata, **tables}.items()):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source, self.folder / name)

    def write_archive(self) -> None:
        """Pack the metadata of all years."""
        files = [path for path in (self.folder / "metadata").rglob("*") if path.is_file()]
        members = [Member(path.relative_to(self.folder).as_posix(), path) for path in files]
        with atomic_file(self.folder / ARCHIVE) as file:
            mtime = int(cutoff(self._year).timestamp())
            write_tar_xz(file, members, mtime=mtime, threads=self.threads, progress=self.progress, store=self._segments)

    def seal(self) -> None:
        """Make all papers read-only; images are since they were linked."""
        trees = {self.folder / tree.name / bucket for tree in TREES for bucket in BUCKETS}
        for parent, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if Path(parent) / name not in trees]
            for name in names:
                make_read_only(Path(parent) / name)

    def flush(self) -> None:
        """Make all names survive a power cut; the bytes do since they were written."""
        for parent, _, _ in os.walk(self.folder, topdown=False):
            fsync_folder(Path(parent))


def _ahead(
    pool: ThreadPoolExecutor,
    link: Callable[[Tree, str, list[ImageFile]], None],
    tree: Tree,
    buckets: Iterable[tuple[int, list[ImageFile]]],
) -> Iterator[tuple[int, list[ImageFile]]]:
    """The same buckets in the same order, each when it is linked; some are linked ahead."""
    waiting: deque[tuple[int, list[ImageFile], Future[None]]] = deque()
    for number, files in buckets:
        waiting.append((number, files, pool.submit(link, tree, BUCKETS[number], files)))
        if len(waiting) > _AHEAD:
            done, its_files, future = waiting.popleft()
            future.result()
            yield done, its_files
    for number, files, future in waiting:
        future.result()
        yield number, files


def _link_read_only(source: str, target: str) -> None:
    # Plain strings and one `stat`: with paths as objects this loop is slower than `cp -al` (benchmarks/release.py).
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:
        link_or_copy(Path(source), Path(target))
    if os.stat(target).st_mode & 0o777 != _READ_ONLY:  # noqa: PTH116 - see above
        Path(target).chmod(_READ_ONLY)


def make_read_only(path: Path) -> None:
    """Take the right to write away. Of a linked file this changes the mode under all its names, which is meant."""
    if path.stat().st_mode & 0o777 != _READ_ONLY:
        path.chmod(_READ_ONLY)
