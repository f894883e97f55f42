"""SQLite: posts with every column of the site, their files, tags with the site's ids, and the side tables.

Only rows that belong to the chosen posts are there, so every foreign key holds. Beside the database lies a
``metadata.yml`` for datasette.
"""

import contextlib
import sqlite3
from collections.abc import Collection
from typing import Final

import pyarrow as pa

from danbooru_pipeline.consume.exports import sqlite_schema as sql
from danbooru_pipeline.consume.exports.datasette import datasette_metadata
from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.side_rows import open_side_tables, side_rows
from danbooru_pipeline.consume.exports.used_tags import count_used_tags, more_of_tags, post_tag_pairs
from danbooru_pipeline.consume.exports.wanted import WithoutFiles, with_or_without_files
from danbooru_pipeline.consume.windows import ChosenRows
from danbooru_pipeline.errors import ReleaseError

#: Facts about the export itself, for who has nothing but the database.
_ABOUT: Final = "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
#: Our own columns that are not data about a post.
_NOT_EXPORTED: Final = sql.LISTS | {"raw"}
#: Columns of tags that are ours.
_OF_TAGS: Final = frozenset({"id", "name", "category", "post_count"})


def write(job: Job) -> None:
    """Write the database and ``metadata.yml``."""
    rows = job.chosen.rows
    count_used_tags(rows)
    with contextlib.closing(sqlite3.connect(job.file)) as database:
        database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")
        database.execute(_ABOUT)
        database.executemany("INSERT INTO about VALUES (?,?)", _facts(job).items())
        _write_posts(job, database)
        _write_tags(rows, database)
        tables = open_side_tables(rows)
        keyed = {name for name, columns in tables.items() if _has_key(rows, side_rows(name, columns))} | {"posts"}
        for name, columns in tables.items():
            _copy(rows, database, name, query=side_rows(name, columns), keyed=keyed)
        if "pools" in tables:
            database.executescript(sql.pool_posts(keyed))
            _insert(
                rows,
                database,
                "pool_posts",
                query="SELECT pool_id, position, post_id FROM chosen_pools ORDER BY pool_id, position",
            )
        database.executescript(sql.INDEXES + sql.VIEWS)
        for name in sql.FULL_TEXT:
            held = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
            if set(held).intersection(sql.FULL_TEXT[name]):
                database.executescript(sql.full_text(name, held, keyed=name in keyed | {"tags"}))
        database.commit()
        database.executescript("ANALYZE; PRAGMA synchronous = FULL;")
    (job.target / "metadata.yml").write_text(datasette_metadata(job.about, job.name), encoding="utf-8")
    job.written = job.chosen.posts


def _facts(job: Job) -> dict[str, str]:
    about = job.about
    return {
        "release": about.name,
        "version": about.version,
        "last_id": str(about.last_id),
        "sha256sums_sha256": about.sha256sums_sha256,
        "posts": str(job.chosen.posts),
        "terms": "The works belong to their artists; see NOTICE.md of the release.",
    }


def _write_posts(job: Job, database: sqlite3.Connection) -> None:
    rows = job.chosen.rows
    schema = _schema(rows, "posts")
    files = _schema(rows, "files")
    # Readers ask posts for their file, as the first version of this table had it.
    tree = "px512_" if job.chosen.tree == "512px" else ""
    shown = [("path", f"{tree}path"), ("sha256", f"{tree}sha256"), ("width", "width"), ("height", "height")]
    columns = [f"p.{sql.quoted(field.name)}" for field in schema] + [
        f'f."{source}" AS "{name}"' for name, source in shown
    ]
    for name, source in shown:
        if source not in files.names:
            raise ReleaseError(f"the manifest of {job.release} has no {source}; verify it first")
        schema = schema.append(pa.field(name, files.field(source).type))
    database.execute(sql.create_table("posts", schema))
    database.execute(sql.create_table("files", files, references={"id": "posts"}))
    database.executescript(sql.TABLES.format(more=_more_of_tags(rows)))
    for window, query in rows.windowed(", ".join(columns)):
        within = f"id BETWEEN {window.first} AND {window.last} AND id IN (SELECT id FROM chosen)"
        _insert(rows, database, "posts", query=query)
        _insert(rows, database, "files", query=f"SELECT * FROM files WHERE {within} ORDER BY id")
        _insert(rows, database, "post_tags", query=post_tag_pairs(window))
        job.meter.count_step(window.rows)


def _more_of_tags(rows: ChosenRows) -> str:
    return "".join(f", {sql.quoted(f.name)} {sql.sql_type(f.type)}" for f in _fields_of_tags(rows))


def _fields_of_tags(rows: ChosenRows) -> list[pa.Field]:
    """What the site's table of tags has beyond our columns."""
    more, _ = more_of_tags(rows, known=_OF_TAGS)
    return [field for field in _schema(rows, "side_tags") if field.name in more] if more else []


def _write_tags(rows: ChosenRows, database: sqlite3.Connection) -> None:
    more, joined = more_of_tags(rows, known=_OF_TAGS)
    columns = "".join(f", t.{sql.quoted(name)}" for name in more)
    query = f"SELECT u.id, u.name, u.category, u.posts{columns} FROM used_tags u {joined} ORDER BY u.id"
    _insert(rows, database, "tags", query=query)


def _has_key(rows: ChosenRows, query: str) -> bool:
    """Whether `id` is a number that each row has, and no other; the tables of a source may be odd."""
    if not pa.types.is_integer(rows.schema(query).field("id").type):
        return False
    counts = rows.run(f"SELECT count(*), count(id), count(DISTINCT id) FROM ({query})").fetchall()
    return len(set(counts[0])) == 1


def _copy(rows: ChosenRows, database: sqlite3.Connection, name: str, *, query: str, keyed: Collection[str]) -> None:
    schema = pa.schema([field for field in _schema(rows, f"side_{name}") if field.name != "post_ids"])
    database.execute(sql.create_table(name, schema, keyed=keyed))
    listed = ", ".join(sql.quoted(field.name) for field in schema)
    _insert(rows, database, name, query=f"SELECT {listed} FROM ({query})")


def _insert(rows: ChosenRows, database: sqlite3.Connection, name: str, *, query: str) -> None:
    cursor = rows.run(query)
    columns = [column[0] for column in cursor.description or ()]
    statement = sql.insert(name, columns)
    while batch := cursor.fetchmany(10_000):
        simple = isinstance(batch[0][-1], int) and len(columns) <= 3
        database.executemany(statement, batch if simple else ([*map(sql.plain, row)] for row in batch))


def _schema(rows: ChosenRows, view: str) -> pa.Schema:
    schema = rows.schema(f"SELECT * FROM {view}")
    return pa.schema([field for field in schema if field.name not in _NOT_EXPORTED or view.startswith("side_")])


FORM = Form(
    write=write,
    options=WithoutFiles,
    is_file=True,
    takes_files=False,
    select=with_or_without_files,
    size=lambda posts, _size, _options: posts * 4_000,
)
