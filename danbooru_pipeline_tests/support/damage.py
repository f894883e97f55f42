"""Damages to copies of releases: new files in place of hard links, and checksums made again as an attacker would."""

import contextlib
import hashlib
import json
import lzma
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.release.checksums import document_files
from danbooru_pipeline.release.provenance import PROVENANCE, statement
from danbooru_pipeline.release.release_json import CONTENT, read_release
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS

Table = Callable[[pa.Table], pa.Table]


def linked_copy(source: Path, target: Path) -> Path:
    """A copy of hard links, which costs nothing; whatever is written to it must be a new file."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def put(path: Path, data: bytes) -> None:
    """Write a new file, in place of whatever is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def flip(path: Path, at: int | None = None) -> None:
    """Change one bit of a byte, in the middle if not said otherwise."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    put(path, bytes(data))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    value = json.loads(path.read_bytes())
    change(value)
    put(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def resum(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Change what RELEASE.json says, and make everything again that has a sum of something."""
    for name in (CONTENT, RELEASE_JSON):
        if (folder / name).exists():
            edit_json(folder / name, change)
    digests = {name: digest(folder / name) for name in document_files(folder)}
    if PROVENANCE in digests:
        with contextlib.suppress(ReleaseError):  # it says nothing any more that a statement could be made of
            text = json.dumps(statement(read_release(folder), digests), ensure_ascii=False)
            put(folder / PROVENANCE, text.encode() + b"\n")
            digests[PROVENANCE] = digest(folder / PROVENANCE)
    sums = "".join(f"{sha256}  {name}\n" for name, sha256 in digests.items()).encode()
    put(folder / SHA256SUMS, sums)
    edit_json(folder / RELEASE_JSON, lambda release: release.update(sha256sums_sha256=hashlib.sha256(sums).hexdigest()))


#: Where the line of RELEASE.json that names SHA256SUMS does not stand: name -> the line above it then.
MARK_PLACES = {"in another object": b'  "counts": {\n', "on top": b"{\n", "one line later": b'  "created_at": '}


def move_mark(folder: Path, above: bytes) -> None:
    """Move the line of RELEASE.json that names SHA256SUMS below the first one that begins like this."""
    lines = (folder / RELEASE_JSON).read_bytes().splitlines(keepends=True)
    mark = next(line for line in lines if line.startswith(b'  "sha256sums_sha256": '))
    lines.remove(mark)
    lines.insert(next(number for number, line in enumerate(lines) if line.startswith(above)) + 1, mark)
    put(folder / RELEASE_JSON, b"".join(lines))


def made_by_0_2(release: dict[str, Any]) -> None:
    """Let the release be one of before 0.3, which had fewer parts; for `resum`."""
    release["tool"]["version"] = "0.2.0"


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit_table(folder: Path, pattern: str, change: Table) -> None:
    """Change the first table that matches."""
    path = min(folder.glob(pattern))
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path, compression="zstd")


def with_column(name: str, change: Callable[[list[Any]], list[Any]]) -> Table:
    """Change the values of a column."""

    def changed(table: pa.Table) -> pa.Table:
        field = table.schema.field(name)
        values = pa.array(change(table[name].to_pylist()), field.type)
        return table.set_column(table.schema.get_field_index(name), field, values)

    return changed


def with_row(is_meant: Callable[[dict[str, Any]], bool], **values: Any) -> Table:
    """Change some values of the first row that is meant."""

    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        next(row for row in rows if is_meant(row)).update(values)
        return pa.Table.from_pylist(rows, schema=table.schema)

    return changed


def with_footer_of(path: Path, table: pa.Table, said: pa.Table) -> None:
    """Write a table whose footer speaks of another one, of as many bytes."""
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    pq.write_table(said, path, **plain)
    footer = _footer(path.read_bytes())
    pq.write_table(table, path, **plain)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - len(_footer(data))] + footer)


def _footer(data: bytes) -> bytes:
    return data[-8 - int.from_bytes(data[-8:-4], "little") :]


def pack_again(folder: Path) -> None:
    """Make the archive of the metadata anew."""
    with lzma.open(folder / "x", "wb", preset=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted((folder / "metadata").rglob("*")):
            if path.is_file():
                archive.add(path, path.relative_to(folder).as_posix())
    (folder / "x").replace(folder / "metadata.json.tar.xz")


def year_of(folder: Path) -> int:
    """The release's year."""
    year: int = json.loads((folder / RELEASE_JSON).read_bytes())["year"]
    return year


def lines_of(folder: Path) -> Path:
    """The posts of the release's year as JSON lines."""
    return folder / f"metadata/{year_of(folder)}/posts000000000000.json"


def edit_lines(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of posts."""
    path = lines_of(folder)
    put(path, b"".join(change(path.read_bytes().splitlines(keepends=True))))


def original(folder: Path, number: int = 0) -> Path:
    """One of the originals."""
    return sorted(folder.glob("original/*/*"))[number]


def small(folder: Path, number: int = 0) -> Path:
    """One of the 512px images."""
    return sorted(folder.glob("512px/*/*.jpg"))[number]
