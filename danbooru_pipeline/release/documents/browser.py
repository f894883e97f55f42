"""``browse/``: the page with which a release is searched and looked at in a web browser, from any static host.

Its files are those of `release/browse/`, as they are; ``release.json`` beside them names the tables that they read.
Nothing of a post is in either, so a takedown has nothing to remove here.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.parquet import row_count
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.tables.search_index import shards_of
from danbooru_pipeline.release_paths import BROWSE, BROWSE_RELEASE, DUPLICATES, INDEX_NAMES, TAG_VECTORS

#: Beyond it, the numbers of a browser skip some ids, so there is no page.
LARGEST_ID: Final = 2**53 - 1
#: The page, as it is in every release. Below `vendor` is code of others, unchanged.
PAGE_FILES: Final = Path(__file__).parent.parent / BROWSE
_TABLES: Final = (
    *("posts", "files", "tag_counts", "tag_aliases"),
    *("pools", "notes", "artist_commentaries", DUPLICATES, TAG_VECTORS),
)


def write_browser(folder: Path, release: Release) -> None:
    """Write the page into a tree whose tables and index are written."""
    for name, data in browser_files(folder, release):
        write_atomic(folder / name, data)


def browser_files(folder: Path, release: Release) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each file of the page; none for a release whose ids a browser cannot count."""
    if release.last_id > LARGEST_ID:
        return
    for name in page_names():
        yield f"{BROWSE}/{name}", (PAGE_FILES / name).read_bytes()
    yield BROWSE_RELEASE, msgspec.json.format(msgspec.json.encode(_about(folder, release)), indent=1)


def page_names() -> list[str]:
    """Names of the files of the page, sorted."""
    return sorted(_walk(PAGE_FILES))


def _walk(folder: Path, above: str = "") -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{above}{entry.name}/")
            else:
                yield f"{above}{entry.name}"


def _about(folder: Path, release: Release) -> dict[str, Any]:
    shards = shards_of(folder)
    tables = {name: _sizes(folder, shards[name]) for name in _TABLES if name in shards}
    return {
        "name": release.name,
        "year": release.year,
        "version": release.version,
        "cutoff": release.cutoff,
        # The ratings that are shown at first: general ones, which were "safe" until 2022.
        "start": release.sfw_ratings[0],
        "tables": {**tables, "names": _sizes(folder, [INDEX_NAMES])},
    }


def _sizes(folder: Path, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Path, rows and bytes of each file of a table: what a page cannot list, and needs before it reads a part."""
    return [(name, row_count(folder / name), (folder / name).stat().st_size) for name in names]
