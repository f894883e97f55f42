"""Reconstructs an earlier release from a later one: which files are unchanged, which were replaced, which are gone.

A release carries the manifests of the releases before it; with their SHA-256 the answer is exact. For years without a
manifest, those of the original Danbooru releases, it follows from that year's metadata or at least from its last id.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.atomic import link_or_copy
from danbooru_pipeline.io.bounded_parquet import read_untrusted
from danbooru_pipeline.io.untrusted import is_plain, opened, plain_names
from danbooru_pipeline.layout import EXTENSIONS, is_path_of, original_path, px512_path
from danbooru_pipeline.posts.schema import INT64_MAX
from danbooru_pipeline.release.documents.history import original
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.tables.image_rows import carried_manifest, release_shards
from danbooru_pipeline.release_paths import metadata_folder, old_metadata_folder, release_name
from danbooru_pipeline.years import sfw_ratings

_COLUMNS = ("id", "path", "sha256", "source_md5", "px512_path", "px512_sha256")
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
    files: tuple[str, ...]
    replaced: tuple[str, ...]
    gone: tuple[str, ...]
    metadata: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result for people; the files themselves are a list of their own."""
        how = "by its manifest" if self.exact else "by its metadata and last id, since its manifest is not here"
        headline = (
            f"{release_name(self.year)} in {self.folder.name}, {how}: {self.posts:,} posts up to id {self.last_id:,}, "
            f"{len(self.files):,} files as they were, {len(self.replaced):,} replaced since, {len(self.gone):,} gone"
        )
        return [
            headline,
            *(f"replaced since: {path}" for path in self.replaced),
            *(f"gone since: {path}" for path in self.gone),
        ]


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the earlier release, and what identifies it: a SHA-256, an MD5 of the source, or nothing."""

    path: str
    sha256: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """Files that the later release has for a post."""

    original: str | None
    sha256: str | None
    md5: str | None
    px512: str | None
    px512_sha256: str | None


def reconstruct(year: int, folder: Path) -> Reconstruction:
    """Find an earlier release in a later one. Changes nothing.

    Raises:
        ReleaseError: the folder is not a release, or its manifest cannot be read.
        SettingsError: the release is not a later one, or nothing is known about the year.
    """
    release = read_release(folder)
    if year > release.year:
        raise SettingsError(f"{release.name} is not later than {year}; give a release of {year} or after")
    held = {
        row["id"]: _Held(*(row[name] for name in _COLUMNS[1:]))
        for row in _rows(folder, release_shards(folder, "manifest/files"))
    }
    shards = release_shards(folder, "manifest/files") if year == release.year else carried_manifest(folder, year)
    folders = (metadata_folder(year), old_metadata_folder(year))
    metadata = [f"{name}/{file}" for name in folders for file in plain_names(folder, name)]
    exact = bool(shards)
    if exact:
        posts = dict(_from_manifest(folder, shards))
    else:
        posts = dict(_from_metadata(folder, metadata, year)) or dict(_from_last_id(year, release, held))
    if not posts:
        raise SettingsError(
            f"{release.name} carries nothing of {year}, whose last id is unknown; give a release with metadata/{year}/"
        )
    kept, replaced, gone = _compare(posts, held)
    return Reconstruction(
        year=year,
        folder=folder,
        last_id=max(posts),
        exact=exact,
        posts=len(posts),
        files=tuple(sorted(kept)),
        replaced=tuple(sorted(replaced)),
        gone=tuple(sorted(gone)),
        metadata=tuple(metadata),
    )


def _rows(folder: Path, shards: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The rows of a manifest.

    Raises:
        ReleaseError: it cannot be read, or names another file than a post may have: it would be linked from, or to, a
            place outside.
    """
    for path in shards:
        try:
            for table in read_untrusted(folder, path.relative_to(folder).as_posix(), columns=_COLUMNS):
                for row in table.to_pylist():
                    _require_own_paths(row)
                    yield row
        except (OSError, ValueError, LookupError, pa.ArrowException) as error:
            raise ReleaseError(f"{path} cannot be read ({error}); verify {folder} first") from error


def _require_own_paths(row: Mapping[str, Any]) -> None:
    for path, tree in ((row["path"], "original"), (row["px512_path"], "512px")):
        if path is not None and not is_path_of(row["id"], path, tree=tree):
            raise ValueError(f"names {path!r} as the file of post {row['id']}")


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


def _from_metadata(folder: Path, names: Iterable[str], year: int) -> Iterator[tuple[int, list[_File]]]:
    """Files that the metadata of a year names. It does not record which of them the release contained."""
    for name in names:
        if not _POSTS.fullmatch(name.rpartition("/")[2]):
            continue
        with opened(folder, name) as lines:
            while line := lines.readline(_LONGEST_LINE):
                try:
                    post = _decoder.decode(line)
                except (ValueError, RecursionError):
                    continue  # posts without an id were banned or restricted, and had no file
                if 0 < post.id <= INT64_MAX and post.md5 and post.file_ext in EXTENSIONS:
                    small = [_File(px512_path(post.id), md5=post.md5)] if post.rating in sfw_ratings(year) else []
                    yield post.id, [_File(original_path(post.id, post.file_ext), md5=post.md5), *small]


def _from_last_id(year: int, release: Release, held: Mapping[int, _Held]) -> Iterator[tuple[int, list[_File]]]:
    """Everything up to the last id of a year, as users of the original releases did."""
    event = next((event for event in release.history if event.name == release_name(year)), None)
    known = original(year)
    last_id = event.last_id if event else (known.last_id if known else None) or 0
    for id_, files in held.items():
        if id_ <= last_id:
            yield id_, [_File(path) for path in (files.original, files.px512) if path]


def _compare(posts: Mapping[int, list[_File]], held: Mapping[int, _Held]) -> tuple[list[str], list[str], list[str]]:
    kept: list[str] = []
    replaced: list[str] = []
    gone: list[str] = []
    for id_, files in posts.items():
        now = held.get(id_)
        for file in files:
            small = file.path.startswith("512px/")
            path = (now.px512 if small else now.original) if now else None
            if now is None or path is None:
                # Metadata does not prove that the release had the file; only its manifest does.
                gone.append(file.path)
            elif _stem(path) == _stem(file.path) and _is_same(file, now, small=small):
                kept.append(path)
            else:
                replaced.append(path)
    return kept, replaced, gone


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
        SettingsError: the folder exists.
        ReleaseError: one of the files is not in the later release's folder. Nothing is linked then.
    """
    if target.exists():
        raise SettingsError(f"{target} exists; give a folder that does not")
    names = dict.fromkeys((*found.metadata, *found.files))
    for path in names:
        if not is_plain(found.folder, path):
            raise ReleaseError(f"{found.folder / path} is missing, or a link or no file; verify {found.folder} first")
    for path in names:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(found.folder / path, target / path)
    return len(found.files)
