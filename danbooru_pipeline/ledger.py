"""The ledger: one row per post of a bucket that says what became of its file, and why.

Reads and writes the rows, and plans what a bucket has to do. The plan is pure: it compares posts with rows and with the
files that are there, and touches nothing. A row is keyed by (id, md5): a post whose MD5 changed is work to do again.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.atomic import atomic_file
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts import Post

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


class Journal:
    """Rows since the ledger was last written, a line each, so that a kill costs none of them. One process has it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> list[LedgerRow]:
        """The rows that a killed process left; a line that it could not finish is none."""
        if not self._path.exists():
            return []
        rows = []
        for line in self._path.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                rows.append(msgspec.json.decode(line, type=LedgerRow))
        return rows

    def add(self, row: LedgerRow) -> None:
        """Add a row, in one write; what the kernel has a kill does not take away."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
        self._file.write(b"\n" + msgspec.json.encode(row) + b"\n")

    def clear(self) -> None:
        """Forget all rows, which are in the ledger now."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """What a bucket has to do for a release.

    Attributes:
        fetch: posts whose file is to be asked for: new ones, changed ones, pending ones, ones whose file is gone.
        settle: rows that need no request: withheld, quarantined and removed posts.
        keep: rows that stay as they are.
        changed: how many of `fetch` had a file under another MD5.
    """

    fetch: tuple[Post, ...]
    settle: tuple[LedgerRow, ...]
    keep: tuple[LedgerRow, ...]
    changed: int

    @property
    def changes_ledger(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.fetch or self.settle)


def plan_bucket(
    posts: Iterable[Post],
    ledger: Mapping[int, LedgerRow],
    files: Mapping[str, int],
    *,
    exclude_tags: frozenset[str] = frozenset(),
    release: int,
) -> BucketPlan:
    """Compare a bucket's posts with its rows and files.

    Args:
        posts: the bucket's posts of the release.
        ledger: rows by id.
        files: name -> size in bytes of the files in the bucket's folder of originals.
        exclude_tags: tags whose posts get no file.
        release: year of the release, for rows that are new.
    """
    fetch: list[Post] = []
    settle: list[LedgerRow] = []
    keep: list[LedgerRow] = []
    changed = 0
    seen: set[int] = set()
    for post in posts:
        seen.add(post.id)
        row = ledger.get(post.id)
        reason = reason_without_request(post, exclude_tags)
        if reason is not None:
            wanted = _settled(post, reason, row, release=release)
            (keep if wanted == row else settle).append(wanted)
        elif row is not None and row.md5 == post.md5 and row.ext == post.ext and _holds(row, files):
            wanted = _marked(row, post)
            (keep if wanted == row else settle).append(wanted)
        else:
            changed += row is not None and row.status is Status.OK and row.md5 != post.md5
            fetch.append(post)
    for row in ledger.values():
        if row.id in seen:
            continue
        if row.first_release is not None and row.first_release > release:
            keep.append(row)  # a post of a later release than the one that is worked on
        else:
            gone = dataclasses.replace(row, reason=Reason.EXPUNGED)
            (keep if gone == row else settle).append(gone)
    return BucketPlan(fetch=tuple(fetch), settle=tuple(settle), keep=tuple(keep), changed=changed)


def reason_without_request(post: Post, exclude_tags: frozenset[str]) -> Reason | None:
    """Why a post's file is not to be asked for at all; None when it is."""
    if post.is_expunged:
        return Reason.EXPUNGED
    if post.is_banned:
        return Reason.BANNED
    if not post.visible:
        return Reason.RESTRICTED
    if not post.names_a_file:
        return Reason.BAD_ROW
    if exclude_tags and not exclude_tags.isdisjoint(post.tags.split()):
        return Reason.EXCLUDED_TAG
    return None


def _settled(post: Post, reason: Reason, row: LedgerRow | None, *, release: int) -> LedgerRow:
    """The row of a post that gets no file now. What is known of an earlier file stays, so it can come back."""
    if row is None:
        return LedgerRow(id=post.id, md5=post.md5, ext=post.ext, reason=reason, first_release=release)
    return dataclasses.replace(row, reason=reason)


def _marked(row: LedgerRow, post: Post) -> LedgerRow:
    """The row of a file that is there, marked while the post's file is another one than in the sweep."""
    if row.reason not in {None, Reason.REPLACED}:
        return row
    return dataclasses.replace(row, reason=Reason.REPLACED if post.replaced else None)


def _holds(row: LedgerRow, files: Mapping[str, int]) -> bool:
    """Whether a row is settled: the file it speaks of is there in full, or it is final without one."""
    if row.status is Status.OK:
        return row.size is not None and files.get(f"{row.id}.{row.held_ext}") == row.size
    return row.status is Status.MISSING or row.reason is Reason.TOO_LARGE


def list_files(folder: Path) -> dict[str, int]:
    """Name -> size in bytes of the whole files in a bucket's folder; hidden and unfinished ones are left out."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {e.name: e.stat(follow_symlinks=False).st_size for e in entries if e.is_file() and e.name[0] != "."}
