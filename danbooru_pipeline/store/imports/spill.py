"""Members of a packed tar that mixes buckets: unpacked together for many buckets, since it can only be read forwards.

A bucket's members lie all over such a tar, and buckets are worked on one after another. So those of as many buckets as
there is room for are copied, in one pass, into a file without a name: a kill leaves nothing of it.
"""

import gzip
import lzma
import shutil
import tarfile
import tempfile
import zlib
from bz2 import BZ2File
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

#: Bytes that are kept unpacked, and which share of the free disk they may take at most.
SPILL_BYTES: Final = 32 * 2**30
_SHARE_OF_FREE: Final = 4
_BLOCK: Final = 2**20

#: What reading a tar raises.
TAR_ERRORS: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError, OSError)

#: The members of a bucket by id, with their extensions in lower case.
Members = dict[int, list[tuple[tarfile.TarInfo, str]]]


@dataclass(slots=True)
class MemberReader:
    """Reads members of a tar, from itself or from where they were unpacked.

    Attributes:
        tar: open.
        buckets: its members, in the order in which they will be asked for.
    """

    tar: tarfile.TarFile
    buckets: Mapping[str, Members]
    _spill: BinaryIO | None = None
    _left: dict[str, int] | None = None  # buckets that were not asked for yet, and the bytes of their members
    _places: dict[int, int | tarfile.TarError] = field(default_factory=dict)  # by offset in the tar

    def close(self) -> None:
        """Give the disk back."""
        if self._spill is not None:
            self._spill.close()
        self._spill, self._places = None, {}

    def prepare(self, bucket: str, scratch: Path) -> None:
        """Unpack the members of a bucket, and those of the following that fit, if each would cost a pass of its own.

        Args:
            bucket: whose members are read next.
            scratch: a folder on the disk that may be filled.
        """
        if self._left is None:
            self._left = _sizes(self.buckets) if _is_packed(self.tar) and _is_mixed(self.buckets) else {}
        if bucket not in self._left:
            return
        room = min(SPILL_BYTES, shutil.disk_usage(scratch).free // _SHARE_OF_FREE)
        names = list(self.buckets)
        chosen = []
        for name in names[names.index(bucket) :]:
            room -= self._left[name]
            if room < 0:
                break
            chosen.append(name)
        for name in chosen:
            del self._left[name]
        if chosen:  # else it is too large even alone, and is read from the tar itself
            self.close()
            self._unpack(chosen, scratch)

    def _unpack(self, buckets: list[str], scratch: Path) -> None:
        spill = self._spill = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed when the next is unpacked
        members = [info for name in buckets for found in self.buckets[name].values() for info, _ in found]
        for info in sorted(members, key=lambda each: each.offset):
            start = spill.tell()
            try:
                for block in _blocks_of(self.tar, info):
                    spill.write(block)
            except tarfile.TarError as error:
                self._places[info.offset] = error
                spill.seek(start)
            else:
                self._places[info.offset] = start

    def blocks(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        """The bytes of a member.

        Raises:
            TarError: it cannot be read to its end.
        """
        place = self._places.get(info.offset)
        if isinstance(place, tarfile.TarError):
            raise place
        if place is None or self._spill is None:
            yield from _blocks_of(self.tar, info)
            return
        self._spill.seek(place)
        left = info.size
        while left and (block := self._spill.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def _is_packed(tar: tarfile.TarFile) -> bool:
    """Whether going back in a tar is to unpack it from its start."""
    return isinstance(tar.fileobj, gzip.GzipFile | BZ2File | lzma.LZMAFile)


def _is_mixed(buckets: Mapping[str, Members]) -> bool:
    """Whether members of a bucket lie between those of another one."""
    end = -1
    for members in buckets.values():
        offsets = [info.offset for found in members.values() for info, _ in found]
        if min(offsets) < end:
            return True
        end = max(offsets)
    return False


def _sizes(buckets: Mapping[str, Members]) -> dict[str, int]:
    return {
        name: sum(info.size for found in members.values() for info, _ in found) for name, members in buckets.items()
    }


def _blocks_of(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    left = info.size
    try:
        member = tar.extractfile(info)
        while member is not None and (block := member.read(_BLOCK)):
            left -= len(block)
            yield block
    except TAR_ERRORS as error:  # of reading: those of writing are the caller's
        raise tarfile.ReadError(str(error)) from error
    if left:
        raise tarfile.ReadError("the tar ends within it")
