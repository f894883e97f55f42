"""Select posts of a release by options and by a search. Tags match whole, and every condition must hold.

With `unique`, one post is kept of each group of duplicates (`unique` has the rule), after all conditions and before a
sample is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from danbooru_pipeline.consume.corrected import table_patterns
from danbooru_pipeline.consume.find import find
from danbooru_pipeline.consume.tables import FILES, table_schema
from danbooru_pipeline.consume.unique import BEST_FIRST, KINDS, groups_of
from danbooru_pipeline.consume.windows import ChosenRows, damage_named, open_rows, open_tables
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.images.words import Quality
from danbooru_pipeline.io.bounded_parquet import untrusted_files
from danbooru_pipeline.io.sql import database
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import EXTENSIONS, INT64_MAX, is_path_of, px512_path
from danbooru_pipeline.posts.schema import POST_SCHEMA
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.search import BadSearch, Search, parse
from danbooru_pipeline.search.bitmaps import bitmap_of, ids_of, places_of
from danbooru_pipeline.search.evaluate import Found
from danbooru_pipeline.search.nodes import Among, And, Node, Not, Or, Range, Tag, Within
from danbooru_pipeline.years import require_ratings

TREES = ("512px", "original")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which posts to select. A field that is not set does not restrict anything.

    Attributes:
        tree: ``512px`` or ``original``: the file that a post must have.
        all_tags: a post must have all of these tags,
        any_tags: at least one of these,
        no_tags: and none of these.
        flags: its 512px image must have at least one of these warnings,
        no_flags: and none of these.
        unique: at most one post of each group of duplicates.
        unique_kinds: kinds of pairs that make a group; all of them without any.
        deleted: whether posts that the site has deleted are selected, too.
        with_file: whether a post must have that file.
        sample: at most this many posts, the same ones each time: those whose ids hash lowest.
        search: what posts must meet, in the site's search language (docs/search.md). Its ``limit:`` and ``random:``
            choose among the posts that meet all other conditions, before `unique` and `sample` do.
        implications: a tag stands for those that imply it, too.
        buckets: only these, like ``0000-0009``.
        split: only this one of train, validation and test.
        order: as after ``order:`` in a search; it only matters where posts are listed, or limited by the search.
        corrected: posts have the tags that people gave them, in conditions and in what is read of them.
    """

    tree: str = "512px"
    all_tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    no_tags: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    min_score: int | None = None
    min_side: int | None = None
    since_id: int | None = None
    until_id: int | None = None
    flags: tuple[str, ...] = ()
    no_flags: tuple[str, ...] = ()
    unique: bool = False
    unique_kinds: tuple[str, ...] = ()
    deleted: bool = True
    with_file: bool = True
    sample: int | None = None
    search: str = ""
    implications: bool = False
    buckets: str | None = None
    split: str | None = None
    order: str | None = None
    corrected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A selected post, with its file in the tree."""

    id: int
    path: str
    size: int
    sha256: str
    fetched_md5: str | None
    file_ext: str | None
    rating: str | None
    score: int | None
    is_deleted: bool
    width: int | None
    height: int | None
    tag_string: str
    tag_string_general: str
    tag_string_artist: str
    tag_string_copyright: str
    tag_string_character: str
    tag_string_meta: str


_SCHEMAS: Final = {"posts": POST_SCHEMA, FILES: MANIFEST_SCHEMA}
#: Lines of a list that are made at a time, so that the first one comes at once.
_LISTED: Final = 10_000
_COLUMNS = """
    p.id, f.{path} AS path, f.{size} AS size, f.{sha256} AS sha256, f.fetched_md5, p.file_ext, p.rating, p.score,
    coalesce(p.is_deleted, false) AS is_deleted, f.width, f.height, coalesce(p.tag_string, '') AS tag_string,
    coalesce(p.tag_string_general, '') AS tag_string_general, coalesce(p.tag_string_artist, '') AS tag_string_artist,
    coalesce(p.tag_string_copyright, '') AS tag_string_copyright,
    coalesce(p.tag_string_character, '') AS tag_string_character, coalesce(p.tag_string_meta, '') AS tag_string_meta
