"""What of a release is sent, in which order: images, documents, indexes, and RELEASE.json last.

A reader of the place that finds RELEASE.json finds all that it names. A group is as many pieces as are planned at once,
a bucket's say, so that memory does not grow with the release.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.io.untrusted import size_of
from danbooru_pipeline.release.checksums import TREES, read_sums
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS, SIGNATURE

DOCUMENTS, INDEXES, LAST = "documents", "indexes", "release"
#: Documents by which others are found: they come after what they name.
_FINDING: Final = ("index/", "checksums/", "wds-index/", "manifest/", "changes/", "parquet/")
_FOUND_BY: Final = frozenset(
    {"README.md", "index.html", "feed.atom", "croissant.json", "removals.jsonl", "removed.txt"}
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that is sent at once.

    Attributes:
        name: of it, in its group.
        fingerprint: changes with its content.
        files: gives path -> file for the length of a block.
    """

    name: str
    fingerprint: str
    size: int
    files: Callable[[], AbstractContextManager[Mapping[str, Path]]]


@dataclass(frozen=True, slots=True)
class Group:
    """Pieces that are planned together.

    Attributes:
        name: of it.
        folder: that all of its paths begin with; empty for documents, of which the release's lists name all.
        pieces: makes them.
    """

    name: str
    folder: str
    pieces: Callable[[], Iterator[Piece]]


def buckets_of(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Tree, bucket and list of checksums of all buckets that have files."""
    for tree in TREES:
        for path in sorted((folder / "checksums" / tree.name).glob("*.sha256")):
            yield tree.name, path.stem, path.relative_to(folder).as_posix()


def file_piece(folder: Path, path: str, sha256: str) -> Piece:
    """A file as it is."""
    return Piece(path, sha256, size_of(folder, path), lambda: nullcontext({path: folder / path}))


def document_groups(folder: Path) -> list[Group]:
    """Everything but the images."""
    sums = read_sums(folder)
    finding = {path for path in sums if path.startswith(_FINDING) or path in _FOUND_BY}

    def pieces(paths: set[str]) -> Iterator[Piece]:
        return (file_piece(folder, path, sums[path]) for path in sorted(paths))

    def last() -> Iterator[Piece]:
        for path in (SHA256SUMS, SIGNATURE, RELEASE_JSON):
            if (folder / path).is_file():
                yield file_piece(folder, path, sha256_of(folder / path))

    return [
        Group(DOCUMENTS, "", partial(pieces, sums.keys() - finding)),
        Group(INDEXES, "", partial(pieces, finding)),
        Group(LAST, "", last),
    ]
