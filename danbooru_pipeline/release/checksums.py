"""Checksums and file lists of a release, which together cover every one of its files.

``SHA256SUMS`` covers all documents. Among these is one list per bucket and tree, which covers the images; so checking
one bucket takes ``sha256sum`` and nothing else. All paths are relative to the release and sorted as ``LC_ALL=C sort``
does. A document is here every file that is not an image: tables, texts and lists.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.external_sort import by_remainder
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.layout import BUCKET_COUNT, SHA256_FORM, is_path_of
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS, SIGNATURE

FILELIST = "filelist.txt.xz"
#: Of lines in each xz stream of it: small, so that some are compressed while the rest is written.
FILELIST_SEGMENT_BYTES = 2 * 2**20
NSFW_IDS = "nsfw-ids.txt"
ARCHIVE = "metadata.json.tar.xz"
#: The most bytes that are read of a list of checksums; with 3,000 documents SHA256SUMS has 300 thousand.
LONGEST_LIST = 64 * 2**20
#: The same of a list of the paths that changed, of which there may be one for each image.
LONGEST_PATHS = 2**28

#: Folders of a tree that hold images and no documents.
BUCKET_FOLDER = re.compile(r"[0-9]{4}")

_UNSAFE_PARTS = frozenset({"", ".", ".."})
#: What tools take for their standard input in place of a file of that name: ``sha256sum -c`` waits for it for ever.
_STANDARD_INPUT = "-"

#: Key of an external sort that groups rows by the number of their bucket.
by_bucket = by_remainder(BUCKET_COUNT)


@dataclass(frozen=True, slots=True)
class Tree:
    """One of the two trees of images, and the manifest's columns about its files."""

    name: str
    path: str
    size: str
    sha256: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """The manifest's columns: path, size and SHA-256."""
        return (self.path, self.size, self.sha256)


ORIGINAL = Tree("original", "path", "size", "sha256")
PX512 = Tree("512px", "px512_path", "px512_size", "px512_sha256")

#: In the order of ``LC_ALL=C sort``.
TREES = (PX512, ORIGINAL)


def is_image(path: str) -> bool:
    """Whether a path of a list is that of an image, and of nothing else."""
    tree, _, rest = path.partition("/")
    stem = rest.rpartition("/")[2].partition(".")[0]
    return tree in {each.name for each in TREES} and stem.isdigit() and is_path_of(int(stem), path, tree=tree)


#: The columns of the manifest that the lists are made from.
LIST_SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        *(
            (name, pa.int64() if name.endswith("size") else pa.string())
            for tree in (ORIGINAL, PX512)
            for name in tree.columns
        ),
    ]
)


class ImageFile(NamedTuple):
    """An image that the manifest names. A named tuple, since there are millions of them and they are sorted."""

    path: str
    size: int
    sha256: str


def list_columns(table: pa.Table) -> pa.Table:
    """The columns of `LIST_SCHEMA` of some manifest rows."""
    return pa.Table.from_arrays([table[f.name].cast(f.type) for f in LIST_SCHEMA], schema=LIST_SCHEMA)


def tree_files(table: pa.Table, tree: Tree) -> list[ImageFile]:
    """The files of manifest rows in one tree, sorted by path."""
    held = table.filter(pc.is_valid(table[tree.path]))
    return sorted(map(ImageFile, *(held[name].to_pylist() for name in tree.columns)))


def sums_lines(files: Iterable[tuple[str, str]]) -> bytes:
    """(sha256, path) pairs as ``sha256sum -c`` reads them."""
    return "".join([f"{sha256}  {path}\n" for sha256, path in files]).encode()


def is_safe(path: str) -> bool:
    """Whether a path that a release names stays inside it, on any system, and is a file to every tool."""
    # An absolute path has an empty part.
    parts = path.split("/")
    return path.isprintable() and "\\" not in path and _UNSAFE_PARTS.isdisjoint(parts) and path != _STANDARD_INPUT


def read_sums(folder: Path, name: str = SHA256SUMS) -> dict[str, str]:
    """Path -> SHA-256 of a list of checksums of a release.

    Raises:
        ReleaseError: it cannot be read, or is not well-formed as a whole.
    """
    try:
        return parse_sums(read_bytes(folder, name, limit=LONGEST_LIST))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{folder / name} cannot be read ({error}); verify the release") from error


