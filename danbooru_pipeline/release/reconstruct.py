"""Reconstructs an earlier release from a later one: which files are unchanged, which were replaced, which are gone.

A release carries the manifests of the releases before it; with their SHA-256 the answer is exact. For years without a
manifest, those of the original Danbooru releases, it follows from that year's metadata or at least from its last id.
Posts of both are read side by side by id, and paths are kept on disk, so that memory does not grow with the release.
"""

import collections
import itertools
import os
import re
import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.atomic import link_or_copy
from danbooru_pipeline.io.bounded_parquet import read_untrusted
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_id_range
from danbooru_pipeline.io.untrusted import is_plain, open_folder, opened
from danbooru_pipeline.layout import EXTENSIONS, INT64_MAX, is_path_of, original_path, px512_path
from danbooru_pipeline.progress import counted
from danbooru_pipeline.release.checksums import TREES, by_bucket
from danbooru_pipeline.release.documents.history import original
from danbooru_pipeline.release.outside import require_outside
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.tables.image_rows import carried_manifest, release_shards
from danbooru_pipeline.release_paths import metadata_folder, old_metadata_folder, release_name
from danbooru_pipeline.years import sfw_ratings

_COLUMNS = ("id", "path", "sha256", "source_md5", "px512_path", "px512_sha256")
#: What is read of a post in metadata.
_POST_FACTS: Final = pa.schema([("id", pa.int64()), ("md5", pa.string()), ("ext", pa.string()), ("is_sfw", pa.bool_())])
_PATHS: Final = pa.schema([("id", pa.int64()), ("path", pa.string())])
_ROWS: Final = 10_000
_RANGE_IDS: Final = 100_000
_LONGEST_LINE = 64 * 2**20
_POSTS = re.compile(r"(posts|20\d\d)\d{12}\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """What is left of an earlier release. All paths are relative to a release and sorted.

    Attributes:
        year: of the earlier release.
        folder: the later release.
        last_id: of the earlier release.
        exact: whether it was reconstructed from its own manifest; else from its metadata, or from its last id alone.
        posts: how many it had, as far as that is known.
        files: files with the same bytes.
        replaced: files with other bytes, or under another extension.
        gone: files that the later release no longer has.
        metadata: its metadata in the later release.
    """

    year: int
    folder: Path
    last_id: int
    exact: bool
    posts: int
    files: "Paths"
    replaced: "Paths"
    gone: "Paths"
    metadata: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """The result for people; the files themselves are a list of their own."""
        how = "by its manifest" if self.exact else "by its metadata and last id, since its manifest is not here"
        headline = (
            f"{release_name(self.year)} in {self.folder.name}, {how}: {counted(self.posts, 'post')} up to id "
            f"{self.last_id:,}, {counted(len(self.files), 'file')} as they were, "
            f"{len(self.replaced):,} replaced since, {len(self.gone):,} gone"
        )
        yield headline
        yield from (f"replaced since: {path}" for path in self.replaced)
        yield from (f"gone since: {path}" for path in self.gone)


class Paths(Collection[str]):
    """Paths of images, sorted. Of more than some hundred thousand most are on disk, until nobody has them any more."""

    def __init__(self) -> None:
        self._sorters = {
            tree.name: ExternalGroupBy(_PATHS, key=by_bucket) for tree in sorted(TREES, key=attrgetter("name"))
        }
        self._held: dict[str, tuple[list[int], list[str]]] = {tree: ([], []) for tree in self._sorters}
        self._count = 0
        held = ExitStack()
        for sorter in self._sorters.values():
            held.enter_context(sorter)
        weakref.finalize(self, held.close)

    def add(self, id_: int, path: str) -> None:
        """Add the path of a post's image."""
        tree = path.partition("/")[0]
        ids, paths = self._held[tree]
        ids.append(id_)
        paths.append(path)
        self._count += 1
        if len(ids) == _ROWS:
            self._flush(tree)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, path: object) -> bool:
        return any(path == each for each in self)

    def __iter__(self) -> Iterator[str]:
        for tree, sorter in self._sorters.items():
            self._flush(tree)
            for _, group in sorter.groups():
                yield from sorted(group["path"].to_pylist())

    def _flush(self, tree: str) -> None:
        ids, paths = self._held[tree]
        if ids:
            self._sorters[tree].add(pa.table([pa.array(ids, pa.int64()), pa.array(paths, pa.string())], schema=_PATHS))
            self._held[tree] = ([], [])


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the earlier release, and what identifies it: a SHA-256, an MD5 of the source, or nothing."""

    path: str
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """Files that the later release has for a post."""

    id: int
    original: str | None
    sha256: str | None
    md5: str | None
    px512: str | None
    px512_sha256: str | None


def reconstruct(year: int, folder: Path) -> Reconstruction:
    """Find an earlier release in a later one. Changes nothing.

    Raises:
        ReleaseError: the folder is not a release, its manifest cannot be read, or its metadata is a link or no file.
        SettingsError: the release is not a later one, or nothing is known about the year.
    """
    release = read_release(folder)
    if year > release.year:
        raise SettingsError(f"{release.name} is not later than {year}; give a release of {year} or after")
    shards = release_shards(folder, "manifest/files") if year == release.year else carried_manifest(folder, year)
    metadata = [path for name in (metadata_folder(year), old_metadata_folder(year)) for path in _files_in(folder, name)]
    exact = bool(shards)
    with ExternalGroupBy(_POST_FACTS, key=by_id_range(_RANGE_IDS)) as sorter:
        if exact:
            posts = _from_manifest(folder, shards)
        elif _read_metadata(folder, metadata, year, into=sorter):
            posts = _from_metadata(sorter)
        else:
            posts = _from_last_id(year, release, _held(folder))
        found = _compare(posts, _held(folder))
    if not found.posts:
        raise SettingsError(
            f"{release.name} carries nothing of {year}, whose last id is unknown; give a release with metadata/{year}/"
        )
    return Reconstruction(
        year=year,
        folder=folder,
        last_id=found.last_id,
        exact=exact,
        posts=found.posts,
        files=found.kept,
        replaced=found.replaced,
        gone=found.gone,
        metadata=tuple(metadata),
    )


def _files_in(folder: Path, name: str) -> list[str]:
    """Sorted paths of the files in a folder of a release; none where it has no such folder.

    Raises:
        ReleaseError: the folder or one of them is a link or neither, and would be left out without a word.
    """
    try:
        descriptor = open_folder(folder, name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ReleaseError(f"{folder / name} is a link, below a link or no folder; verify {folder} first") from error
    try:
        with os.scandir(descriptor) as entries:
            held = [each for each in entries if not each.is_dir(follow_symlinks=False)]
            found = sorted((each.name, each.is_file(follow_symlinks=False)) for each in held)
    finally:
        os.close(descriptor)
    for file, is_regular in found:
        if not is_regular:
            raise ReleaseError(f"{folder / name / file} is a link or no file; verify {folder} first")
    return [f"{name}/{file}" for file, _ in found]


def _held(folder: Path) -> Iterator[_Held]:
    """What the later release has, by id."""
    for row in _rows(folder, release_shards(folder, "manifest/files")):
        yield _Held(*(row[name] for name in _COLUMNS))


def _rows(folder: Path, shards: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The rows of a manifest, by id.

    Raises:
        ReleaseError: it cannot be read, is not sorted, or names another file than a post may have: it would be linked
            from, or to, a place outside.
    """
    last = 0
    for path in shards:
        try:
            for table in read_untrusted(folder, path.relative_to(folder).as_posix(), columns=_COLUMNS):
                for row in table.to_pylist():
                    last = _require_next(row, last)
                    yield row
        except (OSError, ValueError, LookupError, pa.ArrowException) as error:
            raise ReleaseError(f"{path} cannot be read ({error}); verify {folder} first") from error


