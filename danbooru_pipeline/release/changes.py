"""What changed from one release to the next: for people, for machines, and for rsync.

``changes/2022-from-2021.parquet`` has a row for each change of a post or of a file; ``.files.txt`` names every file
that a copy of the old release lacks, for ``rsync --files-from``; ``.remove.txt`` every file that it must remove.
Together they turn one tree into the other. Of posts that were taken down only ids and paths are listed.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.io.bounded_parquet import extents, read_untrusted, untrusted_files
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.io.sql import database, tables, view
from danbooru_pipeline.layout import INT64_MAX
from danbooru_pipeline.posts.takedowns import Takedowns
from danbooru_pipeline.release.change_rows import (
    CHANGES_SCHEMA,
    KINDS,
    TELLING,
    Change,
    is_path_in_a_tree,
    path_to_fetch,
    path_to_remove,
)
from danbooru_pipeline.release.checksums import read_sums
from danbooru_pipeline.release.provenance import PROVENANCE
from danbooru_pipeline.release.release_json import CONTENT, Release, read_release
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release_paths import ALLOWED_SIGNERS, RELEASE_JSON, SHA256SUMS, SIGNATURE, changes_path

#: Of the places at which tables are cut, every 50,000 posts or so, each so many-th begins another join.
_GROUPS: Final = 8
_MOST_RANGES: Final = 1000
_INT64: Final = (-(2**63), INT64_MAX)
_MANIFESTS: Final = "manifest/files-*.parquet"
_POSTS: Final = "parquet/posts-*.parquet"

_ROWS = """
WITH old_files AS (SELECT * FROM all_old_files WHERE id BETWEEN {first} AND {last}),
new_files AS (SELECT * FROM all_new_files WHERE id BETWEEN {first} AND {last}),
old_posts AS (SELECT * FROM all_old_posts WHERE id BETWEEN {first} AND {last}),
new_posts AS (SELECT * FROM all_new_posts WHERE id BETWEEN {first} AND {last}),
pairs AS (
    SELECT coalesce(n.id, o.id) AS id, o.id AS oid, n.id AS nid, o.rating AS o_rating, n.rating AS n_rating,
           o.path AS o_path, n.path AS n_path, o.sha256 AS o_sha, n.sha256 AS n_sha,
           o.px512_path AS o_small, n.px512_path AS n_small,
           o.px512_sha256 AS o_small_sha, n.px512_sha256 AS n_small_sha
    FROM old_files o FULL OUTER JOIN new_files n ON o.id = n.id
), files AS (
    SELECT id, o_path, n_path, o_sha, n_sha FROM pairs
    UNION ALL SELECT id, o_small, n_small, o_small_sha, n_small_sha FROM pairs
)
SELECT id, 'post_added' AS kind, NULL AS path, NULL AS old_path, NULL AS old_sha256, NULL AS new_sha256,
       NULL AS old_rating, n_rating AS new_rating FROM pairs WHERE oid IS NULL
UNION ALL SELECT id, 'post_removed', NULL, NULL, NULL, NULL,
       CASE WHEN id IN (SELECT id FROM gone) THEN NULL ELSE o_rating END, NULL FROM pairs WHERE nid IS NULL
UNION ALL SELECT id, 'rating_changed', NULL, NULL, NULL, NULL, o_rating, n_rating FROM pairs
    WHERE oid IS NOT NULL AND nid IS NOT NULL AND o_rating IS DISTINCT FROM n_rating
UNION ALL SELECT o.id, 'metadata_changed', NULL, NULL, NULL, NULL, NULL, NULL
    FROM old_posts o JOIN new_posts n ON o.id = n.id WHERE {telling}
UNION ALL SELECT id, 'file_added', n_path, NULL, NULL, n_sha, NULL, NULL FROM files
    WHERE n_path IS NOT NULL AND o_path IS NULL
UNION ALL SELECT id, 'file_removed', o_path, o_path, CASE WHEN id IN (SELECT id FROM gone) THEN NULL ELSE o_sha END,
       NULL, NULL, NULL FROM files WHERE n_path IS NULL AND o_path IS NOT NULL
