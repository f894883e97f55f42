"""Tars of originals: members ``ID.EXT``, read with limits and never extracted by name.

One header pass notes what is where; then the wanted members of a bucket are read one by one into a file of our own. An
index beside a tar is not needed, and not believed.
"""

import lzma
import re
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import part_path
from danbooru_pipeline.layout import EXTENSIONS, bucket_of
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports.candidates import Candidate, Finder

_NAME: Final = re.compile(r"(?:.*/)?([1-9][0-9]{0,17})\.([a-z0-9]{2,4})")
#: Larger members are not read; the site takes no file of this size.
MAX_MEMBER_BYTES: Final = 2 * 2**30
_JPG: Final = frozenset({"jpg", "jpeg"})
_BLOCK: Final = 2**20

_ERRORS: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError)

Members = dict[int, list[tuple[tarfile.TarInfo, str]]]


@dataclass(frozen=True, slots=True)
class TarHolding:
    """One tar, usually of one bucket."""

    place: Path
    can_move: bool = field(default=False, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"tar {self.place}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """The buckets that its members belong to.

        Raises:
            StoreError: it is no tar.
        """
        try:
            with tarfile.open(self.place, "r:*") as tar:
                for bucket, members in sorted(_members(tar).items()):
                    yield bucket, partial(_find, tar, members)
        except (*_ERRORS, OSError) as error:
            raise StoreError(f"{self.place} cannot be read as a tar ({error}); get it again") from error


def _members(tar: tarfile.TarFile) -> dict[str, Members]:
    """Plain members by bucket and id. A tar that is cut off gives those before the cut."""
    found: dict[str, Members] = defaultdict(lambda: defaultdict(list))
    while True:
        try:
            info = tar.next()
        except _ERRORS:
            return found
        if info is None:
            return found
        match = _NAME.fullmatch(info.name)
        if info.isreg() and match and match[2] in EXTENSIONS and 0 < info.size <= MAX_MEMBER_BYTES:
            found[bucket_of(int(match[1]))][int(match[1])].append((info, match[2]))


def _find(tar: tarfile.TarFile, members: Members, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:
    for fetch in wanted:
        for info, ext in members.get(fetch.id, ()):
            if ext == fetch.ext or {ext, fetch.ext} <= _JPG:
                copy = _read(tar, info, part_path(scratch / f"{fetch.id}.{fetch.ext}"))
                if copy is not None:
                    yield Candidate(fetch, copy, fetch.ext, is_copy=True)
                    break  # a second member of that name would be taken as well


def _read(tar: tarfile.TarFile, info: tarfile.TarInfo, part: Path) -> Path | None:
    """Read a member into a new file; None when the tar ends within it."""
    try:
        member = tar.extractfile(info)
        if member is None:
            return None
        with part.open("xb") as file:
            while block := member.read(_BLOCK):
                file.write(block)
    except _ERRORS:
        part.unlink(missing_ok=True)
        return None
    if part.stat().st_size != info.size:
        part.unlink()
        return None
    return part