def _require_next(row: Mapping[str, Any], last: int) -> int:
    id_ = row["id"]
    if not isinstance(id_, int) or not last < id_ <= INT64_MAX:
        raise ValueError(f"post {id_} comes after {last}")
    for path, tree in ((row["path"], "original"), (row["px512_path"], "512px")):
        if path is not None and not is_path_of(id_, path, tree=tree):
            raise ValueError(f"names {path!r} as the file of post {id_}")
    return id_


def _from_manifest(folder: Path, shards: Iterable[Path]) -> Iterator[tuple[int, list[_File]]]:
    for row in _rows(folder, shards):
        pairs = ((row["path"], row["sha256"]), (row["px512_path"], row["px512_sha256"]))
        yield row["id"], [_File(path, sha256) for path, sha256 in pairs if path]


class _Post(msgspec.Struct, gc=False):
    """What is read from a line of either dialect."""

    id: int
    md5: str | None = None
    file_ext: str | None = None
    rating: str | None = None


_decoder = msgspec.json.Decoder(_Post, strict=False)


def _read_metadata(folder: Path, names: Iterable[str], year: int, *, into: ExternalGroupBy) -> bool:
    """Read what the metadata of a year says of its posts. Returns whether it says anything."""
    posts = (post for name in names if _POSTS.fullmatch(name.rpartition("/")[2]) for post in _posts(folder, name))
    sfw, found = sfw_ratings(year), False
    while block := list(itertools.islice(posts, _ROWS)):
        columns = [
            [post.id for post in block],
            [post.md5 for post in block],
            [post.file_ext for post in block],
            [post.rating in sfw for post in block],
        ]
        into.add(pa.table(columns, schema=_POST_FACTS))
        found = True
    return found


