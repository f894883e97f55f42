"""Releases of ours: the manifest says which file is whose, and its checksums say that it is the manifest."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images.settings import fingerprint_of
from danbooru_pipeline.io.external_sort import ExternalGroupBy, by_remainder
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, original_path, px512_path
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, PX512_FACTS, FileFacts, columns_of, schema_of
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Px512Candidate, Skipped, is_plain_file

_SHARED: Final = columns_of(FileFacts)
_RELEASE_SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("status", pa.string()),
        ("path", pa.string()),
        ("source_md5", pa.string()),
        ("first_release", pa.int16()),
        ("px512_status", pa.string()),
        ("px512_reason", pa.string()),
        ("px512_path", pa.string()),
    ]
    + [(f.name, f.type) for f in schema_of(_SHARED)]
)
#: Rows of a manifest that are Python objects at a time.
_ROWS_AT_ONCE: Final = 256
#: Why a post has no 512px image though its original could have one: not for good, so a build looks again.
_PASSING: Final = frozenset({Reason.RATING, Reason.NO_ORIGINAL})


@dataclass(frozen=True, slots=True)
class ReleaseHolding:
    """A release of ours, whose manifest says which file is whose."""

    place: Path
    can_move: bool = field(default=False, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"release {self.place}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Every bucket of the manifest, which is sorted on disk.

        Raises:
            StoreError: the manifest is not the one that the release's checksums name, or some files could not be read.
                The others were given.
        """
        skipped = Skipped()
        with ExternalGroupBy(_RELEASE_SCHEMA, key=by_remainder(BUCKET_COUNT)) as grouped:
            try:
                for path in self._manifest():
                    for table in read_batches(path):
                        grouped.add(_conformed(table))
            except (OSError, KeyError, pa.ArrowException) as error:
                raise StoreError(f"the manifest of {self.place} cannot be read ({error}); verify it first") from error
            for number, table in grouped.groups():
                yield BUCKETS[number], _RowFinder(self.place, table, self._px512_settings(), skipped)
        skipped.check(self.title)

    def _px512_settings(self) -> str | None:
        """The fingerprint of the settings of its 512px images; None where RELEASE.json does not say."""
        try:
            settings = msgspec.json.decode((self.place / RELEASE_JSON).read_bytes())["image_settings"]
            return fingerprint_of(settings) if settings else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _manifest(self) -> list[Path]:
        checksums = self.place / SHA256SUMS
        lines = checksums.read_text("utf-8", "replace").splitlines() if checksums.is_file() else []
        sums = {line[66:]: line[:64] for line in lines}
        paths = [path for path in sorted((self.place / "manifest").glob("files-*.parquet")) if path.is_file()]
        listed = {name for name in sums if name.startswith("manifest/files-")}
        if listed != {f"manifest/{path.name}" for path in paths} or not paths:
            raise StoreError(f"the manifest of {self.place} is not complete; verify the release first")
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
    px512_settings: str | None
    skipped: Skipped

    def __call__(self, wanted: Iterable[Fetch], scratch: Path, /) -> Iterator[Candidate]:  # noqa: ARG002 - of the protocol
        for fetch, row in self._with_rows(wanted):
            if row["sha256"] is None or row["source_md5"] != fetch.md5:
                continue  # the post had another file then
            ext = str(row["path"]).rpartition(".")[2]
            if ext not in {fetch.ext, "jxl"} or row["path"] != original_path(fetch.id, ext):
                continue
            path = self.folder / row["path"]
            if self.skipped.is_plain_file(path):
                facts = {name: row[name] for name in (*ORIGINAL_FACTS, "first_release")}
                yield Candidate(fetch, path, ext, facts=facts, px512=self._px512(row))

    def _with_rows(self, wanted: Iterable[Fetch]) -> Iterator[tuple[Fetch, Mapping[str, Any]]]:
        """Each file that has a row, with it. Few rows are objects at once: a bucket's take some kilobytes each."""
        places = {post_id: place for place, post_id in enumerate(self.rows["id"].to_pylist())}
        known = (fetch for fetch in wanted if fetch.id in places)
        while some := list(islice(known, _ROWS_AT_ONCE)):
            rows = self.rows.take([places[fetch.id] for fetch in some]).to_pylist()
            yield from zip(some, rows, strict=True)

    def _px512(self, row: Mapping[str, Any]) -> Px512Candidate | None:
        """What the release has of a 512px image; None where a build has to find out."""
        if self.px512_settings is None:
            return None
        facts = {name: row[name] for name in PX512_FACTS} | {"px512_settings": self.px512_settings}
        if row["px512_path"] is not None:
            path = self.folder / px512_path(row["id"])
            is_there = row["px512_path"] == px512_path(row["id"]) and is_plain_file(path)
            return Px512Candidate(path, row["px512_sha256"], facts) if is_there else None
        reason = row["px512_reason"]
        if reason not in set(Reason) - _PASSING:
            return None
        return Px512Candidate(None, None, facts | {"px512_reason": Reason(reason)})