UNION ALL SELECT id, 'file_replaced', n_path, o_path, o_sha, n_sha, NULL, NULL FROM files
    WHERE n_path IS NOT NULL AND o_path IS NOT NULL AND (n_path <> o_path OR n_sha <> o_sha)
ORDER BY id, kind, path
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed, in numbers: kind of change -> how many."""

    old: Release
    counts: Mapping[str, int]


class ChangedPaths:
    """Files that a copy of the old release must fetch or remove, collected from the rows of changes on their way."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.fetch: set[str] = set()
        self.remove: set[str] = set()

    def note(self, tables_: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Pass tables of `CHANGES_SCHEMA` on.

        Raises:
            ReleaseError: a row has another path than its post may have: rsync would follow it, and `rm`.
        """
        for table in tables_:
            for id_, kind, path, old_path in zip(*(table[name].to_pylist() for name in _NOTED), strict=True):
                self.counts[kind] += 1
                for each in filter(None, (path, old_path)):
                    if not is_path_in_a_tree(id_, each):
                        raise ReleaseError(f"a manifest names {each!r} as a file of post {id_}; verify both releases")
                self.fetch.update(filter(None, [path_to_fetch(kind, path)]))
                self.remove.update(filter(None, [path_to_remove(kind, path, old_path)]))
            yield table


_NOTED = ("id", "kind", "path", "old_path")


def write_changes(
    folder: Path,
    old_folder: Path,
    release: Release,
    *,
    label: str,
    labels: Collection[str],
    takedowns: Takedowns,
    documents: Mapping[str, str],
    threads: int,
) -> Changes:
    """Write the list of changes from a published release to a tree whose other documents are all written.

    Args:
        folder: the new tree.
        old_folder: the published release.
        release: RELEASE.json of the new tree, as far as it is known.
        label: stem of the files' names, like ``2022-from-2021``.
        labels: of all lists that are written in this release, this one included.
        takedowns: posts about which nothing may be revealed, and paths that copies of older releases may still have.
        documents: path -> SHA-256 of the new tree's documents but for these lists.
        threads: for joining.
    """
    old = read_release(old_folder)
    images = ChangedPaths()
    rows = images.note(changed_rows(old_folder, folder, taken_down=takedowns.ids, threads=threads, spill=folder))
    write_rows(folder / changes_path(label, "parquet"), rows)
    report = render("changes.md", release=release, old=old, label=label, counts=images.counts, kinds=list(Change))
    write_atomic(folder / changes_path(label, "md"), report)
    changed, gone = _document_changes(folder, old_folder, labels, now=documents)
    remove = (images.remove | set(takedowns.paths) | gone) - images.fetch
    write_paths(folder / changes_path(label, "files.txt"), images.fetch | changed)
    write_paths(folder / changes_path(label, "remove.txt"), remove)
    return Changes(old=old, counts=dict(images.counts))


def write_rows(path: Path, rows: Iterable[pa.Table]) -> None:
    """Write the rows of changes as a table."""
    write_parquet(path, rows, schema=CHANGES_SCHEMA, dictionary=("kind", "old_rating", "new_rating"))


def write_paths(path: Path, paths: Iterable[str]) -> None:
    """Write a list of files, as ``rsync --files-from`` reads it."""
    with atomic_file(path) as file:
        file.writelines(f"{name}\n".encode() for name in sorted(paths))


def changed_rows(
    old: Path, new: Path, *, taken_down: Collection[int], threads: int, spill: Path | None = None
) -> Iterator[pa.Table]:
    """What changed from one release to another, in tables of `CHANGES_SCHEMA` sorted by id, kind and path.

    Args:
        old: folder of a release.
        new: folder of another one; only their tables ``posts`` and ``files`` are read.
        taken_down: ids of posts of which nothing may be said.
        threads: for joining.
        spill: folder for what does not fit in memory; the system's temporary one by default.

    Raises:
        ReleaseError: a table of one of them is not whole, or damaged; before the first row, if its ids are.
    """
    with database(threads=threads, spill=spill) as connection:
        try:
            _create_views(connection, old=old, new=new, taken_down=taken_down)
        except ReleaseError as error:
            if error.__cause__ is None:  # a table that is missing, and not damaged
                raise
            raise _not_comparable(old, new, str(error).rpartition("; ")[0]) from error
        try:
            query = _query(connection)
            for first, last in ranges_of_ids(old, new):
                yield from tables(connection, query.format(first=first, last=last), CHANGES_SCHEMA)
        except duckdb.Error as error:
            raise _not_comparable(old, new, error) from error


def _not_comparable(old: Path, new: Path, why: object) -> ReleaseError:
    reason = str(why).partition("\n")[0]
    return ReleaseError(f"{old} and {new} cannot be compared ({reason}); verify both releases")


def ranges_of_ids(old: Path, new: Path) -> Iterator[tuple[int, int]]:
    """All ids, in ranges of so many posts as are joined in memory; their tables are sorted by id."""
    ends: set[int] = set()
    for folder in (old, new):
        for path in (*untrusted_files(folder, _MANIFESTS), *untrusted_files(folder, _POSTS)):
            name = path.relative_to(folder).as_posix()
            try:
                ends.update(_last_ids(folder, name))
            except (OSError, ValueError, LookupError, pa.ArrowException) as error:
                raise _not_comparable(old, new, f"{name}: {error}") from error
    step = max(_GROUPS, len(ends) // _MOST_RANGES)
    first, last = _INT64
    for end in sorted(ends)[step - 1 :: step]:
        yield first, end
        first = end + 1
    if first <= last:
        yield first, last


def _last_ids(folder: Path, name: str) -> Iterator[int]:
    """Ids on the way to the last one. A reader skips row groups by what the footer says of them, so that must be true.

    Raises:
        ValueError: it is not, or a row has no id, or one of another type.
        Exception: as `read_untrusted`.
    """
    for number, (said,) in enumerate(extents(folder, name, ["id"])):
        for table in read_untrusted(folder, name, columns=["id"], groups=[number]):
            if table["id"].null_count:
                raise ValueError("has a row without an id")
            first, last = (value.as_py() for value in pc.min_max(table["id"]).values())
            if said is not None and not said[0] <= first <= last <= said[1]:
                raise ValueError("has other ids than its footer says")
            yield last


def _create_views(connection: duckdb.DuckDBPyConnection, *, old: Path, new: Path, taken_down: Collection[int]) -> None:
    for name, folder in (("old", old), ("new", new)):
        view(connection, f"all_{name}_files", folder, _MANIFESTS)
        view(connection, f"all_{name}_posts", folder, _POSTS)
    gone = pa.table({"id": pa.array(sorted(id_ for id_ in taken_down if abs(id_) <= INT64_MAX), pa.int64())})
    connection.register("gone", gone)


def _query(connection: duckdb.DuckDBPyConnection) -> str:
    """The query over the columns that both releases have, since an older release may lack some."""
    known = [{row[0] for row in connection.execute(f"DESCRIBE all_{side}_posts").fetchall()} for side in ("old", "new")]
    telling = [f"o.{name} IS DISTINCT FROM n.{name}" for name in TELLING if all(name in names for names in known)]
    return _ROWS.replace("{telling}", " OR ".join(telling) or "false")


def _document_changes(
    folder: Path, old_folder: Path, labels: Collection[str], *, now: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """Documents that are new or changed, and documents that are gone. Those still to be written count as new."""
    before = read_sums(old_folder)
    to_come = {changes_path(each, kind) for each in labels for kind in KINDS}
    names = now.keys() | to_come | {CONTENT, PROVENANCE}
    signed = {SIGNATURE} if (folder / ALLOWED_SIGNERS).exists() else set()
    last = to_come | signed | {RELEASE_JSON, CONTENT, PROVENANCE, SHA256SUMS}
    changed = {name for name in names if before.get(name) != now.get(name)} | last
    gone = before.keys() - names
    if (old_folder / SIGNATURE).exists() and SIGNATURE not in last:
        gone = gone | {SIGNATURE}
    return changed, set(gone)