def _posts(folder: Path, name: str) -> Iterator[_Post]:
    try:
        with opened(folder, name) as lines:
            while line := lines.readline(_LONGEST_LINE):
                try:
                    post = _decoder.decode(line)
                except (ValueError, RecursionError):
                    continue  # posts without an id were banned or restricted, and had no file
                if 0 < post.id <= INT64_MAX and post.md5 and post.file_ext in EXTENSIONS:
                    yield post
    except OSError as error:
        raise ReleaseError(f"{folder / name} cannot be read ({error}); verify {folder} first") from error


def _from_metadata(sorter: ExternalGroupBy) -> Iterator[tuple[int, list[_File]]]:
    """Files that the metadata of a year names. It does not record which of them the release contained."""
    for _, group in sorter.groups():
        columns = zip(*(group[name].to_pylist() for name in _POST_FACTS.names), strict=True)
        # Of several lines about a post the last one counts: two dialects may lie there, and archives have updates.
        for id_, (md5, ext, is_sfw) in {id_: rest for id_, *rest in columns}.items():
            small = [_File(px512_path(id_), md5=md5)] if is_sfw else []
            yield id_, [_File(original_path(id_, ext), md5=md5), *small]


def _from_last_id(year: int, release: Release, held: Iterable[_Held]) -> Iterator[tuple[int, list[_File]]]:
    """Everything up to the last id of a year, as users of the original releases did."""
    event = next((event for event in release.history if event.name == release_name(year)), None)
    known = original(year)
    last_id = event.last_id if event else (known.last_id if known else None) or 0
    for files in itertools.takewhile(lambda files: files.id <= last_id, held):
        yield files.id, [_File(path) for path in (files.original, files.px512) if path]


@dataclass(slots=True)
class _Compared:
    """What became of the files of an earlier release."""

    posts: int = 0
    last_id: int = 0
    kept: Paths = field(default_factory=Paths)
    replaced: Paths = field(default_factory=Paths)
    gone: Paths = field(default_factory=Paths)


def _compare(posts: Iterable[tuple[int, list[_File]]], held: Iterator[_Held]) -> _Compared:
    """Look for the files of posts among those that are held; both by id."""
    found = _Compared()
    now = next(held, None)
    for id_, files in posts:
        found.posts += 1
        found.last_id = id_
        while now is not None and now.id < id_:
            now = next(held, None)
        same = now if now is not None and now.id == id_ else None
        for file in files:
            small = file.path.startswith("512px/")
            path = (same.px512 if small else same.original) if same else None
            if same is None or path is None:
                # Metadata does not prove that the release had the file; only its manifest does.
                found.gone.add(id_, file.path)
            elif _stem(path) == _stem(file.path) and _is_same(file, same, small=small):
                found.kept.add(id_, path)
            else:
                found.replaced.add(id_, path)
    collections.deque(held, maxlen=0)  # of which only the end says that all were in order
    return found


def _stem(path: str) -> str:
    """A path without its extension, since the same JPG may be stored as JPEG XL in one release and not in another."""
    return path.rpartition(".")[0]


def _is_same(file: _File, now: _Held, *, small: bool) -> bool:
    if file.sha256 is not None:
        return file.sha256 == (now.px512_sha256 if small else now.sha256)
    return file.md5 in {None, now.md5}


def write_reconstruction(found: Reconstruction, target: Path) -> int:
    """Link the unchanged files and the year's metadata into a new folder. Returns the number of files.

    Raises:
        SettingsError: the folder exists, or lies in a release.
        ReleaseError: one of the files is not in the later release's folder. Nothing is linked then.
    """
    if target.exists():
        raise SettingsError(f"{target} exists; give a folder that does not")
    require_outside(target)
    for path in itertools.chain(found.metadata, found.files):
        if not is_plain(found.folder, path):
            raise ReleaseError(f"{found.folder / path} is missing, or a link or no file; verify {found.folder} first")
    for path in itertools.chain(found.metadata, found.files):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(found.folder / path, target / path)
    return len(found.files)
