"""``store/takedowns.json``: which posts were taken down. Read and written here and nowhere else.

It has their ids and the paths of their files, it is private and no part of any release. It is written before anything
is removed, so an interrupted takedown is known to be unfinished. What a published release names in ``removed.txt``
counts too, so a list that was restored from an old backup brings nothing back.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.errors import NewerFile, StoreError
from danbooru_pipeline.io.atomic import remove_parts_of, write_atomic
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import INT64_MAX, Layout
from danbooru_pipeline.posts.tombstones import tombstone_lines
from danbooru_pipeline.release_paths import REMOVED, release_name


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDown:
    """What must be remembered about a post that was taken down.

    Attributes:
        paths: of its files in any release, relative to the release.
        first_year: of the first release that contained it; None if no release did.
    """

    paths: tuple[str, ...] = ()
    first_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Takedowns:
    """All posts that were ever taken down, by id.

    Attributes:
        unfinished: whether some release may still contain one of them.
    """

    posts: dict[int, TakenDown]
    unfinished: bool = False

    @property
    def ids(self) -> frozenset[int]:
        """Their ids."""
        return frozenset(self.posts)

    @property
    def paths(self) -> list[str]:
        """The paths of their files, sorted."""
        return sorted({path for post in self.posts.values() for path in post.paths})

    @property
    def tombstones(self) -> bytes:
        """``removed.txt`` of a release."""
        return tombstone_lines(self.posts)


_KEYS: Final = {each.name for each in fields(Takedowns)}
_OF_POST: Final = {each.name for each in fields(TakenDown)}


def read_takedowns(layout: Layout) -> Takedowns:
    """Read the list, and add what published releases say was removed; empty when nothing was ever taken down.

    Raises:
        StoreError: it is damaged. Everything stops, since what was removed must not come back.
    """
    files = (layout.takedowns, *sorted(layout.releases.glob(f"{release_name(0)[:-1]}[0-9]*/{REMOVED}")))
    return _read(tuple((path, mark_of(path)) for path in files))


def removed_posts(layout: Layout) -> frozenset[int]:
    """Ids of the posts that were taken down, as of now."""
    return read_takedowns(layout).ids


def held_by_takedown(layout: Layout) -> str | None:
    """What holds up every build and publication, for people; None unless a takedown is not finished.

    Raises:
        StoreError: as `read_takedowns`.
    """
    if not read_takedowns(layout).unfinished:
        return None
    return (
        "a takedown is not finished, so releases may still have its posts, and nothing is built or published; run "
        "danbooru-pipeline takedown --resume"
    )


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """What changes with every atomic write of a file; None when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, error) from error
    return found.st_ino, found.st_mtime_ns, found.st_size


# Every bucket of a build asks, so an unchanged list is not parsed again.
@lru_cache(maxsize=8)
def _read(files: tuple[tuple[Path, tuple[int, int, int] | None], ...]) -> Takedowns:
    (listed, _), *tombstones = files
    try:
        data = listed.read_bytes()
        _require_known(listed, data)
        known = msgspec.json.decode(data, type=Takedowns)
    except FileNotFoundError:
        known = Takedowns(posts={})
    except (OSError, ValueError) as error:
        raise _damaged(listed, error) from error
    gone = dict.fromkeys((id_ for path, _ in tombstones for id_ in read_tombstones(path)), TakenDown())
    return replace(known, posts={**gone, **known.posts})


def _require_known(path: Path, data: bytes) -> None:
    """Refuse what the next takedown would drop from the list."""
    content = msgspec.json.decode(data)
    require_known_json(path, content)
    if isinstance(content, dict):
        posts = content.get("posts")
        rows = posts.values() if isinstance(posts, dict) else ()
        unknown = (content.keys() - _KEYS) | {
            key for row in rows if isinstance(row, dict) for key in row.keys() - _OF_POST
        }
        if unknown:
            raise NewerFile(path, f"field {min(unknown)}")


def read_tombstones(path: Path) -> frozenset[int]:
    """The ids of a ``removed.txt``; none when it is not there.

    Raises:
        StoreError: it is damaged.
    """
    try:
        return frozenset(read_ids(path.read_bytes()))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_ids(data: bytes) -> Iterator[int]:
    """The ids of a list, separated by white space.

    Raises:
        ValueError: something in it is not the id of a post.
    """
    for text in data.split():
        id_ = int(text)
        if not 0 < id_ <= INT64_MAX:
            raise ValueError(f"{id_} is not the id of a post")
        yield id_


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path} cannot be read ({error}); restore it from a backup before anything else")


def write_takedowns(layout: Layout, takedowns: Takedowns) -> None:
    """Replace the list. Waits while a release is being published, so either that release or this list comes first."""
    with exclusive(layout.publication_lock):
        remove_parts_of(layout.takedowns)
        write_atomic(layout.takedowns, msgspec.json.format(msgspec.json.encode(takedowns)))
