"""The names that documents of a release can have: a closed set, which follows from what RELEASE.json says of it.

Whoever publishes a file through a release makes it look like ours, so a listed file that no part of this program writes
is a finding. A part that writes a new file names it here, since a tree is verified before it becomes a release.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from danbooru_pipeline.release.change_rows import KINDS
from danbooru_pipeline.release.checksums import ARCHIVE, FILELIST, NSFW_IDS, PX512, TREES
from danbooru_pipeline.release.provenance import PROVENANCE
from danbooru_pipeline.release.release_json import CONTENT, Release
from danbooru_pipeline.release.tables.image_rows import METADATA as IMAGE_ROWS
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release_paths import (
    ALLOWED_SIGNERS,
    BROWSE,
    BROWSE_RELEASE,
    CARRIED_METADATA,
    CORRECTED,
    CORRECTIONS,
    CROISSANT,
    DATACITE,
    DUPLICATES,
    INDEX_BITMAPS,
    INDEX_NAMES,
    METADATA,
    PAGE,
    POST_VECTORS,
    RELEASE_JSON,
    REMOVALS,
    REMOVED,
    SHA256SUMS,
    SHARD,
    SIGNATURE,
    TAG_VECTORS,
    TEXTS,
    WEBDATASET,
    WEBDATASET_INDEX,
    changes_path,
    metadata_folder,
    metadata_path,
    old_metadata_folder,
)

#: What every release since 0.3 has.
DOCUMENTS: Final = (
    *TEXTS,
    *(CROISSANT, DATACITE, PAGE, CONTENT, PROVENANCE, REMOVED, REMOVALS, NSFW_IDS, FILELIST, ARCHIVE, IMAGE_ROWS),
)
#: What some releases have beside them.
_TORRENT: Final = f"{ARCHIVE}.torrent"
#: The files of the page: those of `release/browse/`, which are not at hand where `verify` runs from one file. What a
#: later version drops stays here, since releases of this one have it.
_PAGE_FILES: Final = (
    *("index.html", "style.css", "vendor/vendored.json", "vendor/fzstd/LICENSE", "vendor/fzstd/index.js"),
    *(
        f"{name}.js"
        for name in (
            *("alike", "close", "details", "elements", "files", "language", "main", "names", "numbers", "post"),
            *("ranges", "roaring", "search", "suggestions", "tables"),
        )
    ),
    "vendor/hyparquet/LICENSE",
    *(
        f"vendor/hyparquet/{name}.js"
        for name in (
            *("alp", "assemble", "bloom", "column", "constants", "convert", "datapage", "delta", "encoding", "filter"),
            *("geoparquet", "indexes", "metadata", "plain", "plan", "read", "rowgroup", "scan", "schema", "snappy"),
            *("thrift", "utils", "variant", "wkb", "xxhash"),
        )
    ),
)
#: The names without a number that every release may have, and those of some, or of what no list of checksums has.
_IN_ALL: Final = (
    *(*DOCUMENTS, INDEX_BITMAPS, INDEX_NAMES, BROWSE_RELEASE),
    *(f"{BROWSE}/{name}" for name in _PAGE_FILES),
)
_IN_ANY: Final = frozenset(
    (*_IN_ALL, *(ALLOWED_SIGNERS, _TORRENT, CORRECTIONS), *(RELEASE_JSON, SHA256SUMS, SIGNATURE))
)
_TREES: Final = "|".join(re.escape(tree.name) for tree in TREES)
_BUCKET: Final = r"0[0-9]{3}"
_EARLIER: Final = re.compile(r"earlier/([0-9]{4})")
_YEAR: Final = "[0-9]{4}"
#: Folders of tables, of any release; until 0.2 carried manifests lay below that of the release.
_FOLDERS: Final = re.compile(rf"parquet|{CORRECTED}|manifest(?:/{_YEAR})?|{_EARLIER.pattern}")


class ReleaseNames:
    """The names that documents of one release can have."""

    def __init__(self, release: Release) -> None:
        self._year = release.year
        self._named = frozenset(_named(release))
        own = {"posts", TAG_COUNTS, DUPLICATES, TAG_VECTORS, POST_VECTORS}
        self._tables = {"manifest": {"files"}, "parquet": own | release.inputs.side_tables.keys()}
        if release.inputs.corrections is not None and release.options.get("corrected"):
            self._tables[CORRECTED] = {"posts"}
        self._pattern = re.compile("|".join(_patterns(release)))

    def has(self, name: str) -> bool:
        """Whether a path is one of them."""
        if name in self._named:
            return True
        folder, _, base = name.rpartition("/")
        if shard := SHARD.fullmatch(base):
            earlier = _EARLIER.fullmatch(folder)
            if earlier is not None:
                return shard[1] == "files" and self._is_earlier(earlier[1])
            return shard[1] in self._tables.get(folder, ())
        found = self._pattern.fullmatch(name)
        return found is not None and all(self._is_earlier(year) for year in found.groups() if year is not None)

    def _is_earlier(self, year: str) -> bool:
        return int(year) < self._year


def _named(release: Release) -> Iterator[str]:
    """The names that have no number in them."""
    yield from _IN_ALL
    yield from (metadata_path(release.year, table, 0) for table in release.inputs.side_tables)
    if release.signer:
        yield ALLOWED_SIGNERS
    if release.options.get("torrent"):
        yield _TORRENT
    if release.inputs.corrections is not None:
        yield CORRECTIONS
    if release.replaces is not None:
        yield from (changes_path(f"{release.version}-from-{release.replaces.version}", kind) for kind in KINDS)


def _patterns(release: Release) -> Iterator[str]:
    """The names that have one; a group is a year that must be an earlier one."""
    year = release.year
    yield rf"{metadata_folder(year)}/posts[0-9]{{12}}\.json"
    if release.options.get("dialect_2017"):
        yield rf"{old_metadata_folder(year)}/{year}[0-9]{{12}}\.json"
    if release.previous is not None:
        yield from _lists(rf"{year}-from-({_YEAR})")
    if release.options.get("webdataset"):
        yield from _WEBDATASET
    yield from _IN_EACH  # last, since the first that matches counts, and the year's own metadata has no earlier year


def _lists(label: str) -> Iterator[str]:
    return (changes_path(label, re.escape(kind)) for kind in KINDS)


_IN_EACH: Final = (
    rf"checksums/(?:{_TREES})/{_BUCKET}\.sha256",
    rf"{METADATA}/({_YEAR})(?:-old)?/{CARRIED_METADATA}",
    # Also where no earlier release is published any more: what was carried once stays.
    rf"{_EARLIER.pattern}/{SHA256SUMS}",
)
_WEBDATASET: Final = (
    rf"{WEBDATASET}/{PX512.name}-{_BUCKET}\.tar",
    rf"{WEBDATASET_INDEX}/{PX512.name}-{_BUCKET}\.json",
)
_VERSION: Final = rf"{_YEAR}(?:\.[0-9]{{1,6}})?"
_OF_ANY: Final = re.compile(
    "|".join((*_IN_EACH, rf"manifest/{_YEAR}/{SHA256SUMS}", *_WEBDATASET, *_lists(rf"{_VERSION}-from-{_VERSION}")))
)


def is_of_some_release(name: str) -> bool:
    """Whether releases of this project have documents of that name, whatever their year, version and options."""
    folder, _, base = name.rpartition("/")
    if SHARD.fullmatch(base) and _FOLDERS.fullmatch(folder):
        return True
    return name in _IN_ANY or _OF_ANY.fullmatch(name) is not None


def twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of files or folders that are one where case, or how an accent is written, makes no difference.

    Args:
        names: of files; of two twins the later one comes first in its pair, and each comes once.
    """
    first: dict[str, str] = {}
    told: set[str] = set()
    beside = (RELEASE_JSON, SHA256SUMS, SIGNATURE, *(tree.name for tree in TREES))
    for name in (*beside, *names):
        path = PurePosixPath(name)
        for each in (*(parent.as_posix() for parent in reversed(path.parents)), path.as_posix()):
            other = first.setdefault(_folded(each), each)
            if other != each:
                if each not in told:
                    told.add(each)
                    yield each, other
                break


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
