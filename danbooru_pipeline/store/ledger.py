"""The ledger: one row per post of a bucket that says what became of its file, and why.

Reads and writes the rows, and plans what a bucket has to do. The plan is pure: it compares posts with rows and with the
files that are there, and touches nothing. A row is keyed by (id, md5): a post whose MD5 changed is work to do again.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.outcomes import Reason, Status, status_of

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        ("md5", pa.string()),
        ("ext", pa.string()),
        ("stored_ext", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        ("reason", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("source_size", pa.int64()),
        ("fetched_md5", pa.string()),
        ("file_type", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("pages", pa.int32()),
        ("flags", pa.list_(pa.string())),
        ("alpha", pa.bool_()),
        ("color_space", pa.string()),
        ("has_profile", pa.bool_()),
        ("orientation", pa.int8()),
        ("optimized", pa.bool_()),
        ("optimized_by", pa.string()),
        ("kept", pa.string()),
        ("attempts", pa.int32()),
        ("http_status", pa.int16()),
        ("fetched_at", pa.timestamp("us", tz="UTC")),
        ("px512_reason", pa.string()),
        ("px512_size", pa.int64()),
        ("px512_sha256", pa.string()),
        ("px512_background", pa.string()),
        ("px512_flags", pa.list_(pa.string())),
        ("px512_settings", pa.string()),
        ("first_release", pa.int16()),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What is known of one post's file. Sizes in bytes.

    Attributes:
        md5: MD5 in the metadata when the row was made; with `id`, the key of the row.
        fetched_md5: MD5 of the bytes that the source sent, before optimisation.
        source_size: length of those bytes.
        stored_ext: extension of the file in the store, when it is kept as another type than the source's.
        size, sha256: of the file in the store.
        flags, alpha, color_space, has_profile, orientation: facts of the file, as in `images.ImageFacts`.
        optimized_by: what made the bytes in the store, None when they are the source's.
        kept: why an optimiser left the bytes alone, a value of `images.Kept`.
        px512_background: colour behind and around the 512px image.
        px512_flags: warnings to those who use it, values of `images.Quality`.
        px512_settings: fingerprint of the settings a 512px image was made, or refused, with; None: not tried.
        first_release: first release that held the post.
    """

    id: int
    md5: str | None = None
    ext: str | None = None
    stored_ext: str | None = None
    reason: Reason | None = None
    size: int | None = None
    sha256: str | None = None
    source_size: int | None = None
    fetched_md5: str | None = None
    file_type: str | None = None
    width: int | None = None
    height: int | None = None
    pages: int | None = None
    flags: tuple[str, ...] = ()
    alpha: bool | None = None
    color_space: str | None = None
    has_profile: bool | None = None
    orientation: int | None = None
    optimized: bool = False
    optimized_by: str | None = None
    kept: str | None = None
    attempts: int = 0
    http_status: int | None = None
    fetched_at: datetime | None = None
    px512_reason: Reason | None = None
    px512_size: int | None = None
    px512_sha256: str | None = None
    px512_background: str | None = None
    px512_flags: tuple[str, ...] = ()
    px512_settings: str | None = None
    first_release: int | None = None

    @property
    def status(self) -> Status:
        """The status its reason stands for."""
        return status_of(self.reason)

    @property
    def held_ext(self) -> str | None:
        """Extension of the file in the store."""
        return self.stored_ext or self.ext

    @property
    def source_md5_matches(self) -> bool | None:
        """Whether the source's bytes have the MD5 that the metadata announce; None without a file."""
        return None if self.fetched_md5 is None else self.fetched_md5 == self.md5


_FIELDS = [f.name for f in dataclasses.fields(LedgerRow)]


def read_ledger(path: Path) -> dict[int, LedgerRow]:
    """The rows of a bucket by id; none when the bucket was never worked on."""
    if not path.exists():
        return {}
    rows = pq.ParquetFile(path).read(columns=_FIELDS).to_pylist()
    return {row["id"]: _row_from(row) for row in rows}


def _row_from(row: dict[str, object]) -> LedgerRow:
    for name in ("flags", "px512_flags"):  # a ledger of an earlier version lacks columns
        row[name] = tuple(row.get(name) or ())  # type: ignore[arg-type]
    for name in ("reason", "px512_reason"):
        if row[name] is not None:
            row[name] = Reason(str(row[name]))
    return LedgerRow(**row)  # type: ignore[arg-type]


def write_ledger(path: Path, rows: Iterable[LedgerRow]) -> None:
    """Replace the ledger of a bucket, sorted by id."""
    ordered = sorted(rows, key=lambda row: row.id)
    records = [{name: getattr(row, name) for name in _FIELDS} | {"status": row.status} for row in ordered]
    with atomic_file(path) as file:
        pq.write_table(pa.Table.from_pylist(records, schema=LEDGER_SCHEMA), file, compression="zstd")
