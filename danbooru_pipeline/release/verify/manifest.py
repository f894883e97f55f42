"""Verification of the manifest: that it can be read, and each of its rows by itself."""

import functools
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.layout import BUCKET_COUNT, BUCKETS, STORED_EXTENSIONS, bucket_of, px512_path
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.release.checksums import is_safe
from danbooru_pipeline.release.manifest.row import MANIFEST_ADDED, MANIFEST_SCHEMA
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import batches, readable_shards
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.years import FIRST_YEAR_WITH_POSTS

_ORIGINAL = re.compile(r"original/(\d{4})/([1-9]\d*)\.([a-z0-9]+)")
#: Columns that say whether two others are equal.
_MATCHES = (
    ("source_md5_matches", "fetched_md5", "source_md5"),
    ("pixel_hash_matches", "pixel_hash", "source_pixel_hash"),
)
_LAST_YEAR = 9999
_ROW_COLUMNS = (
    *("id", "bucket", "rating", "status", "reason", "path", "size", "sha256"),
    *("px512_status", "px512_reason", "px512_path", "px512_size", "px512_sha256"),
)


def manifest_batches(run: Verification) -> Iterator[pa.Table | None]:
    """The manifest's rows, some at a time; None when a part cannot be read, which ends it."""
    files = readable_shards(run, "manifest", "files")
    if files is None:
        yield None
        return
    last = 0
    for name in files:
        rows = _read(run, name)
        while True:
            table = None
            with run.reading(Kind.MANIFEST_UNREADABLE, name):
                read = next(rows, _END)
                last = _last_id(read, after=last)
                table = read
            if table is None:
                yield None
                return
            if table is _END:
                break
            yield table


#: What follows the last rows of a file.
_END = no_rows(MANIFEST_SCHEMA)


def _read(run: Verification, name: str) -> Iterator[pa.Table]:
    return (_conformed(table) for table in batches(run, name))


def _conformed(table: pa.Table) -> pa.Table:
    """Rows with all columns of a manifest; those that an earlier version did not know are null.

    Raises:
        KeyError: another one is missing.
    """
    for name in MANIFEST_ADDED:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, MANIFEST_SCHEMA.field(name).type))
    return table.select(MANIFEST_SCHEMA.names).cast(MANIFEST_SCHEMA)


def _last_id(table: pa.Table, *, after: int) -> int:
    """The last id of some rows.

    Raises:
        ValueError: the ids do not ascend from `after`.
    """
    if not table.num_rows:
        return after
    ids = table["id"].combine_chunks()
    if ids.null_count or ids[0].as_py() <= after or pc.all(pc.less(ids[:-1], ids[1:])).as_py() is False:
        raise ValueError("the ids do not ascend")
    last: int = ids[-1].as_py()
    return last


def check_rows(run: Verification, table: pa.Table) -> None:
    """Check each row by itself."""
    sfw = frozenset(run.release.sfw_ratings) if run.release else None
    doubtful = table.filter(pc.invert(_surely_right(table, sfw)))
    columns = [doubtful[name].to_pylist() for name in _ROW_COLUMNS]
    for values in zip(*columns, strict=True):
        row = dict(zip(_ROW_COLUMNS, values, strict=True))
        for kind, message in _row_findings(row, sfw):
            run.add(kind, str(row["id"]), message)
    for message, wrong in _contradictions(table, run.release.year if run.release else _LAST_YEAR):
        for id_ in table.filter(pc.fill_null(wrong, False))["id"].to_pylist():  # noqa: FBT003 - a value, not a switch
            run.add(Kind.MANIFEST_ROW, str(id_), message)


def _contradictions(table: pa.Table, year: int) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """What to say of rows of which two columns contradict each other, and which rows those are."""
    for said, ours, theirs in _MATCHES:
        equal = pc.equal(table[ours], table[theirs])
        # Where one of the two is not known, some versions say that they differ, and some say nothing.
        lacking = pc.and_(pc.is_valid(equal), pc.is_null(table[said]))
        made_up = pc.and_kleene(pc.is_null(equal), table[said])
        wrong = pc.or_kleene(pc.or_kleene(lacking, made_up), pc.not_equal(equal, table[said]))
        yield f"{said} does not follow from {ours} and {theirs}", wrong
    yield from _odd_optimization(table)
    first = table["first_release"]
    yield "was first held by a later release", pc.greater(first, pa.scalar(min(year, _LAST_YEAR), pa.int16()))
    yield "was first held before there were posts", pc.less(first, FIRST_YEAR_WITH_POSTS)


