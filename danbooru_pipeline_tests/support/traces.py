"""Finds what is left of posts below a folder, by reading everything that is there; shares no code with takedowns.

Ids and paths in ``removed.txt`` and in lists of removed files are tombstones, and no trace.
"""

import json
import lzma
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

_TABLES = ("posts", "files", "metadata", "manifest", "candidates", "0")
_TOMBSTONES = ("takedowns.json", "removed.txt")


def traces(root: Path, ids: Collection[int]) -> list[str]:
    """Paths, with what was found in them."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in _TOMBSTONES:
            found += [f"{path.relative_to(root)}: {what}" for what in _traces_in(path, ids)]
    return found


def _traces_in(path: Path, ids: Collection[int]) -> Iterator[str]:
    stem = re.match(r"\.?(\d+)\.", path.name)
    if stem and int(stem[1]) in ids and not path.name.startswith("0"):
        yield "file"
    if path.suffix == ".parquet":
        yield from _in_table(path, ids)
    elif path.suffix in {".json", ".journal"} and path.name != "RELEASE.json":
        yield from _in_lines(path.name, path.read_bytes().splitlines(), ids)
    elif path.suffix == ".jsonl":
        yield from (name for name in re.findall(r'"post": ?(\d+)', path.read_text()) if int(name) in ids)
    elif path.suffix == ".xz" and "filelist" not in path.name:
        data = lzma.decompress(path.read_bytes()) if path.stat().st_size > 1 else b""
        forms = ('"id":"{}"', '"id": "{}"', '"post_id":"{}"')
        yield from (text for id_ in ids for form in forms if (text := form.format(id_)).encode() in data)
    elif path.name == "filelist.txt.xz":
        lines = lzma.decompress(path.read_bytes()).decode().splitlines()
        yield from (line for line in lines if int(Path(line).stem) in ids)
    elif path.suffix == ".sha256" or path.name == "nsfw-ids.txt":
        names = re.findall(r"(\d+)(?:\.\w+)?$", path.read_text(), flags=re.MULTILINE)
        yield from (name for name in names if int(name) in ids)


def _in_table(path: Path, ids: Collection[int]) -> Iterator[str]:
    about = path.name.startswith(_TABLES) or path.parent.name == "changes"
    for row in pq.ParquetFile(path).read().to_pylist():
        if row.get("post_id") in ids or (about and row.get("id") in ids and not _is_tombstone(row)):
            yield f"row {row}"


def _is_tombstone(row: dict[str, Any]) -> bool:
    said = ("old_sha256", "new_sha256", "old_rating", "new_rating")
    return "kind" in row and all(row[name] is None for name in said)


def _in_lines(name: str, lines: Collection[bytes], ids: Collection[int]) -> Iterator[str]:
    about = name.startswith(("posts0", "2", ".0"))
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        value = record.get("id" if about else "post_id") if isinstance(record, dict) else None
        if value is not None and int(value) in ids:
            yield f"line {line[:80]!r}"
