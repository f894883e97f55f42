"""``store/takedowns.json``: which posts were taken down. Read and written here and nowhere else.

It has their ids and the paths of their files, it is private and no part of any release. It is written before anything
is removed, so an interrupted takedown is known to be unfinished; copies of releases that were published elsewhere are
in it from then on, until each was published again without the posts. What a published release names in ``removed.txt``
counts too, so a list that was restored from an old backup brings nothing back.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.errors import NewerFile, SettingsError, StoreError
from danbooru_pipeline.io.atomic import remove_folder, remove_parts_of, write_atomic
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
class PublishedCopy:
    """A copy of a release at a place that it was published to.

    Attributes:
        place: digest of the place's address, by which ``ROOT/publications`` has it.
        release: its name.
        address: of the place; empty where the settings no longer named it when the copy was noted.
    """

    place: str
    release: str
    address: str = ""

    @property
    def name(self) -> str:
        """Of the place, for people, and for ``takedown --cleared``."""
        return self.address or self.place


@dataclass(frozen=True, slots=True, kw_only=True)
class Takedowns:
    """All posts that were ever taken down, by id.

    Attributes:
        unfinished: whether some release may still contain one of them.
        copies: published copies that may still contain one of them.
    """

    posts: dict[int, TakenDown]
    unfinished: bool = False
    copies: tuple[PublishedCopy, ...] = ()

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
_OF_COPY: Final = {each.name for each in fields(PublishedCopy)}


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


def unfinished_takedowns(layout: Layout) -> list[str]:
    """What is not finished of takedowns, for people: in the releases, and at each place that they were published to.

    Raises:
        StoreError: as `read_takedowns`.
    """
    held = held_by_takedown(layout)
    return [
        *([held] if held else []),
        *(
            f"published copies at {name} may still have posts that were taken down ({', '.join(releases)}); run "
            "danbooru-pipeline takedown --resume"
            for name, releases in by_place(read_takedowns(layout).copies).items()
        ),
    ]


def by_place(copies: Iterable[PublishedCopy]) -> dict[str, list[str]]:
    """Name of a place -> names of the releases that it has copies of."""
    found: dict[str, list[str]] = {}
    for copy in copies:
        found.setdefault(copy.name, []).append(copy.release)
    return found


def with_published(
    layout: Layout, copies: Iterable[PublishedCopy], places: Mapping[str, str]
) -> tuple[PublishedCopy, ...]:
    """These copies, and all others that were ever published, by place and release.

    Args:
        layout: of the root.
        copies: that are noted already.
        places: digest -> address of the places that the settings name.
    """
    there = layout.publications.glob(f"*/{release_name(0)[:-1]}[0-9]*")
    found = {(path.parent.name, path.name): "" for path in there if path.is_dir()}
    found |= {(copy.place, copy.release): copy.address for copy in copies}
    return tuple(
        PublishedCopy(place=place, release=release, address=places.get(place, address))
        for (place, release), address in sorted(found.items())
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
        copies = content.get("copies")
        rows = [(row, _OF_POST) for row in (posts.values() if isinstance(posts, dict) else ())]
        rows += [(row, _OF_COPY) for row in (copies if isinstance(copies, list) else ())]
        unknown = (content.keys() - _KEYS) | {
            key for row, known in rows if isinstance(row, dict) for key in row.keys() - known
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
    _rewrite(layout, lambda: takedowns)


def note_cleared(layout: Layout, copy: PublishedCopy, *, ids: frozenset[int]) -> None:
    """Note that a copy has none of these posts, unless others were taken down meanwhile: then it stays noted."""

    def without() -> Takedowns | None:
        now = read_takedowns(layout)
        left = tuple(each for each in now.copies if (each.place, each.release) != (copy.place, copy.release))
        is_true = not now.unfinished and now.ids <= ids
        return replace(now, copies=left) if is_true and left != now.copies else None

    _rewrite(layout, without)


def forget_place(layout: Layout, name: str) -> list[PublishedCopy]:
    """Forget the copies at a place that the operator says is gone, or was cleared. Returns them.

    What it was known to have is forgotten first: who publishes there again begins by asking the place.

    Raises:
        SettingsError: no copy at a place of that name is to be cleared.
        StoreError: a takedown runs, or something is published there.
    """
    with exclusive(layout.takedowns_lock, busy="a takedown is running; wait for it to end, then run again"):
        gone = [copy for copy in read_takedowns(layout).copies if name and name in {copy.address, copy.place}]
        if not gone:
            raise SettingsError(
                f"no published copy at {name} is to be cleared; danbooru-pipeline status names the places where one is"
            )
        for copy in gone:
            folder = layout.publication(copy.place, copy.release)
            with exclusive(folder / ".lock", busy=f"{copy.release} is being published there; wait for that to end"):
                remove_folder(folder)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()

        def without() -> Takedowns:
            now = read_takedowns(layout)
            return replace(now, copies=tuple(copy for copy in now.copies if copy not in gone))

        _rewrite(layout, without)
    return gone


def _rewrite(layout: Layout, change: Callable[[], Takedowns | None]) -> None:
    with exclusive(layout.publication_lock):
        takedowns = change()
        if takedowns is not None:
            content: dict[str, object] = {"posts": takedowns.posts, "unfinished": takedowns.unfinished}
            if takedowns.copies:  # earlier versions, which know of none, refuse a list that has some
                content["copies"] = takedowns.copies
            remove_parts_of(layout.takedowns)
            write_atomic(layout.takedowns, msgspec.json.format(msgspec.json.encode(content)))
