"""Which posts were taken down: ids and the names their files had, in the store and nowhere else.

The list is written before anything is removed, so a takedown that was killed is known to be unfinished.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenDown:
    """What must be known of a post that was taken down.

    Attributes:
        paths: that its files had in any release, relative to it.
        first_year: of the first release that held it; None when none did.
    """

    paths: tuple[str, ...] = ()
    first_year: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Takedowns:
    """All posts that were ever taken down, by id.

    Attributes:
        unfinished: whether some release may still hold them.
    """

    posts: dict[int, TakenDown]
    unfinished: bool = False

    @property
    def ids(self) -> frozenset[int]:
        """Their ids."""
        return frozenset(self.posts)

    @property
    def paths(self) -> list[str]:
        """The paths their files had, sorted."""
        return sorted({path for post in self.posts.values() for path in post.paths})

    @property
    def tombstones(self) -> bytes:
        """``removed.txt`` of a release: ids, one a line, and nothing about why."""
        return "".join(f"{id_}\n" for id_ in sorted(self.posts)).encode()


def takedowns_path(layout: Layout) -> Path:
    """The list; private, and no part of any release."""
    return layout.store / "takedowns.json"


def read_takedowns(layout: Layout) -> Takedowns:
    """Read the list; empty when there is none.

    Raises:
        StoreError: it is damaged, and what was removed must not come back.
    """
    path = takedowns_path(layout)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Takedowns)
    except FileNotFoundError:
        return Takedowns(posts={})
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); restore it from a backup before anything else") from error


def write_takedowns(layout: Layout, takedowns: Takedowns) -> None:
    """Replace the list."""
    write_atomic(takedowns_path(layout), msgspec.json.format(msgspec.json.encode(takedowns)))
