"""The ledger: one row per post of a bucket that says whether its file is there, or why not.

Reads and writes rows; `open_ledger` adds to them while a bucket is worked on, and `plan` compares them with posts.
A row is keyed by (id, md5): a post whose MD5 changed is work to do again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.errors import NewerFile
from danbooru_pipeline.images.signature import IMAGE_TYPES
from danbooru_pipeline.images.words import WITHOUT_PX512, Flag
from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.formats import require_known_schema
from danbooru_pipeline.io.parquet import no_rows, store_options
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import conform
from danbooru_pipeline.store.columns import (
    Fact,
    FileFacts,
    Origin,
    columns_of,
    schema_of,
    table_of,
    values_from,
    with_tuples,
)

#: The flag that is about the type.
_TYPE_FLAG: Final = Flag.WRONG_EXTENSION
#: Flags of a file that the decoder found broken.
DAMAGE: Final = frozenset({Flag.TRUNCATED, Flag.CORRUPT})

if TYPE_CHECKING:
    from danbooru_pipeline.images import ImageResult  # which loads libvips, and whoever reads a ledger needs none


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow(FileFacts):
    """What is known of one post's file: the shared facts, and what only the ledger keeps."""

    id: Annotated[int, Fact(pa.int64(), Origin.POST, "the post's id", before="size", nullable=False)]
    md5: Annotated[
        str | None, Fact(pa.string(), Origin.POST, "MD5 in the metadata; with `id`, the key of the row", before="size")
    ] = None
    ext: Annotated[str | None, Fact(pa.string(), Origin.POST, "extension in the metadata", before="size")] = None
    stored_ext: Annotated[
        str | None, Fact(pa.string(), Origin.RESULT, "extension in the store, when it is another", before="size")
    ] = None
    reason: Annotated[
        Reason | None,
        Fact(pa.string(), Origin.BUILD, "why there is no file, or what is special about it", before="size"),
    ] = None
    source_pixel_hash: Annotated[
        str | None, Fact(pa.string(), Origin.POST, "pixel hash that the site publishes", before="pixel_hash")
    ] = None
    attempts: Annotated[
        int, Fact(pa.int32(), Origin.BUILD, "requests for the file with this MD5, all builds", before="px512_size")
    ] = 0
    http_status: Annotated[int | None, Fact(pa.int16(), Origin.DOWNLOAD, "of the last answer", before="px512_size")] = (
        None
    )
    fetched_at: Annotated[
        datetime | None, Fact(pa.timestamp("us", tz="UTC"), Origin.BUILD, "when the row was made", before="px512_size")
    ] = None
    px512_reason: Annotated[
        Reason | None, Fact(pa.string(), Origin.PX512, "why there is no 512px image", before="px512_size")
    ] = None
    px512_settings: Annotated[
        str | None, Fact(pa.string(), Origin.BUILD, "fingerprint of the settings it was made, or refused, with")
    ] = None
    first_release: Annotated[int | None, Fact(pa.int16(), Origin.BUILD, "first release that held the post")] = None
    checked_at: Annotated[
        datetime | None,
        Fact(pa.timestamp("us", tz="UTC"), Origin.BUILD, "when the source was last asked about the file"),
    ] = None
    checked_release: Annotated[int | None, Fact(pa.int16(), Origin.BUILD, "newest release that asked about it")] = None

    @property
    def status(self) -> Status:
        """The status that its reason stands for."""
        return status_of(self.reason)

    @property
    def held_ext(self) -> str | None:
        """Extension of the file in the store."""
        return self.stored_ext or self.ext

    def was_checked(self, *, release: int) -> bool:
        """Whether a build of this release, or of a later one, has asked the source about the file."""
        return self.checked_release is not None and self.checked_release >= release

    def checked(self, *, at: datetime, release: int) -> "LedgerRow":
        """The same row after the source was asked about it for a release."""
        return replace(self, checked_at=at, checked_release=max(self.checked_release or release, release))

    @property
    def source_md5_matches(self) -> bool | None:
        """Whether the source's bytes have the MD5 that the metadata declares; None without a file."""
        return None if self.fetched_md5 is None else self.fetched_md5 == self.md5

    @property
    def pixel_hash_matches(self) -> bool | None:
        """Whether the file shows the picture that the site's hash is of; None when one of the two is not known."""
        known = self.pixel_hash is not None and self.source_pixel_hash is not None
        return self.pixel_hash == self.source_pixel_hash if known else None


