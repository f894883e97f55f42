"""Predictions of a model of pictures: any tagger's Parquet with `id`, `tag` and `p`, or the site's own table `ai_tags`.

Sorted by id, a range of posts is read without the rest.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from danbooru_pipeline.errors import ReleaseError

_COLUMNS: Final[Mapping[str, Callable[[pa.DataType], bool]]] = {
    "id": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    "tag": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
    "p": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
}


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
            ReleaseError: it cannot be read, lacks a column, or has one of another type.
        """
        with self._damage_named():
            schema = self._data().schema
        if missing := [name for name in _COLUMNS if name not in schema.names]:
            raise ReleaseError(f"{self.path} has no column {missing[0]}; give a Parquet file of id, tag and p")
        for name, fits in _COLUMNS.items():
            kind = schema.field(name).type
            if not fits(kind.value_type if pa.types.is_dictionary(kind) else kind):
                raise ReleaseError(f"{self.path} has {name} as {kind}; give numbers as id and p, and texts as tag")

    def of(self, first: int, last: int) -> Iterator[tuple[int, str, float]]:
        """Post, tag and probability of a range of posts; what is no probability, or of no tag, is left out.

        Raises:
            ReleaseError: it cannot be read.
        """
        where = (pc.field("id") >= first) & (pc.field("id") <= last)
        with self._damage_named():
            table = self._data().to_table(columns=list(_COLUMNS), filter=where)
            p = table["p"].cast(pa.float64())
            is_one = pc.and_(pc.greater_equal(p, 0), pc.less_equal(p, 1))
            table = table.filter(pc.and_(is_one, table["tag"].is_valid()))
            rows = [table[name].to_pylist() for name in _COLUMNS]
        yield from zip(*rows, strict=True)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            said = str(error).partition("\n")[0]
            raise ReleaseError(f"{self.path} cannot be read ({said}); give a Parquet file of id, tag and p") from error

    def _data(self) -> ds.Dataset:
        return ds.dataset(str(self.path), format="parquet")
