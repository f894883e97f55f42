"""Verification of what posts keep of their source beside its columns: `raw` and `extra` say what the columns say.

Lines are written from both, so lines and Parquet agree whatever they hold. Nearly no row has a `raw`, so all columns
are read only where one has, or where `extra` names a column of the site.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.fast_json import decode
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.posts.completed import complete_rows, completed
from danbooru_pipeline.posts.record import RejectedRow, parse_record, strings_of
from danbooru_pipeline.posts.schema import OUR_COLUMNS, POST_SCHEMA, SITE_COLUMNS, conform
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, schema_of
from danbooru_pipeline.release.verify.verification import Verification

_ROWS: Final = 4_000
_KEPT: Final = ("extra", "raw")
_LISTS: Final = tuple(name for name in OUR_COLUMNS if name not in _KEPT)
_SITE: Final = frozenset(SITE_COLUMNS)
#: What `parse_record` wants of every record.
_PLACED: Final = {"id": "1", "created_at": "2020-01-01 00:00:00 UTC"}


def check_kept_lines(run: Verification, posts: Sequence[str]) -> None:
    """Check the rows that keep a line, or a value of a column of the site, beside their columns."""
    for name in posts:
        with run.reading(Kind.PARQUET_UNREADABLE, name):
            names = schema_of(run, name).names
            if not set(_KEPT) <= set(names):
                continue  # of before 0.3, or a finding of its schema
            if any(pc.any(_kept(table)).as_py() for table in batches(run, name, columns=_KEPT, rows=_ROWS)):
                held = [column for column in POST_SCHEMA.names if column in names]
                for table in batches(run, name, columns=held, rows=_ROWS):
                    for id_, said in contradictions(conform(table)):
                        run.add(Kind.METADATA_DIFFERS, str(id_), said)


def contradictions(table: pa.Table) -> Iterator[tuple[int, str]]:
    """Ids of rows whose `raw` or `extra` does not go with the columns, and what to say of each."""
    rows = table.filter(_kept(table)).to_pylist()
    with_raw = [row for row in rows if row["raw"] is not None]
    for row, expected in zip(with_raw, rows_of_lines([row["raw"] for row in with_raw]), strict=True):
        if expected is None:
            yield row["id"], "has a raw that is no line of a post"
        elif wrong := _differing(row, expected):
            yield row["id"], f"has another {', '.join(wrong[:5])} in its raw than in its columns"
    for row in rows:
        if row["raw"] is None and (wrong := _misplaced(row)):
            yield row["id"], f"has {', '.join(wrong[:5])} in its extra, which belongs into its columns"


def _kept(table: pa.Table) -> pa.Array:
    """Which rows are to be looked at: those with a `raw`, and those whose `extra` names a column of the site."""
    raw, extra = one_chunk(table["raw"]), one_chunk(table["extra"])
    kept = raw.is_valid()
    if extra.null_count == len(extra):
        return kept
    return pc.or_(kept, pa.array([text is not None and _is_odd(text) for text in extra.to_pylist()], pa.bool_()))


def _is_odd(extra: str) -> bool:
    try:
        members = decode(extra)
    except (ValueError, RecursionError):
        return True
    return not isinstance(members, dict) or not members or not _SITE.isdisjoint(members)


def rows_of_lines(lines: Sequence[str | bytes]) -> list[dict[str, Any] | None]:
    """The row of each line, as every source makes it; None for what is none."""
    rows = [_row_of(line) for line in lines]
    table = pa.Table.from_pylist([row for row in rows if row is not None], schema=POST_SCHEMA)
    made = iter(completed(table, says_banned=False).to_pylist())
    return [None if row is None else next(made) for row in rows]


def _row_of(line: str | bytes) -> dict[str, Any] | None:
    try:
        record = parse(line)
        row = parse_record(record) if isinstance(record, dict) else None
    except ValueError:  # half of a surrogate pair, too, which no row can hold
        return None
    return None if row is None or isinstance(row, RejectedRow) else row


def _differing(row: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """The columns in which a row is not the one of its line. Lists that a line lacks are those of side tables."""
    names = [*SITE_COLUMNS, *(name for name in _LISTS if expected[name] is not None)]
    wrong = [name for name in names if row[name] != expected[name] and not _is_located(name, row, expected)]
    texts = {_canonical(expected["extra"])}
    if row["is_banned"] is None and row["md5"] is not None:  # marked, where other rows of the source say who is banned
        texts.add(_canonical(expected["extra"], is_banned=None))
    return wrong if _canonical(row["extra"]) in texts else [*wrong, "extra"]


def _is_located(name: str, row: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether a value is the address of the row's file, which lines until 2020 did not have."""
    return name == "file_url" and expected[name] is None and expected["tags"] is not None and _has_own_address(row)


def _has_own_address(row: Mapping[str, Any]) -> bool:
    """Whether a row's address follows from its MD5 and extension, in whatever form its source has the latter."""
    md5 = row["md5"] or ""
    _, place, ext = str(row["file_url"]).partition(f"/original/{md5[:2]}/{md5[2:4]}/{md5}.")
    if not md5 or not place:
        return False
    (known,) = complete_rows([{**{name: row[name] for name in _PLACED}, "file_ext": ext}], says_banned=False)
    return bool(known["file_ext"] == row["file_ext"])


def _canonical(extra: str | None, **more: None) -> str:
    """An `extra` in one form, with more members; what is no JSON stays as it is."""
    try:
        return json.dumps({**more, **parse(extra or "{}")}, sort_keys=True)
    except (ValueError, TypeError):
        return str(extra)


def _misplaced(row: Mapping[str, Any]) -> list[str]:
    """The names in a row's `extra` that no source leaves there: the column has a value of its own, or would take it."""
    try:
        members = parse(row["extra"])
    except ValueError:
        members = None
    if not isinstance(members, dict) or not members:
        return ["something else than members"]
    of_site = {name: value for name, value in members.items() if name in _SITE}
    made = parse_record({**_PLACED, **of_site})
    left = decode(made["extra"] or "{}") if not isinstance(made, RejectedRow) else {}
    if "is_banned" in of_site and of_site["is_banned"] is None:
        left |= {"is_banned": None}
    made_anew = _made_from_tags(row)
    return sorted(name for name in of_site if name not in left or (row[name] is not None and name not in made_anew))


def _made_from_tags(row: Mapping[str, Any]) -> set[str]:
    """The columns that a record until 2020 fills whatever it says of them itself, which stays in `extra`."""
    if row["tags"] is None:
        return set()
    names = {name for name, value in strings_of(row["tags"]).items() if row[name] == value}
    return names | {"file_url"} if _has_own_address(row) else names