_DERIVED: Final = {
    "status": Fact(
        pa.string(), Origin.BUILD, "status of the original, as its reason says", before="reason", nullable=False
    ),
    "pixel_hash_matches": Fact(
        pa.bool_(), Origin.BUILD, "whether `pixel_hash` is `source_pixel_hash`", before="file_type"
    ),
}
LEDGER_COLUMNS: Final = columns_of(LedgerRow, **_DERIVED)
LEDGER_SCHEMA: Final = schema_of(LEDGER_COLUMNS)
_STORED: Final = [column.name for column in LEDGER_COLUMNS if column.name not in _DERIVED]
_STORED_SCHEMA: Final = pa.schema([LEDGER_SCHEMA.field(name) for name in _STORED], metadata=LEDGER_SCHEMA.metadata)
_NO_ROWS: Final = no_rows(_STORED_SCHEMA)
_values: Final = attrgetter(*_STORED)
_REASONS: Final = ("reason", "px512_reason")
_KNOWN_REASONS: Final = frozenset(map(str, Reason))


def with_px512(row: LedgerRow, result: "ImageResult", *, settings: str | None) -> LedgerRow:
    """A row with the outcome of its 512px image; `settings` is the fingerprint of those tried, None when not wanted.

    Where an earlier version saw damage and a 512px image could be made now, the flags are those of now: it was none. So
    are all facts where it saw no still picture.
    """
    made = replace(row, **values_from(result, Origin.PX512, LEDGER_COLUMNS), px512_settings=settings)
    if result.px512_sha256 is None or result.facts is None:
        return made
    was, now = row.flags or (), result.facts.flags
    if not _is_still(row):
        made = replace(made, **values_from(result.facts, Origin.FILE, LEDGER_COLUMNS))
        was = (*(flag for flag in was if flag != _TYPE_FLAG), *(flag for flag in now if flag == _TYPE_FLAG))
    return replace(made, flags=was if WITHOUT_PX512.isdisjoint(was) else now)


def _is_still(row: LedgerRow) -> bool:
    """Whether a row's facts are those of a still picture, of which a 512px image can be made."""
    return row.file_type in IMAGE_TYPES and (row.pages or 1) == 1 and bool(row.width and row.height)


def read_ledger(path: Path) -> dict[int, LedgerRow]:
    """The rows of a bucket by id; empty when the bucket was never worked on.

    Raises:
        DamagedFile: it cannot be read, or is no ledger.
    """
    if not path.exists():
        return {}
    with damage_named(path):
        return ledger_rows(_read_stored(path))


def read_ledger_table(path: Path) -> pa.Table:
    """The same as a table of the columns that are stored; those that an earlier version lacks are null.

    Raises:
        DamagedFile: it cannot be read, or is no ledger.
    """
    if not path.exists():
        return _NO_ROWS
    with damage_named(path):
        found = _read_stored(path)
        if "id" not in found.column_names:
            raise ValueError("it is no ledger")
        return conform(found, _STORED_SCHEMA)


def _read_stored(path: Path) -> pa.Table:
    """The columns that are stored; an earlier version's ledger lacks some."""
    # By this thread alone: others are waited for longer than they read.
    file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    require_known_schema(path, file.schema_arrow, columns=LEDGER_SCHEMA.names)
    table = file.read(_STORED, use_threads=False)
    for name in _REASONS:
        if name in table.column_names:
            unknown = {value for value in table[name].unique().to_pylist() if value is not None} - _KNOWN_REASONS
            if unknown:
                raise NewerFile(path, f"reason {min(unknown)}")
    return table


def ledger_rows(table: pa.Table) -> dict[int, LedgerRow]:
    """The rows of such a table by id."""
    return {row["id"]: _row_from(row) for row in table.to_pylist()}


def _row_from(record: dict[str, Any]) -> LedgerRow:
    values = with_tuples(record)
    for name in _REASONS:
        if values.get(name) is not None:
            values[name] = Reason(values[name])
    return LedgerRow(**values)


def record_of(row: LedgerRow) -> dict[str, Any]:
    """A row as the journal keeps it: its values by column, in the order of the ledger."""
    return dict(zip(_STORED, _values(row), strict=True))


def write_ledger(path: Path, rows: Iterable[LedgerRow]) -> None:
    """Replace the ledger of a bucket, sorted by id."""
    ordered = sorted(rows, key=lambda row: row.id)
    table = table_of(ordered, LEDGER_SCHEMA)
    with atomic_file(path) as file:
        pq.write_table(table, file, **store_options(table.num_rows))
