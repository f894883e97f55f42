"""tar.xz made by many threads, the same bytes every time, in bounded memory.

A tar file is cut into segments, each compressed as an xz stream of its own; the file is their concatenation, which
``xz``, GNU tar and Python read as one. Compression is the one expensive step of a release (xz -6: 1.6 MB a CPU second),
so it must use every core; `lzma` lets other threads run meanwhile. Segments are as large as the
blocks of ``xz -T``, and so is the whole.
"""

import itertools
import lzma
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.release.progress import Progress, silent

SEGMENT_BYTES = 24 * 2**20
PRESET = 6
_BLOCK = 512
_RECORD = 10_240  # tar writes records of 20 blocks and ends with two empty blocks

Segment = Callable[[], bytes]


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A file and its name in the archive."""

    name: str
    path: Path


def write_tar_xz(
    file: BinaryIO,
    members: Iterable[Member],
    *,
    mtime: int,
    threads: int,
    preset: int = PRESET,
    progress: Progress = silent,
) -> None:
    """Write files as a tar.xz, sorted by name, owned by nobody, all with one time in seconds."""
    ordered = sorted(members)
    sizes = [member.path.stat().st_size for member in ordered]
    lengths = [_BLOCK + size + -size % _BLOCK for size in sizes]
    end = 2 * _BLOCK
    end += -(sum(lengths) + end) % _RECORD
    segments = itertools.chain(
        itertools.chain.from_iterable(
            _segments(member, size, mtime=mtime) for member, size in zip(ordered, sizes, strict=True)
        ),
        [lambda: bytes(end)],
    )
    count = sum(-(-length // SEGMENT_BYTES) for length in lengths) + 1
    write_xz(file, segments, threads=threads, preset=preset, progress=lambda done: progress("archive", done, count))


def _segments(member: Member, size: int, *, mtime: int) -> Iterator[Segment]:
    """A member, header and padding included, cut into pieces that are read when they are compressed."""
    info = tarfile.TarInfo(member.name)
    info.size, info.mtime, info.mode = size, mtime, 0o644
    header = info.tobuf(tarfile.GNU_FORMAT)
    length = len(header) + size + -size % _BLOCK

    def piece(start: int) -> bytes:
        end = min(start + SEGMENT_BYTES, length)
        head = header[start:end]
        first = max(0, start - len(header))
        wanted = max(0, min(end - len(header), size) - first)
        with member.path.open("rb") as source:
            source.seek(first)
            data = source.read(wanted)
        if len(data) != wanted:
            raise StoreError(f"{member.path} became shorter while it was read; run the build again")
        return (head + data).ljust(end - start, b"\0")

    for start in range(0, length, SEGMENT_BYTES):
        yield lambda start=start: piece(start)  # type: ignore[misc]


def write_xz(
    file: BinaryIO,
    segments: Iterable[Segment],
    *,
    threads: int,
    preset: int = PRESET,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Compress segments in parallel and write them in order; twice as many as threads are held at a time."""
    waiting: deque[Future[bytes]] = deque()
    done = 0
    with ThreadPoolExecutor(max(1, threads), thread_name_prefix="xz") as pool:
        try:
            for segment in segments:
                waiting.append(pool.submit(_compress, segment, preset))
                if len(waiting) >= 2 * threads:
                    file.write(waiting.popleft().result())
                    done += 1
                    progress(done)
            while waiting:
                file.write(waiting.popleft().result())
                done += 1
                progress(done)
        finally:
            for future in waiting:
                future.cancel()


def _compress(segment: Segment, preset: int) -> bytes:
    return lzma.compress(segment(), format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=preset)


def text_segments(lines: Iterable[bytes], size: int = SEGMENT_BYTES) -> Iterator[Segment]:
    """Pieces of text as segments of about `size` bytes; one empty segment when there is no text."""
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
