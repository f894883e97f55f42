"""What bad days do to a file, each under the name of its case."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.io.formats import KEY
from danbooru_pipeline.layout import Layout


def _write(path: Path, data: bytes) -> None:
    path.unlink()  # the file may share its bytes with another root
    path.write_bytes(data)


def _other_schema(path: Path) -> None:
    path.unlink()
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"foo": [1, 2]}), path)
    else:
        path.write_bytes(b'{"foo": 1}')


DAMAGES: Final[dict[str, Callable[[Path], None]]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: _write(path, b""),
    "truncated": lambda path: _write(path, path.read_bytes()[: path.stat().st_size // 2]),
    "random": lambda path: _write(path, random.Random(7).randbytes(max(64, path.stat().st_size))),
    "other schema": _other_schema,
}


def of_a_later_version(path: Path) -> None:
    """Make a file one that a later version wrote in a format of its own."""
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        path.unlink()
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: b"99"}), path)
    else:
        content = json.loads(path.read_bytes())
        path.unlink()
        path.write_text(json.dumps({**content, "format": 99}))


def flip_a_byte(path: Path) -> None:
    """Change the last byte of the ids of a Parquet file, which its frame does not show."""
    chunk = pq.read_metadata(path).row_group(0).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + chunk.total_compressed_size - 1] ^= 0xFF
    _write(path, bytes(data))


def copy_root(layout: Layout, target: Path) -> Layout:
    """A root with the same files, that may be damaged: no file is written to, only replaced."""
    shutil.copytree(layout.root, target, symlinks=True, copy_function=os.link, ignore=shutil.ignore_patterns(".*lock"))
    return Layout(target)
