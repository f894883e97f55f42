"""Select posts of a release: tags match whole, every condition must hold, the result is sorted by id.

With `unique`, one post is kept of each group of duplicates (`unique` has the rule), after all conditions and before a
sample is taken.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danbooru_pipeline.consume.tables import FILES, table_schema
from danbooru_pipeline.consume.unique import BEST_FIRST, KINDS, groups_of
from danbooru_pipeline.consume.windows import ChosenRows, open_rows
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import EXTENSIONS, is_path_of
from danbooru_pipeline.posts.schema import INT64_MAX
from danbooru_pipeline.release.release_json import read_release

TREES = ("512px", "original")
#: Warnings in ``px512_flags``, named here so that a selection does not load libvips; a test compares the two.
FLAGS = ("few_colors", "nearly_white", "nearly_black", "empty_alpha", "hdr")


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


_COLUMNS = """
    p.id, f.{path} AS path, f.{size} AS size, f.{sha256} AS sha256, f.fetched_md5, p.file_ext, p.rating, p.score,
    coalesce(p.is_deleted, false) AS is_deleted, f.width, f.height, coalesce(p.tag_string, '') AS tag_string,
    coalesce(p.tag_string_general, '') AS tag_string_general, coalesce(p.tag_string_artist, '') AS tag_string_artist,
    coalesce(p.tag_string_copyright, '') AS tag_string_copyright,
    coalesce(p.tag_string_character, '') AS tag_string_character, coalesce(p.tag_string_meta, '') AS tag_string_meta
"""

#: Field of `Selection` -> condition on posts `p` and files `f`; the field's value is the parameter.
_CONDITIONS = {
    "all_tags": "list_has_all(string_split(coalesce(p.tag_string, ''), ' '), ?::VARCHAR[])",
    "any_tags": "list_has_any(string_split(coalesce(p.tag_string, ''), ' '), ?::VARCHAR[])",
    "no_tags": "NOT list_has_any(string_split(coalesce(p.tag_string, ''), ' '), ?::VARCHAR[])",
    "ratings": "list_contains(?::VARCHAR[], p.rating)",
    "types": "list_contains(?::VARCHAR[], p.file_ext)",
    "min_score": "p.score >= ?",
    "min_side": "least(f.width, f.height) >= ?",
    "since_id": "p.id >= ?",
    "until_id": "p.id <= ?",
    "flags": "list_has_any(coalesce(f.px512_flags, []), ?::VARCHAR[])",
    "no_flags": "NOT list_has_any(coalesce(f.px512_flags, []), ?::VARCHAR[])",
}


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
        """A row with those columns, its path checked.

        Raises:
            ReleaseError: the manifest names a path outside the release.
        """
        post = Chosen(**row)
        if not is_path_of(post.id, post.path, tree=self.tree):
            raise ReleaseError(
                f"the manifest of {self.rows.release} names {post.path!r} as the file of post {post.id}; "
                "verify it first"
            )
        return post


@contextmanager
def choose(release: Path, selection: Selection, *, threads: int = 1, limit: int | None = None) -> Iterator[ChosenPosts]:
    """The posts that a selection matches, counted; `limit` keeps those with the lowest ids.

    Raises:
        As `select`.
    """
    read_release(release)
    _check(selection)
    if (selection.flags or selection.no_flags) and "px512_flags" not in table_schema(release, FILES).names:
        raise ReleaseError(f"the manifest of {release} has no px512_flags; select without flags, or a newer release")
    alike = {"alike": groups_of(release, selection.unique_kinds or KINDS)} if selection.unique else {}
    query, parameters = _query(selection)
    size = f"{_prefix(selection.tree)}size"
    with open_rows(release, query, parameters, size=size, threads=threads, limit=limit, tables=alike) as rows:
        yield ChosenPosts(rows, selection.tree)


def _prefix(tree: str) -> str:
    return "px512_" if tree == "512px" else ""


def _query(selection: Selection) -> tuple[str, list[Any]]:
    """The SQL of the ids of a selection, and its parameters in order."""
    wanted = [(sql, getattr(selection, name)) for name, sql in _CONDITIONS.items()]
    wanted = [(sql, value) for sql, value in wanted if value is not None and value != ()]
    clauses = ["true", *(sql for sql, _ in wanted)]
    if selection.with_file:
        clauses.append(f"f.{_prefix(selection.tree)}path IS NOT NULL")
    if not selection.deleted:
        clauses.append("NOT coalesce(p.is_deleted, false)")
    tables = "posts p JOIN files f ON p.id = f.id"
    best = ""
    if selection.unique:
        tables += " LEFT JOIN alike g ON p.id = g.id"
        # A post of no group is alone in its own; numbers of groups are ids of their members.
        best = f"QUALIFY row_number() OVER (PARTITION BY coalesce(g.number, p.id) ORDER BY {BEST_FIRST}) = 1"
    query = f"SELECT p.id FROM {tables} WHERE {' AND '.join(clauses)} {best}"
    if selection.sample is not None:
        query = f"SELECT * FROM ({query}) ORDER BY md5(id::VARCHAR), id LIMIT {int(selection.sample)}"
    parameters = [list(value) if isinstance(value, tuple) else value for _, value in wanted]
    return query, parameters


def _check(selection: Selection) -> None:
    known: dict[str, tuple[Any, Any]] = {
        "--tree": ((selection.tree,), TREES),
        "--rating": (selection.ratings, ("g", "s", "q", "e")),
        "--type": (selection.types, EXTENSIONS),
        "--flags": (selection.flags, FLAGS),
        "--no-flags": (selection.no_flags, FLAGS),
        "--unique-kinds": (selection.unique_kinds, KINDS),
    }
    for name in ("min_score", "min_side", "since_id", "until_id"):
        if abs(getattr(selection, name) or 0) > INT64_MAX:
            raise SettingsError(f"--{name.replace('_', '-')} {getattr(selection, name)} is larger than any; give less")
    for option, (values, allowed) in known.items():
        for value in values:
            if value not in allowed:
                raise SettingsError(f"{option} {value!r} does not exist; use {', '.join(sorted(allowed))}")
