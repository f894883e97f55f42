"""Tars of originals: members ``ID.EXT``, read with limits and never extracted by name.

One header pass notes what is where, and whether the tar is whole; then the wanted members of a bucket are read one by
one into a file of our own; of a packed tar that mixes buckets, many buckets are unpacked at once (`spill`). An index
beside a tar is not needed, and not believed.
"""

import contextlib
import re
import tarfile
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
from danbooru_pipeline.store.imports.spill import TAR_ERRORS, MemberReader, Members

_NAME: Final = re.compile(r"(?:.*/)?([1-9][0-9]{0,17})\.([A-Za-z0-9]{2,4})")
#: Larger members are not read; the site takes no file of this size.
MAX_MEMBER_BYTES: Final = 2 * 2**30
_JPG: Final = frozenset({"jpg", "jpeg"})


@dataclass(slots=True)
class _Contents:
    """What the header pass found.

    Attributes:
        buckets: plain members by bucket and id.
        count: members of any kind that were read.
        files: of those, how many are files.
        problem: why the rest was not; None if the tar is whole.
    """

    buckets: dict[str, Members] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    count: int = 0
    files: int = 0
    problem: str | None = None

    def add(self, info: tarfile.TarInfo) -> None:
        """Note a member, if it may be a post's file."""
        self.count += 1
        self.files += info.isreg()
        match = _NAME.fullmatch(info.name)
        if info.isreg() and match and match[2].lower() in EXTENSIONS and 0 < info.size <= MAX_MEMBER_BYTES:
            self.buckets[bucket_of(int(match[1]))][int(match[1])].append((info, match[2].lower()))


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
        """The buckets that its members belong to, in the order of the tar: one that is sorted by them is read forwards.

        Raises:
            StoreError: it is not a tar, or could not be read as a whole. What it has before that was given.
        """
        try:
            tar = tarfile.open(self.place, "r:*")  # noqa: SIM115 - closed below, when errors are of its members
        except TAR_ERRORS as error:
            raise StoreError(f"{self.place} cannot be read as a tar ({_first_line(error)}); get it again") from error
        except MemoryError:
            raise StoreError(
                f"{self.place} needs more memory to unpack than there is; pack it anew (`xz -dc | xz -9`)"
            ) from None
        with tar:
            found = _read_headers(tar)
            with contextlib.closing(MemberReader(tar, found.buckets)) as reader:
                for bucket in found.buckets:  # as the first member of each lies in the tar
                    yield bucket, partial(_find, reader, bucket, found)
        if found.problem is not None:
            raise StoreError(
                f"{self.place} could not be read as a whole ({found.problem}); {found.count:,} members were read; "
                "get it again"
            )
        if found.files and not found.buckets:
            raise StoreError(f"{self.place} has {found.files:,} files, none of them named ID.EXT")


def _first_line(error: BaseException) -> str:
    """What is wrong, without what each of the known compressions says of it."""
    return str(error).partition("\n")[0].rstrip(":")


def _read_headers(tar: tarfile.TarFile) -> _Contents:
    """Members of a file that may have several tars, one after another, up to where it cannot be read."""
    found = _Contents()
    try:
        while True:
            while (info := tar.next()) is not None:
                found.add(info)
            end = tar.offset
            block, at = _skip_zeros(tar, end)
            if len(block) < tarfile.BLOCKSIZE:
                if at == end or any(block):
                    found.problem = f"it ends at byte {at + len(block):,}, without the mark of its end"
                return found
            if at == end:
                found.problem = f"what is at byte {at:,} is no member"
                return found
            tar.offset = at
            first = tar.next()
            if first is None:
                found.problem = f"what is at byte {at:,}, after its end, is not a tar"
                return found
            found.add(first)
    except TAR_ERRORS as error:
        found.problem = str(error) or type(error).__name__
        return found


def _skip_zeros(tar: tarfile.TarFile, offset: int) -> tuple[bytes, int]:
    """The first block from an offset on that has more than zeros, and where it is; a short one at the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(offset)
    while len(block := tar.fileobj.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE and not any(block):
        offset += tarfile.BLOCKSIZE
    return block, offset


def _find(
    reader: MemberReader, bucket: str, contents: _Contents, wanted: Iterable[Fetch], scratch: Path, /
) -> Iterator[Candidate]:
    """Every member of a post's name, as they lie in the tar: which one is the post's is for its proof to say.

    What is packed can only be read forwards; to go back is to unpack it from its start.
    """
    members = contents.buckets[bucket]
    named = [
        (info, fetch)
        for fetch in wanted
        for info, ext in members.get(fetch.id, ())
        if ext == fetch.ext or {ext, fetch.ext} <= _JPG
    ]
    if named:
        reader.prepare(bucket, scratch)
    for info, fetch in sorted(named, key=lambda each: each[0].offset):
        part = part_path(scratch / f"{fetch.id}.{fetch.ext}")
        try:
            _copy(reader.blocks(info), part)
        except tarfile.TarError as error:
            contents.problem = contents.problem or f"{info.name}: {error}"
        else:
            yield Candidate(fetch, part, fetch.ext, is_copy=True)


def _copy(blocks: Iterable[bytes], part: Path) -> None:
    """Copy a member into a new file.

    Raises:
        TarError: it cannot be read to its end.
    """
    try:
        with part.open("xb") as file:
            for block in blocks:
                file.write(block)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
