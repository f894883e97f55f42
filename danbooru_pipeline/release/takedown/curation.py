"""Clears what curation says of posts: candidates, decisions, what was sent to the site. Idempotent, and safe to kill.

The room that curates lies on a higher floor, so its files are known here by their form: tables with a column of posts,
and logs of JSON lines in which ``post`` names one. A takedown is the only thing that ever takes something out of these
logs: it replaces them by one without the post, as a whole and under the lock that their writers hold.

What was read before a takedown may be written after it. So whoever writes there calls `clear_if_removed` afterwards:
the list of takedowns is written before anything is cleared, hence either the takedown finds the file or its writer
finds the list.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.append_log import any_line, replace_lines
from danbooru_pipeline.io.atomic import remove_parts
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.parquet import read_batches, write_parquet
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import removed_posts
from danbooru_pipeline.release.mentions import ids_present

#: Tables that a command makes again.
_MADE: Final = re.compile(r"candidates-|decided\.")


def clear_curation(layout: Layout, ids: Collection[int]) -> None:
    """Remove what curation says of some posts. Tables that are being written are not finished.

    A damaged table that can be made again is removed, since nobody can tell whether it names one of them.

    Raises:
        DamagedFile: another table is damaged; the rest is cleared.
    """
    damaged: list[DamagedFile] = []
    for folder in _folders(layout):
        remove_parts(folder)
    for path in _files(layout):
        try:
            if not _is_about(path, ids):
                continue
        except DamagedFile as error:
            if _MADE.match(path.name):
                path.unlink()
            else:
                damaged.append(error)
            continue
        if path.suffix == ".jsonl":
            replace_lines(path, lambda record: _without(record, ids))
        else:
            _write_table_without(path, ids)
    if damaged:
        raise damaged[0]


def clear_if_removed(layout: Layout, posts: Collection[int] | None = None) -> None:
    """Remove what was just written of posts that were taken down meanwhile.

    Args:
        layout: of the root.
        posts: that it names; without them, anything may be named.
    """
    gone = removed_posts(layout)
    if gone and (posts is None or not gone.isdisjoint(posts)):
        clear_curation(layout, gone)


def curation_files_about(layout: Layout, ids: Collection[int]) -> list[Path]:
    """Tables and logs of curation that name some posts.

    Raises:
        DamagedFile: a table cannot be read.
    """
    return [path for path in _files(layout) if _is_about(path, ids)] if ids else []


def _folders(layout: Layout) -> Iterator[Path]:
    if layout.curation.is_dir():
        yield layout.curation
        yield from (path for path in sorted(layout.curation.iterdir()) if path.is_dir() and not path.is_symlink())


def _files(layout: Layout) -> Iterator[Path]:
    for folder in _folders(layout):
        for path in sorted(folder.iterdir()):
            if path.suffix in {".jsonl", ".parquet"} and path.is_file():
                yield path


def _is_about(path: Path, ids: Collection[int]) -> bool:
    if path.suffix == ".jsonl":
        return any_line(path, lambda record: _without(record, ids) != record)
    with damage_named(path):
        column = _column(path)
        return column is not None and bool(ids_present([path], ids, column=column))


def _column(path: Path) -> str | None:
    """The column of a table that names posts."""
    names = pq.read_schema(path).names
    return next((name for name in ("post_id", "id") if name in names), None)


def _without(record: Any, ids: Collection[int]) -> Any:
    """A record without what it says of some posts; None if it is about one of them itself."""
    if isinstance(record, dict):
        if record.get("post") in ids:
            return None
        return {key: _without(value, ids) for key, value in record.items()}
    if isinstance(record, list):
        return [kept for kept in (_without(each, ids) for each in record) if kept is not None]
    return record


def _write_table_without(path: Path, ids: Collection[int]) -> None:
    column, schema = str(_column(path)), pq.read_schema(path)
    gone = pa.array(sorted(ids), pa.int64())
    rows = (table.filter(pc.invert(pc.is_in(table[column].cast(pa.int64()), gone))) for table in read_batches(path))
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    write_parquet(path, rows, schema=schema, dictionary=texts)
