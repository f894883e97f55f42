"""Searches in a release that somebody has: by its index, or by a scan of its tables where it is older than the index.

The scan gives the same answers, in seconds instead of milliseconds.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pyarrow as pa

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.bounded_parquet import read_untrusted
from danbooru_pipeline.io.untrusted import is_plain, opened
from danbooru_pipeline.layout import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.tables.search_index import reader, tables_of
from danbooru_pipeline.search import BadSearch, Search, parse
from danbooru_pipeline.search.catalog import Catalog, IndexCatalog, ScannedCatalog
from danbooru_pipeline.search.evaluate import Evaluation, Found, keys_of, patterns_of
from danbooru_pipeline.search.index import NAMES_SCHEMA
from danbooru_pipeline.search.names import Relations

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def find(release: Path, search: Search | str, *, implications: bool = False) -> Found:
    """The posts that a search finds.

    Args:
        release: folder of the release.
        search: as it is typed, or parsed.
        implications: whether a tag finds posts with tags that imply it, too; the site has added them to most.

    Raises:
        BadSearch: the text is no search, or no post has a tag that posts must have.
        ReleaseError: a table or the index is damaged.
    """
    wanted = parse(search) if isinstance(search, str) else search
    about = read_release(release)
    relations = Relations(reader(release), with_implications=implications)
    with _damage_named(release), _catalog(release, wanted, relations) as catalog:
        evaluation = Evaluation(
            catalog, reader(release), relations, label=about.name, cutoff=_cutoff(about), notes=[], steps=[]
        )
        return evaluation.find(wanted)


def has_index(release: Path) -> bool:
    """Whether a release, or this copy of it, has an index."""
    return is_plain(release, INDEX_BITMAPS) and is_plain(release, INDEX_NAMES)


@contextmanager
def _catalog(release: Path, search: Search, relations: Relations) -> Iterator[Catalog]:
    if not has_index(release):
        read = reader(release)
        keys = keys_of(search, relations, read)
        yield ScannedCatalog(read, tables_of(release), keys=keys, patterns=patterns_of(search))
        return
    with ExitStack() as stack:
        rows = read_untrusted(release, INDEX_NAMES, columns=["field", "value", "category", "posts", "offset", "bytes"])
        names = pa.concat_tables([NAMES_SCHEMA.empty_table(), *(table.cast(NAMES_SCHEMA) for table in rows)])
        yield IndexCatalog(names, stack.enter_context(opened(release, INDEX_BITMAPS)))


def _cutoff(about: Release) -> int:
    """The cutoff in microseconds since 1970."""
    return (datetime.fromisoformat(about.cutoff).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


@contextmanager
def _damage_named(release: Path) -> Iterator[None]:
    try:
        yield
    except (BadSearch, ReleaseError):
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        said = str(error).partition("\n")[0]
        raise ReleaseError(
            f"the tables or the index of {os.fspath(release)} cannot be read ({said}); verify the release"
        ) from error
