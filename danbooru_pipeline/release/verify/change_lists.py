"""Verification of ``changes/``: each list is true of this release, and complete where the earlier manifest is carried.

A mirror deletes what ``remove.txt`` names, so no list may name a file of this release there, or a path outside.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import SortedRows, no_rows
from danbooru_pipeline.io.untrusted import read_bytes
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.release.change_rows import (
    CHANGES_SCHEMA,
    KINDS,
    Change,
    FileRow,
    Row,
    is_path_in_a_tree,
    misfits,
    path_to_fetch,
    path_to_remove,
    rows_between,
)
from danbooru_pipeline.release.checksums import LONGEST_PATHS, is_safe
from danbooru_pipeline.release.verify.carried import Carried, event_of
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.names import is_of_some_release
from danbooru_pipeline.release.verify.parquet import batches
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS, SIGNATURE, changes_path

_LABEL = re.compile(r"changes/([0-9.]{1,20}-from-([0-9.]{1,20}))\.(parquet|md|files\.txt|remove\.txt)")
_LONGEST_REPORT = 2**20
_COLUMNS = ("id", "rating", "path", "sha256", "px512_path", "px512_sha256")
_NO_FILES = no_rows(pa.schema([(name, pa.int64() if name == "id" else pa.string()) for name in _COLUMNS]))
_IMAGE = re.compile(r"[0-9a-z]+/[0-9]{4}/([1-9][0-9]{0,18})\.[a-z0-9]+")


@dataclass(slots=True)
class _Paths:
    """What the rows of a list say that a mirror must fetch and remove."""

    fetch: set[str] = field(default_factory=set)
    remove: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.fetch.update(filter(None, [path_to_fetch(row.kind, row.path)]))
        self.remove.update(filter(None, [path_to_remove(row.kind, row.path, row.old_path)]))


def check_changes(
    run: Verification, manifest: Sequence[str], carried: Mapping[int, Carried], removed: set[int] | None
) -> None:
    """Check every list of changes."""
    labels = {match[1]: match[2] for name in run.sums if (match := _LABEL.fullmatch(name))}
    for label in sorted(_expected(run) - labels.keys()):
        run.add(Kind.CHANGES_DIFFER, changes_path(label, "parquet"), "is missing")
    named: dict[str, set[str]] = {}
    for label, old in sorted(labels.items()):
        wrong = [name for kind in KINDS if not run.is_readable(name := changes_path(label, kind))]
        for name in wrong:
            run.add(Kind.CHANGES_DIFFER, name, "is missing or altered, and was not compared")
        if not wrong:
            earlier = carried.get(int(old)) if re.fullmatch(r"\d{4}", old) else None
            with run.reading(Kind.CHANGES_DIFFER, changes_path(label, "parquet")):
                named[label] = _check_list(run, label, manifest, earlier, removed or set())
    _check_removed(run, named)


def _expected(run: Verification) -> set[str]:
    """The lists that a release has at least: from the one of an earlier year, and from the version that it replaces."""
    release = run.release
    if release is None:
        return set()
    labels = {f"{release.year}-from-{release.previous.name[-4:]}"} if release.previous else set()
    return labels | ({f"{release.version}-from-{release.replaces.version}"} if release.replaces else set())


def _check_list(
    run: Verification, label: str, manifest: Sequence[str], earlier: Carried | None, removed: set[int]
) -> set[str]:
    """Check a list. Returns the paths of posts that were taken down which a mirror removes by it."""
    where = changes_path(label, "parquet")
    paths = _Paths()
    counts: Counter[str] = Counter()
    old = None if earlier is None else _rows(run, earlier.files)
    for id_, listed, expected, now in _beside(_listed(run, where), old, _rows(run, manifest), removed):
        wrong = _untrue(listed, now) if expected is None else _unlike(listed, expected, now)
        for said in (*misfits(listed), *wrong):
            run.add(Kind.CHANGES_DIFFER, where, f"{id_}: {said}")
        if id_ in removed and any(any(row[4:]) for row in listed):
            run.add(Kind.REMOVED_DIFFER, where, f"tells more than the path of post {id_}, which removed.txt names")
        for row in listed:
            paths.add(row)
            counts[row.kind] += 1
    _check_report(run, label, counts)
    return {path for path in _check_paths(run, label, paths, earlier, removed) if _is_of(removed, path)}


def _check_removed(run: Verification, named: Mapping[str, set[str]]) -> None:
    """Check that all lists remove the same files of posts that were taken down: any older copy may have them."""
    for label, paths in named.items():
        for path in sorted(set().union(*named.values()) - paths):
            run.add(Kind.CHANGES_DIFFER, changes_path(label, "remove.txt"), f"does not name {path}, as other lists do")


def _check_report(run: Verification, label: str, counts: Mapping[str, int]) -> None:
    """Check the numbers of the report for people, where those of RELEASE.json are right."""
    name = changes_path(label, "md")
    lines = read_bytes(run.folder, name, limit=_LONGEST_REPORT).decode("utf-8", "replace").splitlines()
    for kind in Change:
        if f"| `{kind}` | {counts[kind]:,} |" not in lines:
            run.add(Kind.CHANGES_DIFFER, name, f"does not count {counts[kind]:,} rows of {kind}")
    if run.release is None or run.found.counts[Kind.RELEASE_NUMBERS]:
        return
    now, previous = run.release.counts, run.release.previous
    numbers = {"posts": now.posts, "originals": now.originals, "512px images": now.px512}
    numbers |= {"tags": now.tags, "tag instances": now.tag_instances, "last id": run.release.last_id}
    is_of_previous = previous is not None and label.endswith(f"-from-{previous.name[-4:]}")
    event = event_of(run, int(label[-4:])) if is_of_previous else None
    before = {"posts": event.posts, "originals": event.originals, "last id": event.last_id} if event else {}
    for what, number in numbers.items():
        was = f"{before[what]:,}" if what in before else "[0-9,]+"
        if not any(re.match(rf"\| {what} \| {was} \| {number:,} \|", line) for line in lines):
            run.add(Kind.CHANGES_DIFFER, name, f"has other {what} than RELEASE.json")


def _rows(run: Verification, names: Iterable[str]) -> Iterator[pa.Table]:
    return (
        pa.Table.from_arrays([table[field.name].cast(field.type) for field in _NO_FILES.schema], list(_COLUMNS))
        for name in names
        for table in batches(run, name, columns=_COLUMNS)
    )


def _listed(run: Verification, name: str) -> Iterator[pa.Table]:
    last = 0
    for table in batches(run, name):
        rows = table.select(CHANGES_SCHEMA.names).cast(CHANGES_SCHEMA)
        ids = rows["id"].combine_chunks()
        if len(ids):
            if ids[0].as_py() < last or pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py() is False:
                raise ValueError("the ids do not ascend")
            last = ids[-1].as_py()
        yield rows


class _Beside(NamedTuple):
    """The listed rows of an id, those that it should have, and its row of the manifest.

    What it should have is None where the earlier manifest is not here.
    """

    id: int
    listed: list[Row]
    expected: list[Row] | None
    now: FileRow | None


def _beside(
    listed: Iterator[pa.Table], old: Iterator[pa.Table] | None, new: Iterator[pa.Table], removed: set[int]
) -> Iterator[_Beside]:
    """Every id that is listed, or that changed."""
    changes, before = SortedRows(listed), SortedRows(old or ())
    for table in chain(new, [None]):
        last = INT64_MAX if table is None else pc.max(table["id"]).as_py() or 0
        rows = [Row(*values) for values in _tuples(changes.take_up_to(last), CHANGES_SCHEMA.names)]
        sides = [pa.concat_tables([_NO_FILES, *before.take_up_to(last)]), _NO_FILES if table is None else table]
        was, now = (
            {values[0]: FileRow(*values[1:]) for values in _tuples([side], _COLUMNS)}
            for side in _without_equal(*sides, kept=[row.id for row in rows])
        )
        of_id = {id_: list(group) for id_, group in groupby(rows, key=lambda row: row.id)}
        differing = () if old is None else (id_ for id_ in was.keys() | now.keys() if was.get(id_) != now.get(id_))
        for id_ in sorted({*of_id, *differing}):
            wanted = None
            if old is not None:
                wanted = list(rows_between(id_, was.get(id_), now.get(id_), is_gone=id_ in removed))
            yield _Beside(id_, of_id.get(id_, []), wanted, now.get(id_))


def _without_equal(was: pa.Table, now: pa.Table, *, kept: Sequence[int]) -> tuple[pa.Table, pa.Table]:
    """The rows of two manifests that differ, and those of some ids: of most posts nothing changes in a year."""
    beside = was.take(pc.index_in(now["id"], value_set=was["id"].combine_chunks()))
    equal = pc.invert(pc.is_in(now["id"], pa.array(kept, pa.int64())))
    for name in _COLUMNS:
        both_null = pc.and_(pc.is_null(now[name]), pc.is_null(beside[name]))
        equal = pc.and_(equal, pc.or_(both_null, pc.fill_null(pc.equal(now[name], beside[name]), fill_value=False)))
    ids = now["id"].filter(equal).combine_chunks()
    return was.filter(pc.invert(pc.is_in(was["id"], ids))), now.filter(pc.invert(equal))


def _tuples(tables: Sequence[pa.Table], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for table in tables:
        yield from zip(*(table[name].to_pylist() for name in columns), strict=True)


def _unlike(listed: Sequence[Row], expected: Sequence[Row], now: FileRow | None) -> Iterator[str]:
    """How the rows of a post differ from those that follow from both manifests; its metadata may have changed, too."""
    rest = [row for row in listed if row.kind != Change.METADATA_CHANGED]
    for row in rest:
        if row not in expected:
            yield f"{row.kind} is not so"
    for row in expected:
        if row not in rest:
            yield f"{row.kind} is not listed"
    if len(rest) != len(set(rest)) or len(listed) - len(rest) > 1:
        yield "is listed twice"
    if len(listed) > len(rest) and now is None:
        yield f"{Change.METADATA_CHANGED} is not so"


def _untrue(listed: Sequence[Row], now: FileRow | None) -> Iterator[str]:
    """Rows of a post that contradict the manifest."""
    if len(listed) != len(set(listed)):
        yield "is listed twice"
    files = set() if now is None else {(now.path, now.sha256), (now.px512_path, now.px512_sha256)}
    for row in listed:
        is_held = (row.path, row.new_sha256) in files
        rated = now is not None and row.new_rating == now.rating
        true = {
            Change.POST_ADDED: rated,
            Change.POST_REMOVED: now is None,
            Change.RATING_CHANGED: rated and row.old_rating != row.new_rating,
            Change.METADATA_CHANGED: now is not None,
            Change.FILE_ADDED: is_held,
            Change.FILE_REPLACED: is_held,
            Change.FILE_REMOVED: row.path == row.old_path and row.path not in {path for path, _ in files},
        }
        if not any(is_true for kind, is_true in true.items() if kind == row.kind):
            yield f"{row.kind} is not so"
    kinds = {row.kind for row in listed}
    if now is None and kinds and Change.POST_REMOVED not in kinds:
        yield f"{Change.POST_REMOVED} is not listed"


def _check_paths(run: Verification, label: str, paths: _Paths, earlier: Carried | None, removed: set[int]) -> set[str]:
    """Check the lists of files to fetch and to remove against the rows, and what is here. Returns those to remove."""
    documents = {*run.sums, SHA256SUMS, SIGNATURE, RELEASE_JSON}
    before = None if earlier is None or earlier.sums is None else earlier.sums
    changed = set() if before is None else {name for name in run.sums if before.get(name) != run.sums[name]}
    gone = set() if before is None else before.keys() - documents
    name = changes_path(label, "files.txt")
    fetch = _lines(run, name)
    for path in sorted((paths.fetch | changed) - fetch):
        run.add(Kind.CHANGES_DIFFER, name, f"does not name {path}, which is new or changed")
    for path in sorted(fetch - paths.fetch - changed):
        if path not in documents or (before is not None and path in before and path in run.sums and _is_old(path)):
            run.add(Kind.CHANGES_DIFFER, name, f"names {path}, which is not new or changed")
    for path in sorted(fetch & documents - paths.fetch):
        if not is_of_some_release(path):
            run.add(Kind.CHANGES_DIFFER, name, f"names {path}, which is no document of any release")
    name = changes_path(label, "remove.txt")
    remove = _lines(run, name)
    for path in sorted((paths.remove | gone) - paths.fetch - remove):
        run.add(Kind.CHANGES_DIFFER, name, f"does not name {path}, which is gone")
    for path in sorted(remove):
        # Where the documents of the earlier release are not known, a mirror may still lose no file of its own.
        is_document = (before is None or path in {*gone, SIGNATURE}) and is_of_some_release(path)
        if path in fetch or path in run.sums or run.has(path):
            run.add(Kind.CHANGES_DIFFER, name, f"names {path}, which is in this release")
        elif path not in paths.remove and not is_document and not _is_of(removed, path):
            run.add(Kind.CHANGES_DIFFER, name, f"names {path}, which no release had")
    return remove


def _is_of(removed: set[int], path: str) -> bool:
    """Whether a path is of a post that was taken down, and so perhaps in an older copy."""
    match = _IMAGE.fullmatch(path)
    return match is not None and int(match[1]) in removed and is_path_in_a_tree(int(match[1]), path)


def _is_old(path: str) -> bool:
    """Whether a document that did not change has no reason to be fetched: lists of changes are always new."""
    return not path.startswith("changes/")


def _lines(run: Verification, name: str) -> set[str]:
    """The paths of a list, the safe ones."""
    lines = read_bytes(run.folder, name, limit=LONGEST_PATHS).decode("utf-8", "replace").splitlines()
    for line in lines:
        if not is_safe(line):
            run.add(Kind.UNSAFE_PATH, name, f"names {line}, which is not inside the release")
    if lines != sorted(set(lines)):
        run.add(Kind.CHANGES_DIFFER, name, "is not sorted, or names a path twice")
    return set(filter(is_safe, lines))
