"""A DuckDB database: posts with all columns, files, tags and the side tables, for people who analyse in SQL.

Posts keep their lists (`tags`, `pools`, `favs`), which DuckDB reads as they are.
"""

from typing import Final

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.side_rows import open_side_tables, side_rows
from danbooru_pipeline.consume.exports.sqlite_schema import quoted
from danbooru_pipeline.consume.exports.used_tags import count_used_tags, more_of_tags
from danbooru_pipeline.consume.exports.wanted import WithoutFiles, with_or_without_files

#: What DuckDB may hold while it writes; a window of posts with long descriptions needs half of it.
_MEMORY: Final = "400MB"


def write(job: Job) -> None:
    """Write the database."""
    rows = job.chosen.rows
    count_used_tags(rows)
    attached = rows.run("SELECT 1")
    path = str(job.file).replace("'", "''")
    # DuckDB would keep what it has written in memory, up to most of the machine's.
    attached.execute(f"SET memory_limit = '{_MEMORY}'")
    attached.execute(f"ATTACH '{path}' AS export")
    attached.execute("CREATE TABLE export.posts AS SELECT * FROM posts WHERE false")
    attached.execute("CREATE TABLE export.files AS SELECT * FROM files WHERE false")
    for window in rows.windows:
        within = f"id BETWEEN {window.first} AND {window.last} AND id IN (SELECT id FROM chosen)"
        for table in ("posts", "files"):
            attached.execute(f"INSERT INTO export.{table} SELECT * FROM {table} WHERE {within} ORDER BY id")
        job.meter.count_step(window.rows)
    names, joined = more_of_tags(rows, known={"id", "name", "category"})
    more = ", ".join(f"t.{quoted(name)}" for name in names) or "NULL AS note"
    attached.execute(
        f"CREATE TABLE export.tags AS SELECT u.id, u.name, u.category, u.posts, {more} FROM used_tags u {joined} "
        "ORDER BY u.id"
    )
    for name, columns in open_side_tables(rows).items():
        attached.execute(f"CREATE TABLE export.{name} AS {side_rows(name, columns)}")
    attached.execute("DETACH export")
    job.written = job.chosen.posts


FORM = Form(
    write=write,
    options=WithoutFiles,
    is_file=True,
    takes_files=False,
    select=with_or_without_files,
    size=lambda posts, _size, _options: posts * 900,
)
