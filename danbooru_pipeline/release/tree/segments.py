"""A cache of compressed segments: an interrupted archive resumes, and the next one compresses only what is new.

Most metadata of a release is that of earlier years, and compressing it takes hours (xz -6: 1.6 MB per CPU second). The
name of a segment has the SHA-256 of its content, by which it is found, and the SHA-256 of the file itself, so a damaged
one is noticed and made again. Segments that the newest archive did not use are dropped.
"""

import hashlib
import lzma
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import write_atomic

#: Smaller segments are not worth a file.
SMALLEST: Final = 2**20
#: Bytes of a line, on average, below which the ids in it are what is compressed. Among them the match finder looks on
#: and on for what it does not find: four candidates give the same size in a third of the time.
_SHORT_LINE: Final = 96
_SHORT_LINE_DEPTH: Final = 4


def compress(data: bytes, preset: int) -> bytes:
    """A segment as an xz stream of its own."""
    options = {"id": lzma.FILTER_LZMA2, "preset": preset}
    if depth := _depth(data):
        options["depth"] = depth
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=[options])


def _depth(data: bytes) -> int:
    """How many candidates the match finder looks at; 0 if that is up to the preset."""
    return _SHORT_LINE_DEPTH if data.count(b"\n") * _SHORT_LINE > len(data) else 0


@dataclass(frozen=True, slots=True)
class SegmentStore:
    """Compressed segments in one folder. Safe for threads: each adds to `used`, and nobody reads it before all ended.

    Attributes:
        folder: created when it is needed.
        used: names of the segments that were asked for.
    """

    folder: Path
    used: set[str] = field(default_factory=set)
    _names: dict[str, list[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.folder.glob("*.*.xz"):
            self._names.setdefault(path.name.partition(".")[0], []).append(path.name)

    def compress(self, data: bytes, preset: int) -> bytes:
        """A segment, compressed; from the cache if it is there."""
        if len(data) < SMALLEST:
            return compress(data, preset)
        depth = _depth(data)
        key = f"{hashlib.sha256(data).hexdigest()}-{preset}{f'd{depth}' if depth else ''}"
        for name in self._names.pop(key, ()):
            path = self.folder / name
            held = path.read_bytes() if path.exists() else b""
            if name == _name(key, held):
                self._names[key] = [name]
                self.used.add(name)
                return held
            path.unlink(missing_ok=True)
        made = compress(data, preset)
        write_atomic(self.folder / _name(key, made), made)
        self._names[key] = [_name(key, made)]
        self.used.add(_name(key, made))
        return made

    def drop_unused(self) -> None:
        """Drop the segments that were not asked for, once the archive is written."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in self.used and path.is_file():
                    path.unlink(missing_ok=True)


def _name(key: str, data: bytes) -> str:
    return f"{key}.{hashlib.sha256(data).hexdigest()}.xz"
