"""Images out of the tars of their buckets, as a release lies on the Hub.

Posts come by id, so nearly each one is of another bucket than the one before; they are sorted by bucket first. The
index of a tar is read once, then its ranges, a few tars at a time. Neighbours come by one request, together with what
lies between them if that is short, so a tar of which all is wanted comes in a few large pieces; these bound the memory.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa

from danbooru_pipeline import stop
from danbooru_pipeline.consume.get.origins import THREADS, Origin
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.io.atomic import commit_part, fsync_folder
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKETS, bucket_of
from danbooru_pipeline.release.checksums import by_bucket

#: Bytes that are asked for at once, and held in memory by each thread.
RANGE_BYTES: Final = 16 * 2**20
#: What may lie between two images that come by one request: a request costs about as long as so many bytes.
GAP_BYTES: Final = 2**18
#: Far more than the index of any bucket has.
_INDEX_BYTES: Final = 2**26
_ROWS: Final = 10_000
_SCHEMA: Final = pa.schema([("id", pa.int64()), ("path", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an image is in its tar; an index says more about it, which the manifest knows better."""

    offset: Annotated[int, msgspec.Meta(ge=0)]
    size: Annotated[int, msgspec.Meta(ge=0)]


@dataclass(frozen=True, slots=True)
class _Index:
    """What the tar of a bucket holds, by name."""

    files: dict[str, _Place]


@dataclass(frozen=True, slots=True)
class Member:
    """An image that is wanted, and where it is."""

    path: str
    offset: int
    size: int
    sha256: str

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.offset + self.size


@dataclass(slots=True)
class Brought:
    """What came of the images of a bucket.

    Attributes:
        posts: how many were wanted.
        fetched: how many are here now.
        missing: paths of the others.
    """

    posts: int
    fetched: int = 0
    missing: list[str] = field(default_factory=list)


def has_tars(origin: Origin, tree: str, post_id: int) -> bool:
    """Whether a place has the images of a tree in tars, as the one of a post's bucket shows."""
    return origin.part(f"{tree}/{bucket_of(post_id)}.json", offset=0, size=1) is not None


def bring_from_tars(origin: Origin, posts: Iterable[Chosen], *, target: Path, work: Path) -> Iterator[Brought]:
    """Fetch the images of posts into `target`, bucket by bucket.

    Args:
        origin: that has the tars.
        posts: of one tree, in any order.
        target: gets each image once its digest is right.
        work: on the same file system, for what is not whole yet.

    Raises:
        PublishError: the place cannot be read, or what is there is no index.
    """
    left = iter(posts)
    with ExternalGroupBy(_SCHEMA, key=by_bucket, folder=work) as rows:
        while batch := list(islice(left, _ROWS)):
            columns = [[getattr(post, name) for post in batch] for name in _SCHEMA.names]
            rows.add(pa.table(columns, schema=_SCHEMA))

        def bring(group: tuple[int, pa.Table]) -> Brought:
            return _Tar(origin, target, work).bring(BUCKETS[group[0]], group[1].to_pylist())

        with ordered_map(bring, rows.groups(), threads=THREADS, name="get") as brought:
            yield from brought


def ranges_of(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Members that come by one request; one that is larger than a range is alone."""
    held: list[Member] = []
    for member in sorted(members, key=lambda each: each.offset):
        if held and (member.offset - held[-1].end > GAP_BYTES or member.end - held[0].offset > RANGE_BYTES):
            yield held
            held = []
        held.append(member)
    if held:
        yield held


@dataclass(frozen=True, slots=True)
class _Tar:
    origin: Origin
    target: Path
    work: Path

    def bring(self, bucket: str, posts: list[dict[str, Any]]) -> Brought:
        """Fetch images of a bucket; those that arrive damaged once more, each alone."""
        done = Brought(len(posts))
        tree = posts[0]["path"].partition("/")[0]
        name = f"{tree}/{bucket}"
        held = self._read_index(f"{name}.json")
        members = []
        for post in posts:
            place = held.get(post["path"].rpartition("/")[2])
            if place is None or place.size != post["size"]:
                done.missing.append(post["path"])
            else:
                members.append(Member(post["path"], place.offset, place.size, post["sha256"]))
        (self.work / name).mkdir(parents=True, exist_ok=True)
        tar, lost = f"{name}.tar", list[str]()
        for run in ranges_of(members):
            again = self._bring_range(tar, run)
            if again is None:  # there is no such tar, or it is shorter: no image of it is asked for by itself
                lost += [member.path for member in run]
                continue
            lost += [member.path for member in again if self._bring_range(tar, [member]) != []]
        done.missing += lost
        done.fetched = len(members) - len(lost)
        if done.fetched:
            fsync_folder(self.target / name)
        return done

    def _read_index(self, path: str) -> dict[str, _Place]:
        data = self.origin.part(path, offset=0, size=_INDEX_BYTES)
        if data is None:
            return {}
        try:
            return msgspec.json.decode(data, type=_Index).files
        except (ValueError, RecursionError) as error:  # of msgspec, and of what is no UTF-8 or endlessly deep
            raise PublishError(f"{path} is no index of a tar ({error}); get the release from another place") from error

    def _bring_range(self, tar: str, members: list[Member]) -> list[Member] | None:
        """Fetch neighbours by one range. Returns those that are not what the manifest says; None if nothing came."""
        stop.check()
        first, last = members[0].offset, max(each.end for each in members)
        if last - first > RANGE_BYTES:
            return [each for each in members if not self._bring_large(tar, each)]
        data = self.origin.part(tar, offset=first, size=last - first) if last > first else b""
        if data is None:
            return None
        wrong = []
        for member in members:
            image = data[member.offset - first : member.end - first]
            if hashlib.sha256(image).hexdigest() != member.sha256:
                wrong.append(member)
                continue
            (self.work / member.path).write_bytes(image)
            self._commit(member)
        return wrong

    def _bring_large(self, tar: str, member: Member) -> bool:
        """Fetch a large image piece by piece, after those that a killed run has."""
        part = self.work / member.path
        with part.open("ab") as file:
            while (held := file.tell()) < member.size:
                wanted = min(RANGE_BYTES, member.size - held)
                data = self.origin.part(tar, offset=member.offset + held, size=wanted)
                if not data:
                    break
                file.write(data)
        if sha256_of(part) != member.sha256:
            part.unlink()
            return False
        self._commit(member)
        return True

    def _commit(self, member: Member) -> None:
        (self.target / member.path).parent.mkdir(parents=True, exist_ok=True)
        commit_part(self.work / member.path, self.target / member.path, flush_folder=False)  # once for all of a bucket
