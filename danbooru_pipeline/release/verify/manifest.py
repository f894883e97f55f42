"""Verification of the manifest: its shards, its rows, and the numbers of RELEASE.json that follow from it."""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import (
    BUCKET_COUNT,
    BUCKETS,
    RELEASE_JSON,
    STORED_EXTENSIONS,
    bucket_of,
    px512_path,
    release_name,
)
from danbooru_pipeline.outcomes import Reason, Status, status_of
from danbooru_pipeline.posts.tags import TagCounter
from danbooru_pipeline.release.manifest.row import MANIFEST_ADDED, MANIFEST_SCHEMA
from danbooru_pipeline.release.manifest.summary import ManifestSummary
from danbooru_pipeline.release.release_json import Release, instant_text
from danbooru_pipeline.release.verify.checksums import READ_ERRORS, is_plain_file, is_safe
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.years import cutoff, sfw_ratings

_SHARD = re.compile(r"([a-z][a-z0-9_]*)-(\d{5})-of-(\d{5})\.parquet")
_ORIGINAL = re.compile(r"original/(\d{4})/([1-9]\d*)\.([a-z0-9]+)")
_ROW_COLUMNS = (
    *("id", "bucket", "rating", "status", "reason", "path", "size", "sha256"),
    *("px512_status", "px512_reason", "px512_path", "px512_size", "px512_sha256"),
)


def shards(folder: Path, part: str, table: str) -> list[Path] | None:
    """Files of a table below ``manifest/`` or ``parquet/``, in order; None when they are not complete."""
    names = sorted(path.name for path in (folder / part).glob(f"{table}-*.parquet"))
    matches = [match for name in names if (match := _SHARD.fullmatch(name))]
    expected = [f"{table}-{n:05d}-of-{len(names):05d}.parquet" for n in range(len(names))]
    if not names or len(matches) != len(names) or names != expected:
        return None
    files = [folder / part / name for name in names]
    return files if all(map(is_plain_file, files)) else None


def readable_shards(run: Verification, part: str, table: str) -> Sequence[Path] | None:
    """The same, with a finding if they cannot be read: an altered file is never given to a reader of binary formats."""
    kind = Kind.MANIFEST_UNREADABLE if part == "manifest" else Kind.PARQUET_UNREADABLE
    files = shards(run.folder, part, table)
    if files is None:
        run.add(kind, f"{part}/{table}-*.parquet", "the files are not complete")
        return None
    wrong = [name for name in map(run.name_of, files) if name in run.altered]
    for name in wrong:
        run.add(kind, name, "is altered, and was not read")
    return None if wrong else files


def manifest_batches(run: Verification) -> Iterator[pa.Table | None]:
    """The manifest's rows, some at a time; None when a part cannot be read, which ends it."""
    files = readable_shards(run, "manifest", "files")
    if files is None:
        yield None
        return
    last = 0
    for file in files:
        try:
            for table in read_batches(file):
                rows = _conformed(table)
                last = _last_id(rows, after=last)
                yield rows
        except READ_ERRORS as error:
            run.add(Kind.MANIFEST_UNREADABLE, run.name_of(file), f"cannot be read: {error}")
            yield None
            return


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
    ids = np.concatenate([[after], table["id"].to_numpy()])
    if table["id"].null_count or not bool(np.all(ids[1:] > ids[:-1])):
        raise ValueError("the ids do not ascend")
    return int(ids[-1])


def check_rows(run: Verification, table: pa.Table) -> None:
    """Check each row by itself."""
    sfw = frozenset(run.release.sfw_ratings) if run.release else None
    doubtful = table.filter(pc.invert(_surely_right(table, sfw)))
    columns = [doubtful[name].to_pylist() for name in _ROW_COLUMNS]
    for values in zip(*columns, strict=True):
        row = dict(zip(_ROW_COLUMNS, values, strict=True))
        for kind, message in _row_findings(row, sfw):
            run.add(kind, str(row["id"]), message)


def _surely_right(table: pa.Table, sfw: frozenset[str] | None) -> pa.ChunkedArray:
    """Which rows `_row_findings` would accept, all at once and in a tenth of the time; false in doubt."""
    ids = table["id"].combine_chunks()
    buckets = pa.array(BUCKETS).take(pa.array(ids.to_numpy() % BUCKET_COUNT))
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


def count_tags(run: Verification) -> TagCounter | None:
    """Tags of the posts; None when they cannot be read, which `check_posts` reports."""
    files = shards(run.folder, "parquet", "posts")
    if files is None or any(run.name_of(file) in run.altered for file in files):
        return None
    tags = TagCounter()
    for file in files:
        try:
            for table in read_batches(file, columns=("tag_string",)):
                tags.add(table["tag_string"])
        except READ_ERRORS as error:
            run.add(Kind.PARQUET_UNREADABLE, run.name_of(file), f"cannot be read: {error}")
            return None
    return tags


def check_numbers(run: Verification, numbers: ManifestSummary) -> None:
    """Check the numbers of RELEASE.json against the manifest and the posts."""
    tags = count_tags(run)
    if run.release is None:
        return
    for name, (said, counted) in _numbers(run.release, numbers, tags).items():
        if said != counted:
            run.add(Kind.RELEASE_NUMBERS, RELEASE_JSON, f"{name} is {said}, and should be {counted}")


def _numbers(release: Release, numbers: ManifestSummary, tags: TagCounter | None) -> dict[str, tuple[object, object]]:
    year = release.year if 1 <= release.year <= 9999 else 1
    compared: dict[str, tuple[object, object]] = {
        "name": (release.name, release_name(year)),
        "year in version": (release.version.partition(".")[0], str(year)),
        "cutoff": (release.cutoff, instant_text(cutoff(year))),
        "sfw_ratings": (release.sfw_ratings, list(sfw_ratings(year))),
        "last_id": (release.last_id, numbers.last_id),
        "counts.posts": (release.counts.posts, numbers.posts),
        "counts.originals": (release.counts.originals, numbers.originals),
        "counts.px512": (release.counts.px512, numbers.px512),
        "counts.pending": (release.counts.pending, numbers.pending),
        "bytes.originals": (release.bytes.originals, numbers.originals_bytes),
        "bytes.px512": (release.bytes.px512, numbers.px512_bytes),
        "bytes.saved": (release.bytes.saved, numbers.saved_bytes),
        "reasons": (release.reasons, numbers.reasons),
    }
    if tags is not None:
        compared["counts.tags"] = (release.counts.tags, tags.tags)
        compared["counts.tag_instances"] = (release.counts.tag_instances, tags.instances)
    return compared
