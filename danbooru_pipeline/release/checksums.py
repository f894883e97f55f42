"""The papers that make a release trustworthy: lists of its files, and checksums that reach every one of them.

``SHA256SUMS`` covers all papers, among them one list per bucket and tree that covers the images; so who checks one
bucket needs ``sha256sum`` and nothing else. All paths are relative to the release and sorted as ``LC_ALL=C sort`` does.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.external_sort import Ids
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.layout import BUCKET_COUNT
from danbooru_pipeline.release.release_json import RELEASE_JSON, SHA256SUMS, SIGNATURE

FILELIST = "filelist.txt.xz"
NSFW_IDS = "nsfw-ids.txt"
ARCHIVE = "metadata.json.tar.xz"

#: Folders of a tree that hold images and no papers.
BUCKET_FOLDER = re.compile(r"[0-9]{4}")
_HASHED_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Tree:
    """One of the two trees of images, and the manifest's columns about it."""

    name: str
    path: str
    size: str
    sha256: str

    @property
    def columns(self) -> tuple[str, str, str]:
        """The manifest's columns about this tree's files."""
        return (self.path, self.size, self.sha256)


ORIGINAL = Tree("original", "path", "size", "sha256")
PX512 = Tree("512px", "px512_path", "px512_size", "px512_sha256")

#: In the order of ``LC_ALL=C sort``.
TREES = (PX512, ORIGINAL)

#: What the lists are made from.
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
    """A file that the manifest names; a named tuple, since there are millions, and they are sorted."""

    path: str
    size: int
    sha256: str


def bucket_number(ids: Ids) -> Ids:
    """The bucket of each id, as a number."""
    return ids % BUCKET_COUNT


def list_columns(table: pa.Table, schema: pa.Schema = LIST_SCHEMA) -> pa.Table:
    """What the lists, or a part of them, need of some manifest rows."""
    return pa.Table.from_arrays([table[f.name].cast(f.type) for f in schema], schema=schema)


def tree_files(table: pa.Table, tree: Tree) -> list[ImageFile]:
    """The files that manifest rows have in a tree, sorted by path."""
    held = table.filter(pc.is_valid(table[tree.path]))
    return sorted(map(ImageFile, *(held[name].to_pylist() for name in tree.columns)))


def sums_lines(files: Iterable[tuple[str, str]]) -> bytes:
    """(sha256, path) pairs as ``sha256sum -c`` reads them."""
    return "".join(f"{sha256}  {path}\n" for sha256, path in files).encode()


def parse_sums(data: bytes) -> tuple[dict[str, str], list[str]]:
    """Path -> SHA-256 of a checksum list, and the lines that are none."""
    sums: dict[str, str] = {}
    wrong: list[str] = []
    for line in data.decode("utf-8", errors="replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if match is None or match[2] in sums:
            wrong.append(line)
        else:
            sums[match[2]] = match[1]
    return sums, wrong


def filelist_lines(files: Iterable[ImageFile]) -> bytes:
    """Files as the filelist of 2021 has them: ``./original/0000/1000.png``."""
    return "".join(f"./{file.path}\n" for file in files).encode()


def nsfw_id_lines(batches: Iterable[pa.Table], *, sfw: Sequence[str]) -> Iterator[bytes]:
    """Ids of posts whose rating is not SFW, or not known, one a line."""
    for table in batches:
        # A null is in no list, so a rating that is not known is not SFW.
        is_sfw = pc.is_in(table["rating"].cast(pa.string()), pa.array(sfw, pa.string()))
        ids = table["id"].filter(pc.invert(is_sfw)).to_pylist()
        yield "".join(f"{id_}\n" for id_ in ids).encode()


def document_files(folder: Path) -> list[str]:
    """Paths of all files of a release but images, the sums themselves, their signature and RELEASE.json; sorted."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        relative = Path(parent).relative_to(folder)
        if relative.as_posix() in {tree.name for tree in TREES}:
            folders[:] = [name for name in folders if not BUCKET_FOLDER.fullmatch(name)]
        # A link to a folder counts as a file: a walk that follows it would leave the release.
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [(relative / name).as_posix() for name in [*names, *links]]
    return sorted(set(found) - {SHA256SUMS, SIGNATURE, RELEASE_JSON}, key=os.fsencode)


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file. A symbolic link is an error: it could lead out of the release."""
    # Bare descriptors: of a small file, Python's file objects cost more than its hash.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        digest = hashlib.sha256()
        size = min(_HASHED_BYTES, os.fstat(descriptor).st_size + 1)
        while chunk := os.read(descriptor, size):
            digest.update(chunk)
        return digest.hexdigest()
    finally:
        os.close(descriptor)


def hash_papers(folder: Path, *, threads: int) -> dict[str, str]:
    """Path -> SHA-256 of every paper, sorted by path."""
    papers = document_files(folder)
    digests = ordered_map(lambda name: hash_file(folder / name), papers, threads=threads, name="hash")
    return dict(zip(papers, digests, strict=True))


def write_sha256sums(folder: Path, *, threads: int) -> str:
    """Write SHA256SUMS over all papers, read-only. Returns its own SHA-256."""
    data = sums_lines((sha256, path) for path, sha256 in hash_papers(folder, threads=threads).items())
    write_atomic(folder / SHA256SUMS, data)
    (folder / SHA256SUMS).chmod(0o444)
    return hashlib.sha256(data).hexdigest()
