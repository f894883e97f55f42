"""Verification of the index for searches: each bitmap is where the table of names says, and has as many posts.

With ``full`` the index is made again from the release's own tables and compared, which takes some ten seconds of a
core for a million posts. A tree that was just made from them is not asked again.
"""

import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.io.bounded_parquet import read_untrusted
from danbooru_pipeline.io.untrusted import opened, plain_names, size_of
from danbooru_pipeline.layout import INDEX, INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.release.tables.search_index import write_search_index
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.search.index import NAMES_SCHEMA, read_bitmap

_KEY = ("field", "value")
_TWICE = 2


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
        names = _names(run)
        sound = _check_places(run, names) and _check_bitmaps(run, names)
        if sound and run.full and run.published and agree:
            _compare(run, names)


def _names(run: Verification) -> pa.Table:
    rows = (table.cast(NAMES_SCHEMA) for table in batches(run, INDEX_NAMES))
    return pa.concat_tables([NAMES_SCHEMA.empty_table(), *rows])


def _check_places(run: Verification, names: pa.Table) -> bool:
    """Check that the bitmaps lie one after the other, in the order of their names, and fill the file."""
    keys = list(zip(*(names[column].to_pylist() for column in _KEY), strict=True))
    if any(first >= second for first, second in pairwise(keys)):
        run.add(Kind.INDEX_DIFFERS, INDEX_NAMES, "is not sorted by field and value, or has one twice")
        return False
    end = 0
    for key, offset, size in zip(keys, names["offset"].to_pylist(), names["bytes"].to_pylist(), strict=True):
        if offset != end or size <= 0:
            run.add(Kind.INDEX_DIFFERS, ":".join(key), f"does not begin at byte {end} of {INDEX_BITMAPS}")
            return False
        end += size
    if end != size_of(run.folder, INDEX_BITMAPS):
        run.add(Kind.INDEX_DIFFERS, INDEX_BITMAPS, f"should have {end} bytes by {INDEX_NAMES}")
        return False
    return True


def _check_bitmaps(run: Verification, names: pa.Table) -> bool:
    """Check that each bitmap can be read and has as many posts as its row says."""
    sound = True
    with opened(run.folder, INDEX_BITMAPS) as file:
        for row in names.to_pylist():
            with run.reading(Kind.INDEX_DIFFERS, f"{row['field']}:{row['value']}"):
                counted = len(read_bitmap(file, offset=row["offset"], size=row["bytes"]))
                if counted == row["posts"]:
                    continue
                message = f"has {counted} posts, and {INDEX_NAMES} says {row['posts']}"
                run.add(Kind.INDEX_DIFFERS, f"{row['field']}:{row['value']}", message)
            sound = False
    return sound


def _compare(run: Verification, names: pa.Table) -> None:
    """Name what differs from an index that is made from the release's tables."""
    with tempfile.TemporaryDirectory(prefix=".index-") as folder:
        write_search_index(run.folder, target=Path(folder))
        with opened(run.folder, INDEX_BITMAPS) as ours, opened(Path(folder), INDEX_BITMAPS) as theirs:
            found, expected = _by_name(names), _by_name(_written(Path(folder)))
            for key in sorted(found.keys() | expected.keys()):
                one, other = found.get(key), expected.get(key)
                if one is None or other is None or one[2:] != other[2:]:
                    same = False
                else:
                    same = read_bitmap(ours, offset=one[0], size=one[1]) == read_bitmap(
                        theirs, offset=other[0], size=other[1]
                    )
                if not same:
                    run.add(Kind.INDEX_DIFFERS, ":".join(key), "is not what the posts and the manifest say")


def _written(folder: Path) -> pa.Table:
    return pa.concat_tables(list(read_untrusted(folder, INDEX_NAMES)))


def _by_name(names: pa.Table) -> dict[tuple[str, str], tuple[int, int, int, str | None]]:
    """Field and value -> place and size of the bitmap, its posts, and the category."""
    rows = names.to_pylist()
    return {(row["field"], row["value"]): (row["offset"], row["bytes"], row["posts"], row["category"]) for row in rows}
