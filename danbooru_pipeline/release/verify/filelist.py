"""Verification of the list of all files: its lines, and the xz streams that they are packed in, to its last byte."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from danbooru_pipeline.io.bounded_xz import XzReader, xz_reader
from danbooru_pipeline.io.untrusted import opened
from danbooru_pipeline.release.checksums import (
    FILELIST,
    FILELIST_SEGMENT_BYTES,
    TREES,
    ImageFile,
    Tree,
    filelist_lines,
    segment_sizes,
)
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification, is_of_before_0_3

#: A list may be longer than expected by this much before it is not read to its end.
_MORE = 2**20
_LINES_BYTES = 2**20


class ExpectedFilelist:
    """The list of all files as the manifest has it.

    It is on disk, since millions of lines are more than memory should hold, with a part for each tree, since it is
    sorted by tree first.
    """

    def __init__(self) -> None:
        self._parts = {tree.name: tempfile.TemporaryFile() for tree in TREES}  # noqa: SIM115 - live as long as self
        self._sizes: dict[str, list[int]] = {tree.name: [] for tree in TREES}

    def close(self) -> None:
        """Give the files back."""
        for file in self._parts.values():
            file.close()

    def add(self, tree: Tree, files: Iterable[ImageFile]) -> None:
        """Take the files of the next bucket in a tree."""
        lines = filelist_lines(files)
        self._parts[tree.name].write(lines)
        self._sizes[tree.name].append(len(lines))

    def check(self, run: Verification) -> None:
        """Compare the list of a release."""
        limit = sum(part.tell() for part in self._parts.values()) + _MORE
        same = True
        with opened(run.folder, FILELIST) as packed, xz_reader(packed, limit=limit) as file:
            for line, listed in _unpaired(self._lines(), file):
                same = False
                said = "is listed, but not in the manifest" if listed else "is not listed"
                run.add(Kind.FILELIST_DIFFERS, FILELIST, f"{line.decode(errors='replace').strip()} {said}")
            if same and not self._is_packed_as_written(run, file.raw):
                run.add(Kind.FILELIST_DIFFERS, FILELIST, "has other xz streams than are written, or bytes beside them")

    def _is_packed_as_written(self, run: Verification, read: XzReader) -> bool:
        if read.padding:
            return False
        if is_of_before_0_3(run.release):  # which cut the list elsewhere
            return len(read.streams) == 1 or all(read.streams)
        sizes = itertools.chain.from_iterable(self._sizes.values())
        return read.streams == list(segment_sizes(sizes, FILELIST_SEGMENT_BYTES))

    def _lines(self) -> Iterator[bytes]:
        """The expected lines, some at a time."""
        return itertools.chain.from_iterable(map(some_lines, self._parts.values()))


def some_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file from its start, some at a time."""
    file.seek(0)
    while lines := file.readlines(_LINES_BYTES):
        yield b"".join(lines)


def _unpaired(expected: Iterator[bytes], file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Lines that only one of two sorted lists has, and whether that is the file; `expected` comes in parts."""
    for part in expected:
        read = file.read(len(part))
        if read != part:
            rest = itertools.chain.from_iterable(
                more.splitlines(keepends=True) for more in itertools.chain([part], expected)
            )
            yield from _unpaired_lines(rest, _lines_after(read, file))
            return
    yield from _unpaired_lines(iter(()), file)


def _lines_after(read: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file of which `read` has been read already."""
    *whole, last = read.splitlines(keepends=True) or [b""]
    yield from whole
    yield from filter(None, [last if last.endswith(b"\n") else last + file.readline()])
    yield from file


def _unpaired_lines(expected: Iterator[bytes], listed: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    left, right = next(expected, None), next(listed, None)
    while left is not None or right is not None:
        if left == right:
            left, right = next(expected, None), next(listed, None)
        elif right is None or (left is not None and left < right):
            yield left or b"", False
            left = next(expected, None)
        else:
            yield right, True
            right = next(listed, None)
