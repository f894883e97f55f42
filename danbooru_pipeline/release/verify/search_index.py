"""Verification of the index for searches: each bitmap is where the table of names says, and has as many posts.

With ``full`` the index is made again from the release's own tables and compared, which takes some ten seconds of a
core for a million posts. A tree that was just made from them is not asked again.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import pyarrow as pa

from danbooru_pipeline.io.bounded_parquet import schema_of
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.io.untrusted import opened, plain_names, size_of
from danbooru_pipeline.release.tables.search_index import categories_of, reader, tables_of
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import INDEX, INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search.index import NAMES_SCHEMA, bitmaps, kind_of, read_bitmap
from danbooru_pipeline.search.postings import kind_of_posts

if TYPE_CHECKING:
    from pyroaring import BitMap

    from danbooru_pipeline.search.bitmaps import Kind as Bitmaps

_TWICE = 2
_SOME: Final = 10_000
_END: Final = (("", ""), None)
_WRONG: Final = "is not what the posts and the manifest say"


def check_search_index(run: Verification, *, agree: bool) -> None:
    """Check the index; releases before it have none.

    Args:
        run: of the tree.
        agree: posts and manifest agree and can be read, so an index can be made from them.
    """
    held = [name for name in (INDEX_BITMAPS, INDEX_NAMES) if name.rpartition("/")[2] in plain_names(run.folder, INDEX)]
    if not held:
        return
    if len(held) < _TWICE:
        run.add(Kind.INDEX_DIFFERS, INDEX, f"has {held[0]} alone")
        return
    if any(name in run.altered for name in held):
        return  # another check says so
    with run.reading(Kind.INDEX_DIFFERS, INDEX):
        names, kind = _names(run), kind_of(schema_of(run.folder, INDEX_NAMES))
        if not _check_places(run, names):
            return
        if run.full and run.published and agree:
            _compare(run, names, kind)
        else:
            _check_bitmaps(run, names, kind)


def _names(run: Verification) -> pa.Table:
    rows = (table.cast(NAMES_SCHEMA) for table in batches(run, INDEX_NAMES))
    return pa.concat_tables([no_rows(NAMES_SCHEMA), *rows])


def _rows(names: pa.Table) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """Key and row of each name, in their order; a million of them as objects are half a gigabyte."""
    for part in names.to_batches(max_chunksize=_SOME):
        for row in part.to_pylist():
            yield (row["field"], row["value"]), row


def _check_places(run: Verification, names: pa.Table) -> bool:
    """Check that the bitmaps lie one after the other, in the order of their names, and fill the file."""
    end, last = 0, ("", "")
    for key, row in _rows(names):
        if key <= last:
            run.add(Kind.INDEX_DIFFERS, INDEX_NAMES, "is not sorted by field and value, or has one twice")
            return False
        if row["offset"] != end or row["bytes"] <= 0:
            run.add(Kind.INDEX_DIFFERS, ":".join(key), f"does not begin at byte {end} of {INDEX_BITMAPS}")
            return False
        end, last = end + row["bytes"], key
    if end != size_of(run.folder, INDEX_BITMAPS):
        run.add(Kind.INDEX_DIFFERS, INDEX_BITMAPS, f"should have {end} bytes by {INDEX_NAMES}")
        return False
    return True


def _check_bitmaps(run: Verification, names: pa.Table, kind: "Bitmaps") -> None:
    """Check that each bitmap can be read and has as many posts as its row says."""
    with opened(run.folder, INDEX_BITMAPS) as file:
        for key, row in _rows(names):
            with run.reading(Kind.INDEX_DIFFERS, ":".join(key)):
                counted = len(read_bitmap(file, offset=row["offset"], size=row["bytes"], kind=kind))
                if counted != row["posts"]:
                    message = f"has {counted} posts, and {INDEX_NAMES} says {row['posts']}"
                    run.add(Kind.INDEX_DIFFERS, ":".join(key), message)


def _compare(run: Verification, names: pa.Table, kind: "Bitmaps") -> None:
    """Name what differs from the bitmaps that are made from the release's tables, one at a time and not on disk."""
    read = reader(run.folder)
    if kind is not kind_of_posts(read):
        run.add(Kind.INDEX_DIFFERS, INDEX_NAMES, _WRONG)
        return
    categories = categories_of(read)
    listed = _rows(names)  # in the order of `bitmaps`
    at, row = next(listed, _END)
    with opened(run.folder, INDEX_BITMAPS) as file:
        for key, bitmap in bitmaps(read, tables_of(run.folder), kind=kind):
            while row is not None and at < key:
                run.add(Kind.INDEX_DIFFERS, ":".join(at), _WRONG)
                at, row = next(listed, _END)
            same = False
            if row is not None and at == key:
                category = categories.get(key[1]) if key[0] == "tag" else None
                same = (row["posts"], row["category"]) == (len(bitmap), category)
                same = same and _is_bitmap(file, bitmap, offset=row["offset"], size=row["bytes"])
                at, row = next(listed, _END)
            if not same:
                run.add(Kind.INDEX_DIFFERS, ":".join(key), _WRONG)
    while row is not None:
        run.add(Kind.INDEX_DIFFERS, ":".join(at), _WRONG)
        at, row = next(listed, _END)


def _is_bitmap(file: BinaryIO, bitmap: "BitMap", *, offset: int, size: int) -> bool:
    """Whether a file has a bitmap at a place, as these bytes or as others that say the same."""
    file.seek(offset)
    if file.read(size) == bitmap.serialize():
        return True
    try:
        return read_bitmap(file, offset=offset, size=size, kind=type(bitmap)) == bitmap
    except ValueError:
        return False