def parse_sums(data: bytes) -> dict[str, str]:
    """Path -> SHA-256 of a list of checksums, which must be well-formed as a whole.

    Raises:
        ValueError: a line is no checksum, repeats a path, or has one that leads out of the folder; or the list is not
            as it is written.
    """
    sums, wrong = examine_sums(data)
    wrong += [path for path in sums if not is_safe(path)]
    if wrong:
        raise ValueError(f"it has a line that is no checksum of a release: {wrong[0][:100]!r}")
    if not is_as_written(data, sums):
        raise ValueError(f"it is {NOT_AS_WRITTEN}")
    return sums


def examine_sums(data: bytes) -> tuple[dict[str, str], list[str]]:
    """Path -> SHA-256 of a list of checksums, and the lines that are malformed or repeat a path.

    For `verify`, which names each; whoever relies on the list uses `parse_sums`. A line ends where ``sha256sum`` sees
    its end, at a line feed and nowhere else.
    """
    sums: dict[str, str] = {}
    wrong: list[str] = []
    for line in data.decode("utf-8", errors="replace").removesuffix("\n").split("\n") if data else ():
        match = re.fullmatch(rf"({SHA256_FORM})  (.+)", line)
        if match is None or match[2] in sums:
            wrong.append(line)
        else:
            sums[match[2]] = match[1]
    return sums, wrong


#: Said of a list for which `is_as_written` is false.
NOT_AS_WRITTEN = "not byte for byte what is written of its lines: sorted by path, each with a line feed at its end"


def is_as_written(data: bytes, sums: Mapping[str, str]) -> bool:
    """Whether a list of checksums is byte for byte the one that is written of what was read of it."""
    return data == sums_lines((sums[path], path) for path in sorted(sums, key=os.fsencode))


def filelist_lines(files: Iterable[ImageFile]) -> bytes:
    """Files as the file list of 2021 has them: ``./original/0000/1000.png``."""
    return "".join([f"./{file.path}\n" for file in files]).encode()


def segment_sizes(sizes: Iterable[int], least: int) -> Iterator[int]:
    """How large the segments are into which `text_segments` joins pieces of these sizes."""
    held, pieces, cut = 0, 0, False
    for size in sizes:
        held, pieces = held + size, pieces + 1
        if held >= least:
            yield held
            held, pieces, cut = 0, 0, True
    if pieces or not cut:
        yield held


def nsfw_id_lines(batches: Iterable[pa.Table], *, sfw: Sequence[str]) -> Iterator[bytes]:
    """Ids of posts whose rating is unknown or not SFW, one per line."""
    for table in batches:
        # A null is in no list, so an unknown rating is not SFW.
        is_sfw = pc.is_in(table["rating"].cast(pa.string()), pa.array(sfw, pa.string()))
        ids = table["id"].filter(pc.invert(is_sfw)).to_pylist()
        yield "".join(f"{id_}\n" for id_ in ids).encode()


def document_files(folder: Path) -> list[str]:
    """Sorted paths of all documents, without SHA256SUMS itself, its signature and RELEASE.json."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        relative = Path(parent).relative_to(folder)
        if relative.as_posix() in {tree.name for tree in TREES}:
            folders[:] = [name for name in folders if not BUCKET_FOLDER.fullmatch(name)]
        # A link to a folder counts as a file, since following it would leave the release.
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(relative / name).as_posix() for name in [*names, *links]]
    return sorted(set(found) - {SHA256SUMS, SIGNATURE, RELEASE_JSON}, key=os.fsencode)


def hash_documents(folder: Path, *, threads: int) -> dict[str, str]:
    """Path -> SHA-256 of every document, sorted by path."""
    names = document_files(folder)
    with ordered_map(lambda name: sha256_of(folder / name), names, threads=threads, name="hash") as digests:
        return dict(zip(names, digests, strict=True))


def write_sha256sums(folder: Path, documents: Mapping[str, str]) -> str:
    """Write SHA256SUMS over all documents, read-only. Returns its own SHA-256."""
    data = sums_lines((documents[path], path) for path in sorted(documents, key=os.fsencode))
    write_atomic(folder / SHA256SUMS, data)
    (folder / SHA256SUMS).chmod(0o444)
    return hashlib.sha256(data).hexdigest()
