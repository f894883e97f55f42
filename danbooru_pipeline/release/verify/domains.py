"""Verification of what the manifest says of files: each value is one that a version writes, and fits its own row.

The values are declared with the columns (`store.columns.Domain`); here they are compared by columns, never row by row.
"""

import functools
from collections.abc import Collection, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.images.signature import IMAGE_TYPES
from danbooru_pipeline.images.words import WITHOUT_PX512, Flag
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.release.manifest.row import MANIFEST_COLUMNS
from danbooru_pipeline.release.verify.findings import KEPT_PER_KIND, Kind
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.store.columns import ORIGINAL_FACTS, PX512_FACTS, Domain

#: Column -> the values that it may have.
DOMAINS: Final = {column.name: column.fact.domain for column in MANIFEST_COLUMNS if column.fact.domain is not None}
#: With the rows' statuses, `manifest` checks that these are there if and only if the file is.
_CHECKED: Final = frozenset({"size", "sha256", "px512_size", "px512_sha256"})
#: What a row has of its file, and what says that there is one.
_DESCRIBED: Final = (
    ("path", "file", [name for name in ORIGINAL_FACTS if name not in _CHECKED]),
    ("px512_path", "512px image", [name for name in PX512_FACTS if name not in _CHECKED]),
)
_HASHES: Final = ("px512_dhash", "px512_phash")
#: From these rules on (`px512_rules` in RELEASE.json), every 512px image has its perceptual hashes.
_HASHED_RULES: Final = 6
#: Extension -> the type that a file of that name has, where it is not the same word.
_TYPE_OF: Final = {"jpeg": "jpg", ARCHIVE_EXTENSION: "jpg"}


class DomainChecks:
    """Checks the manifest's rows, some at a time."""

    def __init__(self, run: Verification) -> None:
        """Check the manifest of a release, or of a tree that becomes one."""
        self._run = run
        settings = run.release.image_settings if run.release else None
        rules = (settings or {}).get("px512_rules")
        # Releases of before 0.3 have none, nor has what a takedown made of them since: then no row has one.
        self._is_hashed = isinstance(rules, int) and rules >= _HASHED_RULES
        self._names_optimizers = self._is_hashed
        self._unhashed: list[int] = []

    def add(self, table: pa.Table) -> None:
        """Check some rows."""
        for said, wrong in _contradictions(table):
            for id_ in table.filter(pc.fill_null(wrong, fill_value=False))["id"].to_pylist():
                self._run.add(Kind.MANIFEST_ROW, str(id_), said)
        self._check_optimizers(table)
        self._check_hashes(table)

    def _check_optimizers(self, table: pa.Table) -> None:
        """Check that every smaller file of a known source says what made it so, if any of the manifest does.

        Releases by these rules have files of 0.2 and later alone, and each of those versions has written it.
        """
        by = pc.is_valid(table["optimized_by"])
        self._names_optimizers |= pc.any(by).as_py() is True
        if self._names_optimizers:
            silent = pc.and_(pc.is_valid(table["source_size"]), pc.invert(by))
            for id_ in table.filter(pc.and_kleene(table["optimized"], silent))["id"].to_pylist():
                self._run.add(Kind.MANIFEST_ROW, str(id_), "is optimized, but does not say by what")

    def _check_hashes(self, table: pa.Table) -> None:
        """Check that the 512px images have their hashes, from the first on that has one."""
        there = [pc.is_valid(table[name]) for name in _HASHES]
        lacking = pc.and_(pc.is_valid(table["px512_path"]), pc.invert(pc.and_(*there)))
        self._is_hashed |= pc.any(pc.or_(*there)).as_py() is True
        ids = table["id"].filter(lacking)
        self._unhashed += ids.slice(0, max(0, KEPT_PER_KIND - len(self._unhashed))).to_pylist()
        if self._is_hashed:
            for id_ in self._unhashed:
                self._run.add(Kind.MANIFEST_ROW, str(id_), "has a 512px image without its perceptual hashes")
            self._unhashed.clear()


def strange_values(column: pa.ChunkedArray, domain: Domain) -> pa.ChunkedArray:
    """Which rows have a value that no version writes there; null or false for all others."""
    if pa.types.is_list(column.type):
        return _of_lists(column, domain)
    tests = []
    if domain.words is not None:
        known = pc.is_in(column.cast(pa.string()), pa.array(sorted(domain.words), pa.string()))
        tests.append(pc.and_(pc.is_valid(column), pc.invert(known)))
    if domain.form is not None:
        tests.append(pc.invert(pc.match_substring_regex(column.cast(pa.string()), f"^(?:{domain.form})$")))
    if domain.least is not None:
        tests.append(pc.less(column, domain.least))
    if domain.most is not None:
        tests.append(pc.greater(column, domain.most))
    return functools.reduce(pc.or_kleene, tests)