"""


def select(release: Path, selection: Selection, *, held: bool = False, threads: int = 1) -> Iterator[Chosen]:
    """The posts that a selection matches, sorted by id.

    Args:
        release: folder of the release.
        selection: which posts.
        held: refuse a post whose file is not in this copy of the release, since it will be read.
        threads: for joining.

    Raises:
        NotARelease: the folder is not a release.
        ReleaseError: its manifest names a path outside the release, or its tables are damaged.
        SettingsError: the selection asks for something that does not exist.
    """
    with choose(release, selection, threads=threads) as chosen:
        for post in chosen:
            if held and not is_plain(release, post.path):
                raise ReleaseError(
                    f"{release / post.path} is missing, or a link or no file; fetch it again, or verify {release}"
                )
            yield post


@dataclass(frozen=True, slots=True)
class ChosenPosts:
    """The posts that a selection matches. Iterating over them yields `Chosen`, sorted by id, in flat memory.

    Attributes:
        rows: the same as rows of the release's tables.
        tree: of the selection.
    """

    rows: ChosenRows
    tree: str

    @property
    def posts(self) -> int:
        """How many posts there are."""
        return self.rows.rows

    @property
    def bytes(self) -> int:
        """Size of all their files."""
        return self.rows.bytes

    @property
    def columns(self) -> str:
        """The SQL of the columns of a `Chosen`."""
        prefix = _prefix(self.tree)
        return _COLUMNS.format(path=f"{prefix}path", sha256=f"{prefix}sha256", size=f"{prefix}size")

    def __iter__(self) -> Iterator[Chosen]:
        for _, query in self.rows.windowed(self.columns):
            for row in self.rows.dicts(query):
                yield self.checked(row)

    def checked(self, row: dict[str, Any]) -> Chosen:
        """A row with those columns, its types and its path checked.

        Raises:
            ReleaseError: the manifest names a path outside the release, or a value has another type than in a release.
        """
        import msgspec  # noqa: PLC0415 - a list of paths needs none, and would wait for it

        try:
            post = msgspec.convert(row, Chosen)
        except msgspec.ValidationError as error:
            raise ReleaseError(
                f"the tables of {self.rows.release} have a post that cannot be one ({error}); verify it first"
            ) from error
        _checked_path(self.rows.release, post.id, post.path, tree=self.tree)
        return post


@contextmanager
def choose(release: Path, selection: Selection, *, threads: int = 1, limit: int | None = None) -> Iterator[ChosenPosts]:
    """The posts that a selection matches, counted; `limit` keeps those with the lowest ids.

    Raises:
        As `select`.
    """
    ids = ids_of(find_selected(release, selection, threads=threads).bitmap)[:limit]
    size = f"{_prefix(selection.tree)}size"
    with open_rows(release, ids, size=size, threads=threads, corrected=selection.corrected) as rows:
        yield ChosenPosts(rows, selection.tree)


def list_paths(release: Path, found: Found, *, tree: str) -> Iterator[tuple[int, str]]:
    """Ids and paths of the posts that were found, in their order; by id without one. For 512px, no table is read.

    Raises:
        ReleaseError: the manifest names a path outside the release.
    """
    if tree == "512px":
        ids = found.ids if found.is_ordered else found.ids[::-1]
        for start in range(0, len(ids), _LISTED):
            yield from ((id_, px512_path(id_)) for id_ in ids[start : start + _LISTED].tolist())
        return
    paths = _originals(release, found.bitmap)
    if found.is_ordered:
        by_id = dict(paths)
        paths = ((id_, by_id[id_]) for id_ in found.ids.tolist())
    yield from paths


def _originals(release: Path, bitmap: BitMap) -> Iterator[tuple[int, str]]:
    """The ids and paths of some posts with an original, by id."""
    wanted = ids_of(bitmap).astype(np.int64)
    for table in reader(release)(FILES, ("id", "path")):
        is_wanted, _ = places_of(table["id"].to_numpy(), wanted)
        held = table.filter(pa.array(is_wanted))
        for id_, path in zip(held["id"].to_pylist(), held["path"].to_pylist(), strict=True):
            yield id_, _checked_path(release, id_, path, tree="original")


def _checked_path(release: Path, post_id: int, path: str, *, tree: str) -> str:
    if not is_path_of(post_id, path, tree=tree):
        raise ReleaseError(f"the manifest of {release} names {path!r} as the file of post {post_id}; verify it first")
    return path


def find_selected(release: Path, selection: Selection, *, threads: int = 1) -> Found:
    """The posts that a selection matches.

    Raises:
        As `select`.
    """
    read_release(release)
    _check(selection)
    # Opened even where the index alone has the answer: what is no table must not pass for a release.
    for pattern in table_patterns(release, corrected=selection.corrected).values():
        untrusted_files(release, pattern)
    columns = {table: _checked_schema(release, table, corrected=selection.corrected).names for table in _SCHEMAS}
    if (selection.flags or selection.no_flags) and "px512_flags" not in columns[FILES]:
        raise ReleaseError(f"the manifest of {release} has no px512_flags; select without flags, or a newer release")
    groups = groups_of(release, selection.unique_kinds or KINDS) if selection.unique else None
    found = find(release, search_of(selection), implications=selection.implications, corrected=selection.corrected)
    bitmap = found.bitmap
    if groups is not None:
        bitmap = bitmap - _worse(release, bitmap, groups, threads=threads)
    if selection.sample is not None and selection.sample < len(bitmap):
        bitmap = _sampled(bitmap, selection.sample)
    if bitmap is found.bitmap:
        return found
    left = found.ids[np.isin(found.ids, ids_of(bitmap))]
    return replace(found, bitmap=bitmap, ids=left)


def _checked_schema(release: Path, table: str, *, corrected: bool) -> pa.Schema:
    """The columns of a table, those that are known of the kind that they are of.

    Raises:
        ReleaseError: one is of another, so what reads its values would fail in any way.
    """
    held, known = table_schema(release, table, corrected=corrected), _SCHEMAS[table]
    for column in held:
        if column.name in known.names and _kind(column.type) != _kind(known.field(column.name).type):
            raise ReleaseError(f"{table} of {release} has {column.name} as {column.type}; verify it first")
    return held


def _kind(of: pa.DataType) -> str:
    """Integers of any width are of one kind, and so are texts: versions differ in that."""
    kind = of.value_type if pa.types.is_dictionary(of) else of
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_timestamp, pa.types.is_list, pa.types.is_struct)
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return "text" if texts else next((check.__name__ for check in checks if check(kind)), str(kind))


def _worse(release: Path, bitmap: BitMap, groups: pa.Table, *, threads: int) -> BitMap:
    """All but the best post of each group, of those that were found."""
    here = groups.filter(pc.is_in(groups["id"], pa.array(ids_of(bitmap)).cast(pa.int64())))
    with open_tables(release, threads=threads) as connection, damage_named(release):
        connection.register("alike", here)
        rows = connection.execute(
            "SELECT f.id FROM files f JOIN alike g ON f.id = g.id "
            f"QUALIFY row_number() OVER (PARTITION BY g.number ORDER BY {BEST_FIRST}) > 1"
        ).fetchnumpy()
    return bitmap_of(rows["id"], type(bitmap))


def _sampled(bitmap: BitMap, count: int) -> BitMap:
    """Those whose ids hash lowest: a larger sample contains a smaller one."""
    with database(threads=1) as connection:
        connection.register("found", pa.table({"id": pa.array(ids_of(bitmap)).cast(pa.int64())}))
        query = f"SELECT id FROM found ORDER BY md5(id::VARCHAR), id LIMIT {int(count)}"
        return bitmap_of(connection.execute(query).fetchnumpy()["id"], type(bitmap))


def _prefix(tree: str) -> str:
    return "px512_" if tree == "512px" else ""


def search_of(selection: Selection) -> Search:
    """A selection as one search.

    Raises:
        BadSearch: `search` is none.
        SettingsError: the buckets, the split or the order do not exist.
    """
    typed = parse(selection.search)
    parts: list[Node] = [typed.root]
    # In an `Or` of its own, since an option that names a tag which no post has selects nothing, and is no mistake.
    parts += [Or((Tag(tag),)) for tag in selection.all_tags]
    parts += [Or(tuple(map(Tag, selection.any_tags)))] if selection.any_tags else []
    parts += [Not(Or(tuple(map(Tag, selection.no_tags))))] if selection.no_tags else []
    parts += [
        Among(field, values)
        for field, values in (
            ("rating", selection.ratings),
            ("filetype", selection.types),
            ("quality", selection.flags),
            ("image", (selection.tree,) if selection.with_file else ()),
        )
        if values
    ]
    parts += [Not(Among("quality", selection.no_flags))] if selection.no_flags else []
    parts += [] if selection.deleted else [Not(Among("status", ("deleted",)))]
    parts += [
        Within(field, (Range(low=low, high=high),))
        for field, low, high in (
            ("score", selection.min_score, None),
            ("side", selection.min_side, None),
            ("id", selection.since_id, selection.until_id),
        )
        if (low, high) != (None, None)
    ]
    options = {"buckets": "bucket", "split": "split", "order": "order"}
    texts = {name: f"{tag}:{getattr(selection, name)}" for name, tag in options.items() if getattr(selection, name)}
    searches = {name: _option(f"--{name}", text) for name, text in texts.items()}
    parts += [each.root for name, each in searches.items() if name != "order"]
    order = searches["order"].order if "order" in searches else typed.order
    return replace(typed, root=And(tuple(parts)), order=order)


def _option(name: str, text: str) -> Search:
    """What an option says in the language of searches."""
    try:
        return parse(text)
    except BadSearch as error:
        raise SettingsError(f"{name} {error.sentence}") from None


def _check(selection: Selection) -> None:
    known: dict[str, tuple[Any, Any]] = {
        "--tree": ((selection.tree,), TREES),
        "--type": (selection.types, EXTENSIONS),
        "--flags": (selection.flags, tuple(Quality)),
        "--no-flags": (selection.no_flags, tuple(Quality)),
        "--unique-kinds": (selection.unique_kinds, KINDS),
    }
    try:
        require_ratings(selection.ratings)
    except ValueError as error:
        raise SettingsError(f"--rating {error}") from error
    for name in ("min_score", "min_side", "since_id", "until_id"):
        if abs(getattr(selection, name) or 0) > INT64_MAX:
            raise SettingsError(f"--{name.replace('_', '-')} {getattr(selection, name)} is larger than any; give less")
    for option, (values, allowed) in known.items():
        for value in values:
            if value not in allowed:
                raise SettingsError(f"{option} {value!r} does not exist; use {', '.join(sorted(allowed))}")
