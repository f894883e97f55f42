"""Releases of ours: the manifest says which file is whose, and its checksums say that it is the manifest."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_remainder
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, original_path
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, FileFacts, columns_of, schema_of
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, is_plain_file

_SHARED: Final = columns_of(FileFacts)
_RELEASE_SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("status", pa.string()),
        ("path", pa.string()),
        ("source_md5", pa.string()),
        ("first_release", pa.int16()),
    ]
    + [(f.name, f.type) for f in schema_of(_SHARED) if f.name in ORIGINAL_FACTS]
)


@dataclass(frozen=True, slots=True)
class ReleaseHolding:
    """A release of ours, whose manifest says which file is whose."""

    folder: Path
    can_move: bool = field(default=False, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"release {self.folder}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Every bucket of the manifest, which is sorted on disk.

        Raises:
            StoreError: the manifest is not the one that the release's checksums name.
        """
        with ExternalGroupBy(_RELEASE_SCHEMA, key=by_remainder(BUCKET_COUNT)) as grouped:
            try:
                for path in self._manifest():
                    for table in read_batches(path):
                        grouped.add(_conformed(table))
            except (OSError, KeyError, pa.ArrowException) as error:
                raise StoreError(f"the manifest of {self.folder} cannot be read ({error}); verify it first") from error
            for number, table in grouped.groups():
                yield BUCKETS[number], _RowFinder(self.folder, table)

    def _manifest(self) -> list[Path]:
        lines = (self.folder / "SHA256SUMS").read_text("utf-8", "replace").splitlines()
        sums = {line[66:]: line[:64] for line in lines}
        paths = sorted((self.folder / "manifest").glob("files-*.parquet"))
        listed = {name for name in sums if name.startswith("manifest/files-")}
        if listed != {f"manifest/{path.name}" for path in paths} or not paths:
            raise StoreError(f"the manifest of {self.folder} is not complete; verify the release first")
        for path in paths:
            if sha256_of(path) != sums[f"manifest/{path.name}"]:
                raise StoreError(f"{path} is not the file that SHA256SUMS names; verify the release first")
        return paths


def _conformed(table: pa.Table) -> pa.Table:
    """The columns that an import needs; facts that an earlier version did not have are null."""
    held = table.filter(pc.is_valid(table["path"]))
    names = set(held.column_names)
    arrays = [
        held[f.name].cast(f.type) if f.name in names else pa.nulls(held.num_rows, f.type) for f in _RELEASE_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=_RELEASE_SCHEMA)


@dataclass(frozen=True, slots=True)
class _RowFinder:
    """Finds the files of a bucket by the rows of a manifest."""

    folder: Path
    rows: pa.Table

    def __call__(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:  # noqa: ARG002 - of the protocol
        rows = {row["id"]: row for row in self.rows.to_pylist()}
        for fetch in wanted:
            row = rows.get(fetch.id)
            if row is None or row["sha256"] is None or row["source_md5"] != fetch.md5:
                continue  # the post had another file then
            ext = str(row["path"]).rpartition(".")[2]
            if ext not in {fetch.ext, "jxl"} or row["path"] != original_path(fetch.id, ext):
                continue
            path = self.folder / row["path"]
            if is_plain_file(path) and not path.parent.is_symlink():
                yield Candidate(
                    fetch, path, ext, facts={name: row[name] for name in (*ORIGINAL_FACTS, "first_release")}
                )
