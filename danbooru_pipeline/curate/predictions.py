"""Predictions of a model of pictures: any tagger's Parquet with `id`, `tag` and `p`, or the site's own table `ai_tags`.

Sorted by id, a range of posts is read without the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from danbooru_pipeline.errors import ReleaseError

_COLUMNS = ("id", "tag", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """A file of predictions.

    Attributes:
        path: of the Parquet file.
        label: what made it, in words.
        signal: ``picture``, or ``site`` for the site's own.
    """

    path: Path
    label: str
    signal: str = "picture"

    def check(self) -> None:
        """Refuse a file that is no predictions.

        Raises:
            ReleaseError: it cannot be read, or lacks a column.
        """
        try:
            schema = self._data().schema
        except (OSError, pa.ArrowException) as error:
            said = str(error).partition("\n")[0]
            raise ReleaseError(f"{self.path} cannot be read ({said}); give a Parquet file of id, tag and p") from error
        if missing := [name for name in _COLUMNS if name not in schema.names]:
            raise ReleaseError(f"{self.path} has no column {missing[0]}; give a Parquet file of id, tag and p")

    def of(self, first: int, last: int) -> Iterator[tuple[int, str, float]]:
        """Post, tag and probability of a range of posts; what is no probability is left out."""
        where = (pc.field("id") >= first) & (pc.field("id") <= last)
        table = self._data().to_table(columns=list(_COLUMNS), filter=where)
        p = table["p"].cast(pa.float64())
        table = table.filter(pc.and_(pc.greater_equal(p, 0), pc.less_equal(p, 1)))
        yield from zip(*(table[name].to_pylist() for name in _COLUMNS), strict=True)

    def _data(self) -> ds.Dataset:
        return ds.dataset(str(self.path), format="parquet")