def _of_lists(column: pa.ChunkedArray, domain: Domain) -> pa.ChunkedArray:
    """Which rows have such an item in their list, or one twice."""
    lists = one_chunk(column)
    rows, items = pc.list_parent_indices(lists), pc.list_flatten(lists)
    strange = pc.or_kleene(strange_values(items, domain), pc.is_null(items))
    pairs = pa.table({"row": rows, "item": items})
    twice = pairs.group_by(["row", "item"]).aggregate([([], "count_all")])
    doubled = one_chunk(twice.filter(pc.greater(twice["count_all"], 1))["row"])
    return _rows_in(len(lists), pa.concat_arrays([rows.filter(strange), doubled]))


def _contradictions(table: pa.Table) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """What to say of rows whose values are none, or do not go together, and which rows those are."""
    for name, domain in DOMAINS.items():
        strange = strange_values(table[name], domain)
        if pa.types.is_list(table.schema.field(name).type):  # an empty one says that there is nothing
            strange = pc.or_(strange, pc.is_null(table[name]))
        yield f"{name} has a value that no version writes", strange
    for path, what, names in _DESCRIBED:
        absent = pc.is_null(table[path])
        for name in names:
            yield f"has {name}, but no {what}", pc.and_(absent, _is_said(table[name]))
    yield (
        "has a 512px image without its background",
        pc.and_(pc.is_valid(table["px512_path"]), pc.is_null(table["px512_background"])),
    )
    yield "has a 512px image, but its file is no still and whole picture", _is_no_picture(table)
    yield f"{Flag.WRONG_EXTENSION} in flags does not follow from file_type and path", _extension_differs(table)
    space, alpha, turn, profile = (
        pc.is_valid(table[name]) for name in ("color_space", "alpha", "orientation", "has_profile")
    )
    is_bmp = pc.fill_null(pc.equal(table["file_type"], "bmp"), fill_value=False)  # whose transparency is not looked at
    unread = pc.and_(pc.invert(space), pc.or_(alpha, turn))
    partly = pc.and_(pc.and_(space, pc.invert(alpha)), pc.invert(is_bmp))
    yield "color_space, alpha and orientation do not go together", pc.or_(unread, partly)
    yield "has color_space, but does not say whether it has_profile", pc.and_(space, pc.invert(profile))


def _is_said(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_list(column.type):
        return pc.fill_null(pc.greater(pc.list_value_length(column), 0), fill_value=False)
    return pc.is_valid(column)


def _is_no_picture(table: pa.Table) -> pa.ChunkedArray:
    """Which rows have a 512px image of a file that has none: it is not a picture, has several frames, or is broken."""
    known = pc.is_in(table["file_type"], pa.array(sorted(IMAGE_TYPES)))
    against = [
        pc.invert(known),
        pc.fill_null(pc.not_equal(table["pages"], 1), fill_value=False),
        pc.is_null(table["width"]),
        pc.is_null(table["height"]),
        _has_flag(table, WITHOUT_PX512),
    ]
    return pc.and_(pc.is_valid(table["px512_path"]), functools.reduce(pc.or_, against))


def _extension_differs(table: pa.Table) -> pa.ChunkedArray:
    """Which rows have the flag though the path ends as the type says, or the other way round."""
    named = pc.replace_substring_regex(table["path"], r"^.*\.", "")
    for extension, file_type in _TYPE_OF.items():
        named = pc.if_else(pc.equal(named, extension), file_type, named)
    differs = pc.fill_null(pc.not_equal(table["file_type"], named), fill_value=False)
    return pc.and_(pc.is_valid(table["path"]), pc.not_equal(differs, _has_flag(table, {Flag.WRONG_EXTENSION})))


def _has_flag(table: pa.Table, flags: Collection[Flag]) -> pa.ChunkedArray:
    """Which rows have one of some flags."""
    lists = one_chunk(table["flags"])
    found = pc.is_in(pc.list_flatten(lists), pa.array(sorted(flags), pa.string()))
    return _rows_in(len(lists), pc.list_parent_indices(lists).filter(found))


def _rows_in(count: int, rows: pa.Array) -> pa.ChunkedArray:
    """Whether each of so many rows is among some."""
    return pa.chunked_array([pc.is_in(pa.array(range(count), pa.int64()), rows.cast(pa.int64()))])
