"""Verification that a list of changes names every post whose metadata changed, by the lines of the year before.

Lists are made from two tables of posts, and of the earlier one only its JSON lines are here. They do not tell an empty
value from none, nor whether a line was written of the columns or kept as the source had it: so a difference counts
where it is one whatever the table had. That a post is listed of which nothing changed cannot be found.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from danbooru_pipeline.io.parquet import SortedRows, no_rows, one_chunk
from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.posts.schema import POST_SCHEMA
from danbooru_pipeline.release.change_rows import TELLING, Change
from danbooru_pipeline.release.verify.carried import Carried
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.kept_lines import rows_of_lines
from danbooru_pipeline.release.verify.parquet import batches, schema_of
from danbooru_pipeline.release.verify.removed import blocks_of_lines
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import changes_path, metadata_folder

_ID: Final = "^[1-9][0-9]{0,17}$"
_INTEGER: Final = "0|-?[1-9][0-9]{0,17}"
_NUMBER_OR_NOTHING: Final = "(-?[0-9]+)?"
#: The types of values in lines.
_OF_LINES: Final = pa.schema(
    [("id", pa.string())]
    + [(name, kind if pa.types.is_boolean(kind := POST_SCHEMA.field(name).type) else pa.string()) for name in TELLING]
)
COLUMNS: Final = ("id", *TELLING)
_IDS: Final = pa.schema([("id", pa.int64())])


def check_changed_metadata(run: Verification, posts: Sequence[str], carried: Mapping[int, Carried]) -> None:
    """Check the list of changes from the year before, where its lines are carried as its release recorded them."""
    release = run.release
    if release is None or release.previous is None or not posts:
        return
    year = int(release.previous.name[-4:])
    name = changes_path(f"{release.year}-from-{year}", "parquet")
    lines = _lines_of(run, year, carried.get(year))
    if not lines or not run.is_readable(name):
        return
    with run.reading(Kind.CHANGES_DIFFER, name, "cannot be compared with the metadata"):
        held = [column for column in COLUMNS if column in schema_of(run, posts[0]).names]
        now = (table.select(held) for file in posts for table in batches(run, file, columns=held))
        for id_ in _unlisted(run, lines, now, _listed(run, name)):
            run.add(Kind.CHANGES_DIFFER, name, f"{id_}: {Change.METADATA_CHANGED} is not listed")


def _lines_of(run: Verification, year: int, carried: Carried | None) -> list[str]:
    """The lines of a year's posts; none where one of the files is not the recorded one, as after a takedown."""
    sums = {} if carried is None or carried.sums is None else carried.sums
    pattern = re.compile(rf"{metadata_folder(year)}/posts[0-9]{{12}}\.json")
    names = sorted(name for name in sums if pattern.fullmatch(name))
    are_same = all(run.sums.get(name) == sums[name] and run.is_readable(name) for name in names)
    return names if are_same else []


def _listed(run: Verification, name: str) -> pa.Array:
    tables = (
        table.filter(pc.equal(table["kind"].cast(pa.string()), Change.METADATA_CHANGED)).select(["id"]).cast(_IDS)
        for table in batches(run, name, columns=["id", "kind"])
    )
    return one_chunk(pa.concat_tables([no_rows(_IDS), *tables])["id"])


def _unlisted(run: Verification, lines: Sequence[str], now: Iterator[pa.Table], listed: pa.Array) -> Iterator[int]:
    """Posts that differ from their line, and are not listed."""
    posts = SortedRows(now)
    for block in (block for name in lines for block in blocks_of_lines(run, name)):
        before = typed_lines(block)
        last = pc.max(before.values["id"]).as_py()
        if last is not None and (tables := posts.take_up_to(last)):
            after = pa.concat_tables(tables)
            yield from changed_posts(before, after.filter(pc.invert(pc.is_in(after["id"], listed))))


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of posts.

    Attributes:
        texts: the lines themselves.
        values: what each says, as far as its type is that of lines: `_OF_LINES`, with ids as numbers.
    """

    texts: Sequence[bytes]
    values: pa.Table


def typed_lines(block: bytes) -> Lines:
    """Lines by Arrow at once, or where one holds a value of another type, one by one."""
    texts = [text for text in block.split(b"\n") if text.strip()]
    try:
        found = json.read_json(
            pa.BufferReader(block),
            read_options=json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            parse_options=json.ParseOptions(explicit_schema=_OF_LINES, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        found = None
    if found is None or found.num_rows != len(texts):
        found = pa.Table.from_pylist([_fitting(_object(text)) for text in texts], schema=_OF_LINES)
    ids = pc.if_else(pc.match_substring_regex(found["id"], _ID), found["id"], pa.scalar(None, pa.string()))
    return Lines(texts, found.set_column(0, _IDS.field("id"), ids.cast(pa.int64())))


def changed_posts(before: Lines, after: pa.Table) -> Iterator[int]:
    """Ids of posts that differ from their line, be it written of their columns or the one of the source."""
    places = pc.index_in(after["id"], value_set=one_chunk(before.values["id"]))
    after, places = after.filter(pc.is_valid(places)), places.drop_null()
    differ = _seem_to_differ(before.values.take(places), after)
    texts = [before.texts[place] for place in places.filter(differ).to_pylist()]
    rows = after.filter(differ).to_pylist()
    odd = [(text, row) for text, row in zip(texts, rows, strict=True) if _differs(_object(text), row)]
    read = rows_of_lines([text for text, _ in odd])
    for (_, row), was in zip(odd, read, strict=True):
        if was is None or any(was[name] != value for name, value in row.items()):
            yield row["id"]


def _object(text: bytes) -> Mapping[str, Any]:
    """The object in a line; an empty one where it is none, which another check says."""
    try:
        found = parse(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _fitting(line: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {field.name: bool if pa.types.is_boolean(field.type) else str for field in _OF_LINES}
    return {name: line[name] for name, kind in kinds.items() if isinstance(line.get(name), kind)}


def _seem_to_differ(before: pa.Table, after: pa.Table) -> pa.ChunkedArray:
    """Which posts differ at a glance; an empty value counts as none."""
    found = pa.chunked_array([pa.repeat(pa.scalar(value=False), after.num_rows)])
    for name in after.column_names[1:]:
        old, new = (side[name].cast(_OF_LINES.field(name).type) for side in (before, after))
        none = pa.scalar(value=False) if pa.types.is_boolean(old.type) else pa.scalar("")
        found = pc.or_(found, pc.not_equal(pc.fill_null(old, none), pc.fill_null(new, none)))
    return found


def _differs(line: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether a post differs from its line, whatever the earlier table had if the line was written of its columns."""
    if line.get("id") != str(row["id"]):
        return False
    possible = ((value, _possible(POST_SCHEMA.field(name).type, line.get(name))) for name, value in row.items())
    return any(values is not None and value not in values for value, values in possible)


def _possible(kind: pa.DataType, written: object) -> Collection[object] | None:
    """What a table may have had where its line has a value, or none; None where nobody knows.

    Lines have an empty value for a null, and a number that is out of place as text.
    """
    if pa.types.is_boolean(kind):
        known = {True: (True,), False: (False, None), None: (False, None)}
        return known[written] if written is None or isinstance(written, bool) else None
    if written is None:
        return (None,) if pa.types.is_integer(kind) else (None, "")
    if not isinstance(written, str):
        return None
    if pa.types.is_integer(kind):
        exact = re.fullmatch(_INTEGER, written)
        return (int(written), None if written == "0" else int(written)) if exact else None
    return (written, None) if re.fullmatch(_NUMBER_OR_NOTHING, written) else (written,)
