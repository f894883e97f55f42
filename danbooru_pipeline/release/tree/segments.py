"""Compressed segments that are kept: an archive that was cut off goes on, and the next one repeats only what is new.

Of a release's metadata most is that of earlier years, and compressing it costs hours (xz -6: 1.6 MB a CPU second). A
segment is found by the SHA-256 of what is in it; its name also says the SHA-256 of the file, so a damaged one is made
again. What the newest archive did not need is dropped.
"""

import hashlib
import lzma
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import write_atomic

#: Smaller segments cost less than their file.
SMALLEST: Final = 2**20


def compress(data: bytes, preset: int) -> bytes:
    """A segment as an xz stream of its own."""
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=preset)


@dataclass(frozen=True, slots=True)
class SegmentStore:
    """Compressed segments in one folder. Safe for threads.

    Attributes:
        folder: holds them; made when it is needed.
        used: names of those that were asked for.
    """

    folder: Path
    used: set[str] = field(default_factory=set)

    def compress(self, data: bytes, preset: int) -> bytes:
        """A segment compressed, from the store if it is there."""
        if len(data) < SMALLEST:
            return compress(data, preset)
        key = f"{hashlib.sha256(data).hexdigest()}-{preset}"
        for path in self.folder.glob(f"{key}.*.xz"):
            held = path.read_bytes()
            if path.name == _name(key, held):
                self.used.add(path.name)
                return held
            path.unlink()
        made = compress(data, preset)
        write_atomic(self.folder / _name(key, made), made)
        self.used.add(_name(key, made))
        return made

    def drop_unused(self) -> None:
        """Drop what was not asked for; the archive is written."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in self.used:
                    path.unlink(missing_ok=True)


def _name(key: str, data: bytes) -> str:
    return f"{key}.{hashlib.sha256(data).hexdigest()}.xz"
