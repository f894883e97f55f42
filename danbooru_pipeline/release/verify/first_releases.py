"""Verification of `first_release`, by the manifests of earlier years that are carried."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.release.manifest.first_release import COLUMNS, FirstReleases
from danbooru_pipeline.release.release_json import CONTENT
from danbooru_pipeline.release.verify.carried import Carried
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches
from danbooru_pipeline.release.verify.verification import Verification


def check_first_releases(run: Verification, manifest: Sequence[str], carried: Mapping[int, Carried]) -> None:
    """Check that a post that a carried manifest has says the same, and one that none has names no such year.

    Until 0.2 rows had what the ledger said, which may be something else. A year that is not carried cannot be checked.
    """
    if not run.published or CONTENT not in run.sums:
        return
    with run.reading(Kind.CARRIED_DIFFER, "earlier"):
        releases = FirstReleases({year: _rows(run, each.files) for year, each in carried.items()})
        for table in _rows(run, manifest):
            if table.num_rows:
                _check(run, releases, table)


def _check(run: Verification, releases: FirstReleases, table: pa.Table) -> None:
    said, known = table["first_release"], releases.known(table["id"])
    wrong = pc.if_else(pc.is_valid(known), pc.not_equal(said, known), releases.is_carried(said))
    columns = (table["id"], said, known)
    for id_, first, was in zip(*(column.filter(wrong).to_pylist() for column in columns), strict=True):
        why = "the manifest of that year has no such post" if was is None else f"an earlier manifest says {was}"
        run.add(Kind.MANIFEST_ROW, str(id_), f"was first held by {first}, but {why}")


def _rows(run: Verification, names: Iterable[str]) -> Iterator[pa.Table]:
    return (table for name in names for table in batches(run, name, columns=COLUMNS))
