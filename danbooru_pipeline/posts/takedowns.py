"""``store/takedowns.json``: which posts were taken down. Read and written here and nowhere else.

It has their ids and the paths of their files, it is private and no part of any release. It is written before anything
is removed, so an interrupted takedown is known to be unfinished.
"""

from dataclasses import dataclass

import msgspec

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout


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
        """``removed.txt`` of a release: one id per line, and nothing about why."""
        return "".join(f"{id_}\n" for id_ in sorted(self.posts)).encode()


def read_takedowns(layout: Layout) -> Takedowns:
    """Read the list; empty when nothing was ever taken down.

    Raises:
        StoreError: it is damaged. Everything stops, since what was removed must not come back.
    """
    path = layout.takedowns
    try:
        return msgspec.json.decode(path.read_bytes(), type=Takedowns)
    except FileNotFoundError:
        return Takedowns(posts={})
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); restore it from a backup before anything else") from error


def write_takedowns(layout: Layout, takedowns: Takedowns) -> None:
    """Replace the list."""
    write_atomic(layout.takedowns, msgspec.json.format(msgspec.json.encode(takedowns)))
