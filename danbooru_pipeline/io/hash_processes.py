"""Hashes many files in their order: a small job in threads of this process, a large one in processes.

Threads take turns at the interpreter's lock, also with whoever hands out the files. Processes have a lock each. They
are started once there is enough to do and hold no state; what a process that dies was asked is hashed here.
"""

import contextlib
import itertools
import queue
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from danbooru_pipeline.io.bounded_sha256 import ANY_MODE, Expected, ModeRule, digests_of
from danbooru_pipeline.io.hash_worker import CODEC, NOTHING
from danbooru_pipeline.io.ordered_map import ordered_map

F = TypeVar("F", bound=Expected)
#: Paths and sizes.
Files = list[tuple[str, int]]

_NOTHING = NOTHING.decode()
#: Files, or bytes, that are handed over at a time.
_PIECE, _PIECE_BYTES = 128, 2**21
#: Processes pay from so many files on.
MANY_FILES = 10_000
#: Not by `multiprocessing`, which imports the main module of the parent in each process: a second, for a command.
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from danbooru_pipeline.io.hash_worker import main; main(*sys.argv[2:])"
)


class FileHasher:
    """Hashes files below a root.

    Args:
        root: above all files.
        workers: threads, or processes, that hash at once.
        rule: of the files' modes.
        many: files after which processes take over.
    """

    def __init__(self, root: Path, *, workers: int, rule: ModeRule = ANY_MODE, many: int = MANY_FILES) -> None:
        self._root = root
        self._count = max(1, workers)
        self._rule = rule
        self._many = many
        self._seen = 0
        self._hashing = contextlib.ExitStack()
        self._started: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hashing.close()
        for process in self._started:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # what a dead one was to be told
                    pipe.close()
            process.wait()

    def digests(self, files: Iterable[F]) -> Iterator[tuple[F, str | None]]:
        """Each file with its SHA-256, in order; None as in `digests_of`. `files` are taken while others are hashed."""
        hashing = ordered_map(self._hash, self._pieces(files), threads=self._count, name="hash")
        hashed = self._hashing.enter_context(hashing)
        return (pair for piece, done in hashed for pair in zip(piece, done, strict=True))

    def _pieces(self, files: Iterable[F]) -> Iterator[list[F]]:
        """Files in pieces: handing over small files one by one costs more than hashing them."""
        piece: list[F] = []
        held = 0
        for file in files:
            piece.append(file)
            held += file.size
            if len(piece) >= _PIECE or held >= _PIECE_BYTES:
                yield self._noted(piece)
                piece, held = [], 0
        if piece:
            yield self._noted(piece)

    def _noted(self, piece: list[F]) -> list[F]:
        self._seen += len(piece)
        if self._seen > self._many and not self._started:
            self._start()
        return piece

    def _start(self) -> None:
        above = Path(__file__).parents[2]  # a folder, or the one file that `verify` comes in
        code = [sys.executable, "-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _START]
        command = [*code, *map(str, (above, self._root, *self._rule))]
        for _ in range(self._count):
            with contextlib.suppress(OSError):  # without it, a thread hashes
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
                self._started.append(process)
                self._idle.put(process)

    def _hash(self, piece: list[F]) -> tuple[list[F], list[str | None]]:
        files = [(file.path, file.size) for file in piece]
        with contextlib.suppress(queue.Empty, OSError, ValueError):  # no process is left, or this one died
            process = self._idle.get_nowait()
            done = _ask(process, files)
            self._idle.put(process)
            return piece, done
        return piece, list(digests_of(self._root, files, self._rule))


def _ask(process: "subprocess.Popen[bytes]", files: Files) -> list[str | None]:
    """The digests from a process.

    Raises:
        OSError, ValueError: it is not there any more.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    asked = "".join([f"{size} {path}\0" for path, size in files]).encode(*CODEC)
    process.stdin.write(b"%d\n%s" % (len(asked), asked))
    process.stdin.flush()
    answer = list(itertools.islice(process.stdout, len(files)))
    if len(answer) != len(files):
        raise ValueError("it died")
    return [None if digest == _NOTHING else digest for digest in b"".join(answer).decode().split()]
