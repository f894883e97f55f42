"""Verification of the table of duplicates: its rows are what the release's own posts and manifest say.

By default every listed pair is described again. With ``full`` the search is repeated, so a pair that was left out is
found as well; at 5 M posts that takes a minute of a core. A tree that becomes a release was searched a moment ago.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.release.tables.duplicates.find import describe_pairs, find_duplicates
from danbooru_pipeline.release.tables.duplicates.pictures import PIXEL_HASH, Tables
from danbooru_pipeline.release.tables.duplicates.rules import DUPLICATES_SCHEMA
from danbooru_pipeline.release.tables.duplicates.write import TABLE, count_duplicates
from danbooru_pipeline.release.verify.domains import DOMAINS, strange_values
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, readable_shards, schema_of, tables_in
from danbooru_pipeline.release.verify.schemas import check_columns
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import RELEASE_JSON

_WHERE = f"parquet/{TABLE}-*.parquet"
_KEYS = ("a", "b")
_COLUMNS = tuple(DUPLICATES_SCHEMA.names)


def check_duplicates(run: Verification, posts: Sequence[str], manifest: Sequence[str]) -> None:
    """Check the table against posts and manifest, which agree with each other; releases before it have none."""
    names = _names(run, manifest)
    if names is None or not check_columns(run, names, DUPLICATES_SCHEMA):
        return
    if not _are_hashes(run, manifest):  # each that is none is a finding of the manifest
        run.found.unchecked.append(f"{_WHERE} was not compared: the manifest has a pixel hash that is none")
        return
    with run.reading(Kind.PARQUET_UNREADABLE, _WHERE):
        rows = (table.cast(DUPLICATES_SCHEMA) for name in names for table in batches(run, name, columns=_COLUMNS))
        listed = pa.concat_tables([no_rows(DUPLICATES_SCHEMA), *rows])
        _check_rows(run, Tables(partial(_rows, run, posts), partial(_rows, run, manifest)), listed)
        _check_counts(run, listed)


def _names(run: Verification, manifest: Sequence[str]) -> Sequence[str] | None:
    """The files of the table; None, perhaps with a finding, when they cannot be read."""
    if TABLE in tables_in(run, "parquet"):
        return readable_shards(run, "parquet", TABLE)
    if any("px512_dhash" in schema_of(run, name).names for name in manifest):
        run.add(Kind.DUPLICATES_DIFFER, _WHERE, "is missing, but the manifest has the hashes that it is made from")
    return None


def _are_hashes(run: Verification, manifest: Sequence[str]) -> bool:
    """Whether the pixel hashes of the manifest are some, of which alone a table of duplicates can be made."""
    names = [name for name in manifest if PIXEL_HASH in schema_of(run, name).names]
    strange = (strange_values(table[PIXEL_HASH], DOMAINS[PIXEL_HASH]) for table in _rows(run, names, [PIXEL_HASH]))
    return not any(pc.any(rows).as_py() for rows in strange)


def _rows(run: Verification, names: Sequence[str], columns: Sequence[str]) -> Iterator[pa.Table]:
    for name in names:
        yield from batches(run, name, columns=columns)


def _check_rows(run: Verification, tables: Tables, listed: pa.Table) -> None:
    if run.full and run.published:
        _compare(run, listed, find_duplicates(tables))
        return
    add = partial(run.add, Kind.DUPLICATES_DIFFER)
    a, b = (listed[name].to_numpy() for name in _KEYS)
    if bool(np.any(a >= b)) or bool(np.any((a[1:] < a[:-1]) | ((a[1:] == a[:-1]) & (b[1:] <= b[:-1])))):
        add(_WHERE, "is not sorted by its pairs, or has one twice, or a post as its own duplicate")
        return
    ids = tables.ids()
    is_known = np.isin(a, ids) & np.isin(b, ids)
    for pair in zip(a[~is_known].tolist(), b[~is_known].tolist(), strict=True):
        add(_name(pair), "has a post that is not in the manifest")
    known = listed.filter(pa.array(is_known))
    pairs = np.searchsorted(ids, np.stack([a[is_known], b[is_known]]))
    _compare(run, known, describe_pairs(tables, pairs, is_akin=known["unlinked"].to_numpy()))


def _compare(run: Verification, listed: pa.Table, expected: pa.Table) -> None:
    """Name the pairs that differ between what is listed and what should be."""
    if listed.equals(expected):
        return
    ours, theirs = (_by_pair(table) for table in (listed, expected))
    wrong = sorted(pair for pair in ours.keys() | theirs.keys() if ours.get(pair) != theirs.get(pair))
    for pair in wrong:
        said = "is no duplicate" if pair not in theirs else "is missing" if pair not in ours else "has other values"
        run.add(Kind.DUPLICATES_DIFFER, _name(pair), f"{said}, by the posts and the manifest")
    if not wrong:
        run.add(Kind.DUPLICATES_DIFFER, _WHERE, "is not sorted by its pairs, or has one twice")


def _by_pair(table: pa.Table) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["a"], row["b"]): row for row in table.to_pylist()}


def _name(pair: tuple[int, int]) -> str:
    return "{} and {}".format(*pair)


def _check_counts(run: Verification, listed: pa.Table) -> None:
    if run.release is not None and run.release.duplicates != (counted := count_duplicates(listed)):
        run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"duplicates is {run.release.duplicates}, and should be {counted}")
