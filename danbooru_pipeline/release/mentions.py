"""Finds what files say about some posts, whatever made them: by names of images, rows of tables, and lines of JSON.

Takedowns ask before they say that they are done, and builds before they publish. So when it is unclear what a line is
about, an id that it names counts. Lists of what is gone (``removed.txt``, ``changes/``) may name an id and a path.
"""

import lzma
import os
import re
import tarfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseError, StoreError
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import STORED_EXTENSIONS, bucket_of
from danbooru_pipeline.posts.takedowns import read_tombstones
from danbooru_pipeline.release.post_lines import LINES, is_about_posts, lines_about
from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES, METADATA, REMOVED

#: Tables of posts; in others `post_id` names a post, and `id` something else.
_POST_TABLES: Final = re.compile(r"posts|files|metadata|manifest|duplicates|post_vectors|[0-9]")
#: What a list of changes says of a file or a post that is not gone.
_TELLING: Final = ("old_sha256", "new_sha256", "old_rating", "new_rating")

_TAR: Final = re.compile(r"\.tar(\.[a-z0-9]+)?$")
_SHARD: Final = re.compile(r"-(0[0-9]{3})\.tar$")
_BUCKET: Final = re.compile(r"0[0-9]{3}")  # years are four digits, too
#: ``ID.EXT``, or ``ID.MD5.EXT`` of a replaced file that is kept.
_FILE: Final = re.compile(r"\.?0*([1-9][0-9]{0,18})(?:\.[0-9a-f]{32})?\.([A-Za-z0-9]+)")


def removed_ids(folder: Path) -> frozenset[int]:
    """Ids that a release lists in ``removed.txt``: posts that were taken down. Empty when it has no such file.

    Raises:
        ReleaseError: a line is not an id.
    """
    try:
        return read_tombstones(folder / REMOVED)
    except StoreError as error:
        raise ReleaseError(f"{folder / REMOVED} cannot be read ({error.__cause__}); verify the release") from error


def ids_present(files: Iterable[Path], ids: Collection[int], *, column: str = "id") -> set[int]:
    """Those of the ids that occur in a column of some tables."""
    found: set[int] = set()
    for path in files:
        for table in read_batches(path, columns=(column,)):
            found.update(map(int, with_ids(table[column], ids).to_pylist()))
    return found


def with_ids(column: pa.ChunkedArray, ids: Collection[int]) -> pa.ChunkedArray:
    """The values of a column that are one of some ids, whether it has numbers or text."""
    numbers = pa.array(sorted(ids), pa.int64())
    if column.type == pa.int64():
        return column.filter(pc.is_in(column, numbers))
    if pa.types.is_nested(column.type):  # as in lines, what is no number or its text is no post
        return pa.chunked_array([], pa.string())
    text = column.cast(pa.string())
    return text.filter(pc.is_in(text, numbers.cast(pa.string())))


@dataclass(slots=True)
class Search:
    """A search for some posts. What several releases share is read once.

    Attributes:
        ids: of the posts.
    """

    ids: frozenset[int]
    _seen: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)

    def of_release(self, folder: Path) -> set[int]:
        """Those of the ids that a release names. Its archive has the lines of its ``metadata/`` and is not unpacked."""
        metadata = folder / METADATA
        return self._of(path for path in self._paths(folder) if path.suffix != ".json" or metadata in path.parents)

    def of_anything(self, folder: Path) -> set[int]:
        """Those of the ids that anything below a folder, or a single file, is about, archives included."""
        paths = self._paths(folder) if folder.is_dir() else [folder]
        return self._of(paths, unpack=True)

    def of_files(self, files: Iterable[Path]) -> set[int]:
        """Those of the ids that some tables and files of JSON lines are about."""
        return self._of(files)

    def _paths(self, folder: Path) -> Iterator[Path]:
        return files_of_buckets(folder, {bucket_of(id_) for id_ in self.ids})

    def _of(self, files: Iterable[Path], *, unpack: bool = False) -> set[int]:
        found: set[int] = set()
        for path in files if self.ids else ():
            found |= posts_of_name(path.name) & self.ids
            if path.is_file() and not path.is_symlink():
                found |= self._of_file(path, unpack=unpack)
        return found

    def _of_file(self, path: Path, *, unpack: bool) -> frozenset[int]:
        state = path.stat()
        key = (state.st_dev, state.st_ino)
        if key not in self._seen:
            try:
                self._seen[key] = frozenset(self._read(path, unpack=unpack))
            except (OSError, EOFError, ValueError, pa.ArrowException, tarfile.TarError, lzma.LZMAError) as error:
                raise ReleaseError(f"{path} cannot be read ({error}); remove it or put it right") from error
        return self._seen[key]

    def _read(self, path: Path, *, unpack: bool) -> set[int]:
        if path.suffix == ".parquet":
            return self._of_table(path)
        if path.suffix in LINES:
            with path.open("rb") as lines:
                return lines_about(lines, self.ids, about_posts=is_about_posts(path.name))
        if path.name == Path(INDEX_BITMAPS).name:
            return self._of_bitmaps(path)
        shard = _SHARD.search(path.name)
        wanted = shard[1] in {bucket_of(id_) for id_ in self.ids} if shard else unpack
        return self._of_tar(path) if _TAR.search(path.name) and wanted else set()

    def _of_table(self, path: Path) -> set[int]:
        names = set(pq.read_schema(path).names)
        if names >= {"id", *_TELLING}:
            return self._of_changes(path)
        column = "id" if "id" in names and _POST_TABLES.match(path.name) else "post_id"
        return ids_present([path], self.ids, column=column) if column in names else set()

    def _of_bitmaps(self, path: Path) -> set[int]:
        """Posts that an index has; of bitmaps without their table of names, which nobody can read, none."""
        from danbooru_pipeline.search.index import ids_in  # noqa: PLC0415 - needs pyroaring; `verify` does without

        names = path.with_name(Path(INDEX_NAMES).name)
        if not names.is_file():
            return set()
        with path.open("rb") as bitmaps:
            return ids_in(pq.read_table(names, columns=["offset", "bytes"]), bitmaps, self.ids)

    def _of_changes(self, path: Path) -> set[int]:
        """Posts of which a list says more than that they are gone."""
        gone = pa.array(sorted(self.ids), pa.int64())
        found: set[int] = set()
        for table in read_batches(path, columns=("id", *_TELLING)):
            rows = table.filter(pc.is_in(table["id"], gone)).to_pylist()
            found.update(row["id"] for row in rows if any(row[name] is not None for name in _TELLING))
        return found

    def _of_tar(self, path: Path) -> set[int]:
        found: set[int] = set()
        with tarfile.open(path, "r:*") as tar:  # as a stream, "r|*", it ends after the first stream of several of xz
            for member in tar:
                name = Path(member.name).name
                found |= posts_of_name(name) & self.ids
                file = tar.extractfile(member) if name.endswith(LINES) else None
                if file is not None:
                    found |= lines_about(file, self.ids, about_posts=is_about_posts(name))
        return found


def posts_of_name(name: str) -> frozenset[int]:
    """The post whose file has this name, whether the file is whole, unfinished or set aside."""
    match = _FILE.match(name)
    return frozenset([int(match[1])]) if match and match[2].lower() in STORED_EXTENSIONS else frozenset()


def files_of_buckets(folder: Path, buckets: Collection[str]) -> Iterator[Path]:
    """All files below a folder, but of the folders that are buckets only those named. Follows no links."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _BUCKET.fullmatch(name) or name in buckets)
        yield from (Path(parent, name) for name in sorted(names))
