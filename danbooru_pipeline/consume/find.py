"""Searches in a release that somebody has: by its index, or by a scan of its tables where it is older than the index.

The scan gives the same answers, in seconds instead of milliseconds.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.corrected import changes_of, require_corrected
from danbooru_pipeline.consume.tables import FILES, shards
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.bounded_parquet import Extent, extents, read_untrusted, schema_of
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.io.untrusted import is_plain, opened
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.tables.search_index import reader, tables_of
from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search import BadSearch, Search, parse
from danbooru_pipeline.search.catalog import Catalog, IndexCatalog, ScannedCatalog
from danbooru_pipeline.search.corrected import CorrectedCatalog
from danbooru_pipeline.search.evaluate import Evaluation, Found, keys_of, patterns_of
from danbooru_pipeline.search.index import NAMES_SCHEMA, kind_of
from danbooru_pipeline.search.names import Relations

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def find(release: Path, search: Search | str, *, implications: bool = False, corrected: bool = False) -> Found:
    """The posts that a search finds.

    Args:
        release: folder of the release.
        search: as it is typed, or parsed.
        implications: whether a tag finds posts with tags that imply it, too; the site has added them to most.
        corrected: whether posts have the tags that people gave them.

    Raises:
        BadSearch: the text is no search, or no post has a tag that posts must have.
        ReleaseError: a table or the index is damaged, or the release has no corrected posts.
    """
    wanted = parse(search) if isinstance(search, str) else search
    about = read_release(release)
    if corrected:
        require_corrected(release)
    read = reader(release, corrected=corrected)
    relations = Relations(read, with_implications=implications)
    with unreadable_named(release), _catalog(release, wanted, relations, corrected=corrected) as catalog:
        evaluation = Evaluation(catalog, read, relations, label=about.name, cutoff=_cutoff(about), notes=[], steps=[])
        return evaluation.find(wanted)


def has_index(release: Path) -> bool:
    """Whether a release, or this copy of it, has an index."""
    return is_plain(release, INDEX_BITMAPS) and is_plain(release, INDEX_NAMES)


@contextmanager
def _catalog(release: Path, search: Search, relations: Relations, *, corrected: bool) -> Iterator[Catalog]:
    if not has_index(release):
        for table in ("posts", FILES):
            shards(release, table, corrected=corrected)
        read = reader(release, corrected=corrected)
        keys = keys_of(search, relations, read)
        yield ScannedCatalog(read, tables_of(release), keys=keys, patterns=patterns_of(search))
        return
    with opened(release, INDEX_BITMAPS) as bitmaps:
        kind = kind_of(schema_of(release, INDEX_NAMES))
        catalog = IndexCatalog(_NamesOnDisk(release), bitmaps, kind)
        yield CorrectedCatalog(catalog, *changes_of(release, kind)) if corrected else catalog


class _NamesOnDisk:
    """The table of names of an index, of which only the row groups that are asked for are read."""

    def __init__(self, release: Path) -> None:
        self._release = release
        self._extents = extents(release, INDEX_NAMES, ("field", "value"))
        self._held: dict[int, pa.Table] = {}

    def __call__(self, field: str, low: str, high: str) -> pa.Table:
        wanted = [n for n, (fields, values) in enumerate(self._extents) if _may_have(fields, values, field, low, high)]
        missing = [number for number in wanted if number not in self._held]
        for number in missing:
            rows = read_untrusted(self._release, INDEX_NAMES, groups=[number])
            # A release without posts has one group, and no row in it.
            self._held[number] = pa.concat_tables(
                [no_rows(NAMES_SCHEMA), *(table.cast(NAMES_SCHEMA) for table in rows)]
            )
        found = pa.concat_tables([no_rows(NAMES_SCHEMA), *(self._held[number] for number in wanted)])
        return found.filter(pc.equal(found["field"], field)).combine_chunks()


def _may_have(fields: Extent, values: Extent, field: str, low: str, high: str) -> bool:
    """Whether a row group may have a name of a field between two values."""
    if fields is not None and not fields[0] <= field <= fields[1]:
        return False
    # Of a group with several fields the values say nothing of one of them.
    is_mixed = fields is None or fields[0] != fields[1]
    return is_mixed or values is None or (values[0] <= high and low <= values[1])


def _cutoff(about: Release) -> int:
    """The cutoff in microseconds since 1970."""
    return (datetime.fromisoformat(about.cutoff).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def unreadable_named(release: Path) -> Iterator[None]:
    """Whatever a reader of tables raises in a block is one error about the release."""
    try:
        yield
    except (BadSearch, ReleaseError):
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        said = str(error).partition("\n")[0]
        raise ReleaseError(
            f"the tables or the index of {os.fspath(release)} cannot be read ({said}); verify the release"
        ) from error
