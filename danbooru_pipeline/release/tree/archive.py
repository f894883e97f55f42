"""tar.xz compressed by many threads, the same bytes every time, in bounded memory.

The tar file is cut into segments, each compressed as an xz stream of its own. The result is their concatenation, which
``xz``, GNU tar and Python read as one. Compression is the one expensive step of a release (xz -6: 1.6 MB per CPU
second), so it must use every core; `lzma` releases the interpreter's lock. Segments are as large as the dictionary of
xz -6: a third of the blocks of ``xz -T``, so that the next year finds more of them, for 1.6 % more bytes.
"""

import itertools
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.tree.segments import SMALLEST, SegmentStore, compress

SEGMENT_BYTES = 8 * 2**20
PRESET = 6
_BLOCK = 512
_RECORD = 10_240  # tar writes records of 20 blocks and ends with two empty blocks

Segment = Callable[[], bytes]


@dataclass(frozen=True, slots=True, order=True)
class TarEntry:
    """A file and its name in the archive."""

    name: str
    path: Path


def write_tar_xz(
    file: BinaryIO,
    members: Iterable[TarEntry],
    *,
    mtime: int,
    threads: int,
    preset: int = PRESET,
    progress: Progress = silent,
    store: SegmentStore | None = None,
) -> None:
    """Write files as a tar.xz, sorted by name, with owner 0 and one time for all.

    Args:
        file: the target.
        members: the files.
        mtime: time of every member, in seconds.
        threads: that compress.
        preset: of xz.
        progress: called with the number of segments.
        store: caches compressed segments; those that this archive does not use are dropped from it.
    """
    ordered = sorted(members)
    sizes = [member.path.stat().st_size for member in ordered]
    lengths = [_BLOCK + size + -size % _BLOCK for size in sizes]
    end = 2 * _BLOCK
    end += -(sum(lengths) + end) % _RECORD
    of_members = (_segments(member, size, mtime=mtime) for member, size in zip(ordered, sizes, strict=True))
    count = sum(len(list(_cuts(length - _BLOCK))) for length in lengths) + 1
    write_xz(
        file,
        itertools.chain(itertools.chain.from_iterable(of_members), [lambda: bytes(end)]),
        threads=threads,
        preset=preset,
        progress=lambda done: progress("archive", done, count),
        pack=compress if store is None else store.compress,
    )
    if store is not None:
        store.drop_unused()


def _segments(member: TarEntry, size: int, *, mtime: int) -> Iterator[Segment]:
    """A member with header and padding, cut into pieces that are read only when they are compressed."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    header = info.tobuf(tarfile.GNU_FORMAT)
    length = len(header) + size + -size % _BLOCK

    def piece(start: int, end: int) -> bytes:
        head = header[start:end]
        first = max(0, start - len(header))
        wanted = max(0, min(end - len(header), size) - first)
        with member.path.open("rb") as source:
            source.seek(first)
            data = source.read(wanted)
        if len(data) != wanted:
            raise StoreError(f"{member.path} shrank while it was being read; run the build again")
        return (head + data).ljust(end - start, b"\0")

    for start, end in _cuts(length - _BLOCK):
        yield lambda start=start, end=end: piece(start, end)  # type: ignore[misc]


def _cuts(content: int) -> Iterator[tuple[int, int]]:
    """Where a member is cut. The header of a large one is cut off, since it contains the time of the archive."""
    starts = [0, *range(_BLOCK if content >= SMALLEST else SEGMENT_BYTES, _BLOCK + content, SEGMENT_BYTES)]
    return itertools.pairwise([*starts, _BLOCK + content])


def write_xz(
    file: BinaryIO,
    segments: Iterable[Segment],
    *,
    threads: int,
    preset: int = PRESET,
    progress: Callable[[int], None] = lambda _: None,
    pack: Callable[[bytes, int], bytes] = compress,
) -> None:
    """Compress segments in parallel and write them in order; at most twice as many in flight as there are threads."""
    with ordered_map(lambda segment: pack(segment(), preset), segments, threads=threads, name="xz") as packed:
        for done, data in enumerate(packed, start=1):
            file.write(data)
            progress(done)


def text_segments(lines: Iterable[bytes], size: int = SEGMENT_BYTES) -> Iterator[Segment]:
    """Lines as segments of about `size` bytes; one empty segment if there are no lines."""
    held: list[bytes] = []
    held_bytes = 0
    cut = 0
    for line in lines:
        held.append(line)
        held_bytes += len(line)
        if held_bytes >= size:
            yield _joined(held)
            cut += 1
            held, held_bytes = [], 0
    if held or not cut:
        yield _joined(held)


def _joined(pieces: list[bytes]) -> Segment:
    return lambda: b"".join(pieces)
