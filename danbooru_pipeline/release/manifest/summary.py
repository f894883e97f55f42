"""What a manifest adds up to: posts, files, bytes and reasons. Pure; a manifest of any size is added batch by batch."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.outcomes import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSummary:
    """The numbers of a manifest. Bytes are of files as shipped; `saved` is what optimisation took off originals.

    Attributes:
        statuses: status of the original -> posts.
        reasons: ``original`` and ``px512`` -> reason -> posts.
        digest: SHA-256 over the content of all rows; two manifests with equal rows have it in common.
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


class Tally:
    """Adds up batches of manifest rows."""

    def __init__(self) -> None:
        self._last_id = 0
        self._bytes: Counter[str] = Counter()
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
        saved = pc.subtract(table["source_size"], table["size"])
        for name, column in (("size", table["size"]), ("px512_size", table["px512_size"]), ("saved", saved)):
            self._bytes[name] += pc.sum(column).as_py() or 0

    def summary(self, digest: str = "") -> ManifestSummary:
        """The numbers so far."""
        status = self._counts["status"]
        return ManifestSummary(
            posts=status.total(),
            last_id=self._last_id,
            originals=status[Status.OK],
            px512=self._counts["px512_status"][Status.OK],
            pending=status[Status.PENDING],
            originals_bytes=self._bytes["size"],
            px512_bytes=self._bytes["px512_size"],
            saved_bytes=self._bytes["saved"],
            statuses=_plain(status),
            reasons={"original": _plain(self._counts["reason"]), "px512": _plain(self._counts["px512_reason"])},
            digest=digest,
        )


def _plain(counter: Counter[str]) -> dict[str, int]:
    return {name: counter[name] for name in sorted(name for name in counter if name is not None)}
