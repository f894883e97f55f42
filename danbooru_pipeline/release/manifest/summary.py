"""The totals of a manifest: posts, files, bytes and reasons. Pure; a manifest of any size is added batch by batch."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.outcomes import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSummary:
    """The totals of a manifest. Bytes are of files as shipped; `saved_bytes` is what optimisation took off originals.

    Attributes:
        statuses: status of the original -> posts.
        reasons: ``original`` and ``px512`` -> reason -> posts.
        pixel_hashes: originals whose pixel hash and the site's are both known.
        pixel_hash_mismatches: of those, how many differ; the site's may be old, so that is no failure.
        digest: SHA-256 over all rows (by columns, see `io.row_digest`); manifests with equal rows share it.
    """

    posts: int
    last_id: int
    originals: int
    px512: int
    pending: int
    originals_bytes: int
    px512_bytes: int
    saved_bytes: int
    statuses: dict[str, int]
    reasons: dict[str, dict[str, int]]
    digest: str = ""
    pixel_hashes: int = 0
    pixel_hash_mismatches: int = 0


class Tally:
    """Adds up manifest rows, batch by batch."""

    def __init__(self) -> None:
        self._last_id = 0
        self._sums: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("status", "reason", "px512_status", "px512_reason")
        }

    def add(self, table: pa.Table) -> None:
        """Add some rows."""
        if not table.num_rows:
            return
        self._last_id = max(self._last_id, pc.max(table["id"]).as_py())
        for name, counter in self._counts.items():
            for row in pc.value_counts(table[name]).to_pylist():
                counter[row["values"]] += row["counts"]
        if "pixel_hash_matches" in table.column_names:  # manifests of earlier versions lack it
            compared = table["pixel_hash_matches"].drop_null()
            self._sums["compared"] += len(compared)
            self._sums["equal"] += pc.sum(compared).as_py() or 0
        saved = pc.subtract(table["source_size"], table["size"])
        for name, column in (("size", table["size"]), ("px512_size", table["px512_size"]), ("saved", saved)):
            self._sums[name] += pc.sum(column).as_py() or 0

    def summary(self, digest: str = "") -> ManifestSummary:
        """The totals so far."""
        status = self._counts["status"]
        return ManifestSummary(
            posts=status.total(),
            last_id=self._last_id,
            originals=status[Status.OK],
            px512=self._counts["px512_status"][Status.OK],
            pending=status[Status.PENDING],
            originals_bytes=self._sums["size"],
            px512_bytes=self._sums["px512_size"],
            saved_bytes=self._sums["saved"],
            statuses=_plain(status),
            reasons={"original": _plain(self._counts["reason"]), "px512": _plain(self._counts["px512_reason"])},
            digest=digest,
            pixel_hashes=self._sums["compared"],
            pixel_hash_mismatches=self._sums["compared"] - self._sums["equal"],
        )


def _plain(counter: Counter[str]) -> dict[str, int]:
    return {name: counter[name] for name in sorted(name for name in counter if name is not None)}
