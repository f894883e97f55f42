"""The versions that came before: of earlier years, and of a year itself, whose next one is one above all of them.

A version names one set of bytes for ever, and mirrors, later releases and lists of changes go by it. The folder that
stands there may come from a backup, so it alone does not say which versions were there. ``ROOT/published.json`` does: a
version is added before it becomes visible, and never taken out. Roots of earlier versions have no such file; what
their releases say of each other counts there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from danbooru_pipeline.errors import DamagedFile, DanbooruPipelineError, NewerFile, ReleaseError, ReleaseRefused
from danbooru_pipeline.io.atomic import remove_parts_of, write_atomic
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.layout import Layout, is_version
from danbooru_pipeline.release.documents.removals import known_removals
from danbooru_pipeline.release.release_json import (
    Event,
    Release,
    ReleaseRef,
    patch_of,
    published,
    read_release,
    version_after,
)
from danbooru_pipeline.release.tree.swap import standing_release
from danbooru_pipeline.release_paths import release_name

_OF_RELEASE: Final = set(ReleaseRef.__dataclass_fields__)


def history_of(earlier: Path | None, standing: Release | None) -> tuple[Event, ...]:
    """All earlier releases, as the release of an earlier year and the version that is replaced know them."""
    known = [release for release in (read_release(earlier) if earlier else None, standing) if release is not None]
    events = {(event.name, event.version): event for release in known for event in (*release.history, release.event)}
    return tuple(events[key] for key in sorted(events, key=lambda key: (key[0], patch_of(key[1]))))


def next_version(layout: Layout, year: int, *, left: ReleaseRef | None = None) -> str:
    """The version that the next release of a year gets: ``2021.0`` first, then one above all that are known.

    Args:
        layout: of the root.
        year: of the release.
        left: a finished tree that a killed process left and that is published now. Its line in the record does not
            count, since it was written for these very bytes.

    Raises:
        StoreError: the record is damaged.
        ReleaseError: the release of the year cannot be read; or another one, while the record knows none of this year.
    """
    listed = [ref for ref in read_published(layout) if ref.name == release_name(year)]
    said = _said_by_releases(layout, year, is_listed=bool(listed))
    found = {ref.version for ref in listed if ref != left}.union(said)
    known = [version for version in found if is_version(version) and int(version[:4]) == year]
    return version_after(max(known, key=patch_of)) if known else f"{year}.0"


def _said_by_releases(layout: Layout, year: int, *, is_listed: bool) -> Iterator[str]:
    """Versions that the releases which are there have or name; they may come from a backup of any time."""
    standing = standing_release(layout, year)
    yield from {standing.version} if standing is not None else ()
    # A replaced version that cannot be read stays for a while all the same, under its own name.
    yield from (folder.name.removeprefix(release_name(0)[:-1]) for folder in layout.superseded_releases)
    for folder in published(layout).values():
        try:
            yield from _said_by(folder)
        except (DanbooruPipelineError, OSError, ValueError) as error:
            if not is_listed:
                raise ReleaseError(
                    f"{folder} cannot be read ({error}), so nobody knows which versions of {release_name(year)} were "
                    "published; take it from another copy, or move it away, and run again"
                ) from error


def _said_by(folder: Path) -> set[str]:
    """All versions, of any year, that a release names: in RELEASE.json, and as those from which a post is gone."""
    release = read_release(folder)
    refs = (release.ref, release.previous, release.replaces)
    versions = {ref.version for ref in refs if ref is not None} | {event.version for event in release.history}
    return versions.union(known_removals([folder]).values())


def read_published(layout: Layout) -> tuple[ReleaseRef, ...]:
    """The record, oldest first; empty where there is none.

    Raises:
        DamagedFile: it cannot be read. Nothing is published then, since a version could be used twice.
        NewerFile: it is of a later version.
    """
    path = layout.published_versions
    try:
        content = msgspec.json.decode(path.read_bytes())
        _require_known(path, content)
        return tuple(msgspec.convert(content, dict[str, list[ReleaseRef]])["releases"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError) as error:
        raise DamagedFile(path, str(error)) from error


def _require_known(path: Path, content: Any) -> None:
    """Refuse what the next version would drop from the record."""
    require_known_json(path, content)
    rows = content.get("releases") if isinstance(content, dict) else None
    known = {key for row in rows if isinstance(row, dict) for key in row} if isinstance(rows, list) else set()
    if unknown := known - _OF_RELEASE:
        raise NewerFile(path, f"field {min(unknown)}")


def record_published(layout: Layout, ref: ReleaseRef) -> None:
    """Add a version that is about to become visible; the caller holds the publication lock.

    Raises:
        ReleaseRefused: the version was published before, with other content.
        DamagedFile: the record cannot be read.
    """
    known = read_published(layout)
    if ref in known:
        return
    if any((other.name, other.version) == (ref.name, ref.version) for other in known):
        raise ReleaseRefused(
            f"{ref.name} {ref.version} was published before with other content, so it is not published; run again, "
            "which gives it the next version"
        )
    path = layout.published_versions
    remove_parts_of(path)
    content = msgspec.json.encode({"releases": [*known, ref]})
    write_atomic(path, msgspec.json.format(content) + b"\n")
