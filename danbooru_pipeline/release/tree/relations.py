"""What side tables add to posts: ids of their tags, their pools, and the users who have them as favourites.

Today's posts have only names of tags; readers of the dialect until 2020, and everybody who joins tables, need ids.
Posts are read by id, and their relations come from disk in the same order, so memory does not grow with the tables.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_id_range
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.posts import (
    POST_SCHEMA,
    TagIds,
    conform,
    encode_2017,
    pool_categories,
    pools_with_categories,
    tag_lists,
)
from danbooru_pipeline.posts.json_text import lists_of
from danbooru_pipeline.release.tables.json_columns import integers
from danbooru_pipeline.release.tables.side_tables import text

_RANGE_IDS: Final = 50_000
#: Pairs have 16 bytes. Each run is an open file, and the site has 400 million favourites.
_RUN_PAIRS: Final = 2_000_000
_CHUNK: Final = 16 * 2**20
_Record = TypeVar("_Record")
_PAIRS: Final = pa.schema([("id", pa.int64()), ("value", pa.int64())])


class _Tag(msgspec.Struct):
    id: Any
    name: Any


class _Pool(msgspec.Struct):
    id: Any
    post_ids: list[Any] = []


class _Favorite(msgspec.Struct):
    user_id: Any
    post_id: Any


class RelationFiller:
    """Fills `tags`, `pools` and `favs` of posts where the source left them null. Posts must come by ascending id.

    Args:
        tables: side table -> its JSON lines; a missing table leaves its column null.
        folder: where data that does not fit into memory is spilled.
    """

    def __init__(self, tables: Mapping[str, Path], folder: Path) -> None:
        self._tables, self._folder = tables, folder
        self._held = ExitStack()
        self._pool_categories: dict[int, str] = {}
        self._ids = TagIds()
        self._pools: _Lists | None = None
        self._favs: _Lists | None = None

    def __enter__(self) -> Self:
        if "tags" in self._tables:
            self._ids = self._tag_ids()
        if "pools" in self._tables:
            self._pools = self._lists(self._pool_pairs())
            with self._tables["pools"].open("rb") as lines:
                self._pool_categories = pool_categories(lines)
        if "favorites" in self._tables:
            self._favs = self._lists(
                _numbered(
                    zip(integers([fav.post_id for fav in block]), integers([fav.user_id for fav in block]), strict=True)
                )
                for block in _records(self._tables["favorites"], _Favorite)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _tag_ids(self) -> TagIds:
        pairs: list[tuple[str, int]] = []
        for block in _records(self._tables["tags"], _Tag):
            numbers = integers([tag.id for tag in block])
            pairs += [
                (text(tag.name), number)
                for tag, number in zip(block, numbers, strict=True)
                if tag.name is not None and number is not None
            ]
        names, ids = [name for name, _ in pairs], [id_ for _, id_ in pairs]
        return TagIds(pa.array(names, pa.string()), pa.array(ids, pa.int64()))

    def _pool_pairs(self) -> Iterator[tuple[list[int], list[int]]]:
        for block in _records(self._tables["pools"], _Pool):
            numbers = integers([pool.id for pool in block])
            pairs = [
                (post_id, number)
                for pool, number in zip(block, numbers, strict=True)
                for post_id in dict.fromkeys(integers(pool.post_ids))
            ]
            yield _numbered(pairs)

    def _lists(self, pairs: Iterator[tuple[list[int], list[int]]]) -> "_Lists":
        sorter = self._held.enter_context(
            ExternalGroupBy(_PAIRS, key=by_id_range(_RANGE_IDS), folder=self._folder, run_rows=_RUN_PAIRS)
        )
        for ids, values in pairs:
            if ids:
                sorter.add(pa.table([pa.array(ids, pa.int64()), pa.array(values, pa.int64())], schema=_PAIRS))
        return _Lists(sorter)

    def fill(self, posts: pa.Table) -> pa.Table:
        """Posts with their lists filled in."""
        table = conform(posts)
        columns = {"tags": tag_lists(table, self._ids)} if table["tags"].null_count else {}
        ids = one_chunk(table["id"]).to_numpy()
        for name, lists in (("pools", self._pools), ("favs", self._favs)):
            if lists is not None:
                columns[name] = lists.of(ids)
        for name, made in columns.items():
            known = one_chunk(table[name])
            whole = made if known.null_count == len(known) else pc.if_else(known.is_valid(), known, made)
            table = table.set_column(POST_SCHEMA.get_field_index(name), POST_SCHEMA.field(name), whole)
        return table

    def encode_2017(self, posts: pa.Table) -> bytes:
        """Filled posts in the dialect of 2017: pools are their ids followed by their categories."""
        return encode_2017(posts, pools=pools_with_categories(posts, self._pool_categories))


class _Lists:
    """A list of values per id, read from disk in the order of ids."""

    def __init__(self, sorter: ExternalGroupBy) -> None:
        self._groups = sorter.groups()
        self._ids = np.empty(0, np.int64)
        self._values = np.empty(0, np.int64)
        self._last_range = -1  # the last range of ids that was read

    def of(self, ids: npt.NDArray[np.int64]) -> pa.Array:
        """The lists of ascending ids, all above those of earlier calls."""
        if not len(ids):
            return pa.array([], pa.list_(pa.int64()))
        self._read_up_to(int(ids[-1]) // _RANGE_IDS)
        starts, ends = (np.searchsorted(self._ids, ids, side) for side in ("left", "right"))
        lengths = ends - starts
        before = np.cumsum(lengths) - lengths
        positions = np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
        values = self._values[positions]
        rest = ends[-1]
        self._ids, self._values = self._ids[rest:], self._values[rest:]
        return lists_of(pa.array(lengths), pa.array(values))

    def _read_up_to(self, last: int) -> None:
        while self._last_range < last:
            number, group = next(self._groups, (last, None))
            self._last_range = max(self._last_range, number)
            if group is not None:
                order = np.lexsort((group["value"].to_numpy(), group["id"].to_numpy()))
                self._ids = np.concatenate([self._ids, group["id"].to_numpy()[order]])
                self._values = np.concatenate([self._values, group["value"].to_numpy()[order]])


def _numbered(pairs: Iterable[tuple[int | None, int | None]]) -> tuple[list[int], list[int]]:
    """The pairs of which both are numbers, side by side: by anything else no post can be joined."""
    held = [(left, right) for left, right in pairs if left is not None and right is not None]
    return [left for left, _ in held], [right for _, right in held]


def _records(path: Path, kind: type[_Record]) -> Iterator[list[_Record]]:
    """The records of a side table that have the fields of `kind`, some megabytes of lines at a time."""
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        while block := file.readlines(_CHUNK):
            yield [record for line in block if (record := _decoded(decoder, line, path)) is not None]


def _decoded(decoder: msgspec.json.Decoder[_Record], line: bytes, path: Path) -> _Record | None:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        return None  # for instance a tag without a name: nothing can be joined by it
    except (ValueError, RecursionError) as error:
        raise ReleaseRefused(
            f"{path} has a line that is not a JSON object ({error}); build `side_tables` again"
        ) from error
