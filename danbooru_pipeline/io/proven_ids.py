"""Ids of a table that somebody else made, held against its footer: a reader skips row groups by what that says."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.bounded_parquet import extents, read_untrusted, schema_of


def proven_ids(root: Path, name: str) -> Iterator[int]:
    """Ids on the way to the last one, in a table that is sorted by them; the largest of some ten thousand in any other.

    Raises:
        ValueError: the footer says other ids than there are, or a row has no id, or one of another type.
        Exception: as `read_untrusted`.
    """
    if schema_of(root, name).field("id").type != pa.int64():
        raise ValueError("has ids of another type")
    for number, (said,) in enumerate(extents(root, name, ["id"])):
        for table in read_untrusted(root, name, columns=["id"], groups=[number]):
            if table["id"].null_count:
                raise ValueError("has a row without an id")
            first, last = (value.as_py() for value in pc.min_max(table["id"]).values())
            if said is not None and not said[0] <= first <= last <= said[1]:
                raise ValueError("has other ids than its footer says")
            yield last
