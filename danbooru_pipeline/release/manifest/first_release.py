"""The first release that held each post, by the manifests of earlier releases that a release carries.

The ledger says which release first asked for a post. That may be another one: a new store knows nothing of posts that
had no file, a post may have been gone when its release was made, and an import may know of an older release. Readers
have the manifests alone, so they decide.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.parquet import SortedRows, no_rows, read_batches
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.release_json import newest_before, read_release
from danbooru_pipeline.release.tables.image_rows import carried_manifests, release_shards

COLUMNS = ("id", "first_release")
_ROWS = pa.schema([("id", pa.int64()), ("first_release", pa.int16())])


def manifests_before(layout: Layout, year: int) -> dict[int, list[Path]]:
    """Year -> files of the manifests that the release of a year will carry, oldest first."""
    earlier = newest_before(layout, year)
    if earlier is None:
        return {}
    return carried_manifests(earlier) | {read_release(earlier).year: release_shards(earlier, "manifest/files")}


def stored_rows(files: Iterable[Path]) -> Iterator[pa.Table]:
    """What a manifest says.

    Raises:
        DamagedFile: a file of it cannot be read.
    """
    for path in files:
        with damage_named(path):
            yield from read_batches(path, columns=COLUMNS)


class FirstReleases:
    """What earlier manifests say of the posts of tables that come by ascending id.

    Args:
        manifests: year -> the rows of its manifest, by ascending id.
    """

    def __init__(self, manifests: Mapping[int, Iterable[pa.Table]]) -> None:
        self._years = sorted(manifests, reverse=True)
        self._rows = [SortedRows(manifests[year]) for year in self._years]

    def known(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """What the oldest manifest that has a post says of it; null for posts that none has."""
        first = pa.chunked_array([pa.nulls(len(ids), pa.int16())])
        for rows in self._rows:  # the newest first, so that the oldest decides
            here = _joined(rows.take_up_to(pc.max(ids).as_py() or 0))
            place = pc.index_in(ids, value_set=here["id"])
            first = pc.coalesce(here["first_release"].take(place), first)
        return first

    def is_carried(self, years: pa.ChunkedArray) -> pa.ChunkedArray:
        """Which of some years have their manifest here."""
        return pc.is_in(years, pa.array(self._years, pa.int16()))


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    rows = [table.select(_ROWS.names).cast(_ROWS) for table in tables]
    return pa.concat_tables([no_rows(_ROWS), *rows]).combine_chunks()


def with_first_releases(
    tables: Iterable[pa.Table], manifests: Mapping[int, Sequence[Path]], *, year: int
) -> Iterator[pa.Table]:
    """Rows of a year's manifest, by ascending id, with the first releases that follow from earlier manifests."""
    releases = FirstReleases({other: stored_rows(files) for other, files in manifests.items()})
    for table in tables:
        said = table["first_release"]
        # Of a year whose manifest is here, and which has no such post, the ledger is wrong.
        own = pc.if_else(releases.is_carried(said), pa.scalar(year, pa.int16()), said)
        first = pc.coalesce(releases.known(table["id"]), own)
        place = table.schema.get_field_index("first_release")
        yield table.set_column(place, table.schema.field(place), first)
