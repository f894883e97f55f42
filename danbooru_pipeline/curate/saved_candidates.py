"""The candidates of a release as `curate candidates` wrote them."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.errors import ReleaseError


def saved_candidates(
    folder: CurationFolder, year: int, *, columns: list[str] | None = None, tags: Collection[str] | None = None
) -> pa.Table:
    """The candidates of a year.

    Args:
        folder: where they are.
        year: of the release.
        columns: to read; default all.
        tags: to read those of; default all.

    Raises:
        ReleaseError: there are none yet, or they cannot be read.
    """
    path = folder.candidates(year)
    remedy = f"run danbooru-pipeline curate candidates {year}"
    try:
        return pq.read_table(path, columns=columns, filters=None if tags is None else [("tag", "in", list(tags))])
    except FileNotFoundError:
        raise ReleaseError(f"there is no {path}; {remedy} first") from None
    except (OSError, pa.ArrowException) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); {remedy} again") from error


def likely_posts(folder: CurationFolder, year: int, tags: Collection[str]) -> dict[str, dict[int, float]]:
    """Tag -> post that may lack it -> how likely that is.

    Raises:
        ReleaseError: as `saved_candidates`.
    """
    found: dict[str, dict[int, float]] = {}
    for row in saved_candidates(folder, year, columns=["id", "tag", "sign", "p"], tags=tags).to_pylist():
        if row["sign"] == "+":
            found.setdefault(row["tag"], {})[row["id"]] = row["p"]
    return found