def _odd_optimization(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The same of rows whose file is smaller than its source, or says why it is not."""
    optimized = table["optimized"]
    is_other = pc.not_equal(table["size"], table["source_size"])  # null where nobody knows the source: proven by pixels
    named = pc.or_kleene(pc.is_valid(table["optimized_by"]), is_other)
    yield (
        "is not optimized, but has what made it smaller, or another size",
        pc.and_kleene(pc.invert(optimized), named),
    )
    unlike = pc.or_kleene(pc.invert(is_other), pc.is_valid(table["kept"]))
    yield "is optimized, but has the size of its source, or why that was kept", pc.and_kleene(optimized, unlike)
    yield "does not say whether its file is optimized", pc.and_(pc.is_valid(table["path"]), pc.is_null(optimized))


def _surely_right(table: pa.Table, sfw: frozenset[str] | None) -> pa.ChunkedArray:
    """Which rows `_row_findings` would accept, all at once and in a tenth of the time; false in doubt."""
    ids = table["id"].combine_chunks()
    buckets = pa.array(BUCKETS).take(pc.subtract(ids, pc.multiply(pc.divide(ids, BUCKET_COUNT), BUCKET_COUNT)))
    names = pc.binary_join_element_wise(buckets, ids.cast(pa.string()), "/")
    paths = table["path"].cast(pa.string())
    stems = pc.replace_substring_regex(paths, r"\.[a-z0-9]+$", "")
    extensions = pc.replace_substring_regex(paths, r"^.*\.", "")
    small = table["px512_path"].cast(pa.string())
    tests = [
        pc.equal(table["bucket"].cast(pa.string()), buckets),
        _outcome_fits(table, ""),
        _outcome_fits(table, "px512_"),
        pc.or_kleene(pc.is_null(paths), pc.equal(stems, pc.binary_join_element_wise("original", names, "/"))),
        pc.or_kleene(pc.is_null(paths), pc.is_in(extensions, pa.array(sorted(STORED_EXTENSIONS)))),
        pc.or_kleene(pc.is_null(small), pc.equal(small, pc.binary_join_element_wise("512px/", names, ".jpg", ""))),
    ]
    if sfw is not None:
        is_sfw = pc.is_in(table["rating"].cast(pa.string()), pa.array(sorted(sfw), pa.string()))
        tests.append(pc.or_(pc.is_null(small), is_sfw))
    return pc.fill_null(functools.reduce(pc.and_kleene, tests), False)  # noqa: FBT003 - a value, not a switch


def _outcome_fits(table: pa.Table, prefix: str) -> pa.ChunkedArray:
    """Whether status and reason go together, and path, size and SHA-256 are there if and only if the status is ok."""
    status, reason = (table[f"{prefix}{name}"].cast(pa.string()) for name in ("status", "reason"))
    pairs = [f"{status_of(known)} {known or ''}" for known in (None, *Reason)]
    fits = pc.is_in(pc.binary_join_element_wise(status, pc.fill_null(reason, ""), " "), pa.array(pairs))
    described = [
        pc.equal(pc.is_valid(table[f"{prefix}{name}"]), pc.equal(status, Status.OK))
        for name in ("path", "size", "sha256")
    ]
    return functools.reduce(pc.and_kleene, [fits, *described])


def _row_findings(row: dict[str, Any], sfw: frozenset[str] | None) -> Iterator[tuple[Kind, str]]:
    if row["bucket"] != bucket_of(row["id"]):
        yield Kind.WRONG_BUCKET, f"the manifest puts it in bucket {row['bucket']}"
    yield from _outcome_findings(row, "")
    yield from _outcome_findings(row, "px512_")
    if row["path"] is not None and (wrong := _path_finding(row["id"], row["path"])):
        yield wrong
    if row["px512_path"] not in {None, px512_path(row["id"])}:
        kind = Kind.MANIFEST_ROW if is_safe(row["px512_path"]) else Kind.UNSAFE_PATH
        yield kind, f"the manifest names the 512px image {row['px512_path']}"
    if row["px512_path"] is not None and sfw is not None and row["rating"] not in sfw:
        yield Kind.NOT_SFW, f"has a 512px image, but the rating {row['rating']}"


def _outcome_findings(row: dict[str, Any], prefix: str) -> Iterator[tuple[Kind, str]]:
    """Status and reason must go together, and a file must be described if and only if there is one."""
    status, reason = row[f"{prefix}status"], row[f"{prefix}reason"]
    try:
        fits = status_of(Reason(reason) if reason is not None else None) == status
    except ValueError:
        fits = False
    if not fits:
        yield Kind.MANIFEST_ROW, f"the {prefix}status {status} does not go with the reason {reason}"
    facts = [row[f"{prefix}{name}"] is not None for name in ("path", "size", "sha256")]
    if any(facts) != all(facts) or all(facts) != (status == Status.OK):
        yield Kind.MANIFEST_ROW, f"the {prefix}status {status} does not go with its path, size and SHA-256"


def _path_finding(post_id: int, path: str) -> tuple[Kind, str] | None:
    match = _ORIGINAL.fullmatch(path)
    if match is None or match[3] not in STORED_EXTENSIONS or int(match[2]) != post_id:
        kind = Kind.MANIFEST_ROW if is_safe(path) else Kind.UNSAFE_PATH
        return kind, f"the manifest names the file {path}"
    if match[1] != bucket_of(post_id):
        return Kind.WRONG_BUCKET, f"the manifest names the file {path}"
    return None
