"""SHA-256 of many files of a release, bounded by the sizes that are expected."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.untrusted import has_hole, open_folder, open_in

#: Files, or bytes, that are handed to a thread at a time.
_PIECE, _PIECE_BYTES = 32, 2**19
_BLOCK_BYTES = 2**20


class Expected(NamedTuple):
    """A file of a release and the most bytes that are read of it. A named tuple, since there are millions of them."""

    path: str
    size: int


def hash_files(root: Path, files: Iterable[Expected], threads: int) -> Iterator[str | None]:
    """SHA-256 of each file, in order; None where it cannot be read, is no regular file, or is longer than expected."""

    def digests(piece: Sequence[Expected]) -> list[str | None]:
        return list(_digests(root, piece))

    for done in ordered_map(digests, _pieces(files), threads=threads, name="hash"):
        yield from done


def _pieces(files: Iterable[Expected]) -> Iterator[list[Expected]]:
    """Files in pieces, each hashed by one thread: handing over small files one by one costs more than hashing them."""
    piece: list[Expected] = []
    held = 0
    for file in files:
        piece.append(file)
        held += file.size
        if len(piece) >= _PIECE or held >= _PIECE_BYTES:
            yield piece
            piece, held = [], 0
    if piece:
        yield piece


def _digests(root: Path, piece: Sequence[Expected]) -> Iterator[str | None]:
    """Files beside each other are opened in their folder, which saves the kernel the way to it."""
    folder, descriptor = None, -1
    try:
        for path, size in piece:
            above, _, name = path.rpartition("/")
            if above != folder:
                if descriptor >= 0:
                    os.close(descriptor)
                folder, descriptor = above, -1
                descriptor = _folder_or_none(root, above)
            yield None if descriptor < 0 else _digest(descriptor, name, size)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _folder_or_none(root: Path, name: str) -> int:
    try:
        return open_folder(root, name)
    except (OSError, ValueError):
        return -1


def _digest(folder: int, name: str, size: int) -> str | None:
    try:
        descriptor = open_in(folder, name)
    except (OSError, ValueError):
        return None
    try:
        if size >= _BLOCK_BYTES:
            return _digest_of_large(descriptor, size)
        # One byte more than expected; a short read is the end of a regular file.
        data = os.read(descriptor, size + 1)
        return hashlib.sha256(data).hexdigest() if len(data) <= size else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _digest_of_large(descriptor: int, size: int) -> str | None:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        if has_hole(file):
            return None
        digest, left = hashlib.sha256(), size
        while (block := os.read(descriptor, min(left + 1, _BLOCK_BYTES))) and left >= 0:
            digest.update(block)
            left -= len(block)
    return digest.hexdigest() if left >= 0 else None
