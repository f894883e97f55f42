"""How often each tag occurs in a release, counted from its posts. The `tags` table counts posts that are not in it."""

from pathlib import Path
from typing import Any

import duckdb

from danbooru_pipeline.io.parquet import rechunk, write_shards
from danbooru_pipeline.io.sql import database, tables, view
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.release_json import CategoryCount, RatingCount, TagStatistics
from danbooru_pipeline.release.tables.tag_totals import TABLE, TAG_COUNTS_SCHEMA
from danbooru_pipeline.release_paths import parquet_path

_ROWS = 100_000

_INSTANCES = " UNION ALL ".join(
    f"SELECT id, created, rating, unnest(string_split(tag_string_{name}, ' ')) AS name, '{name}' AS category FROM p"
    for name in CATEGORIES.values()
)


def write_tag_counts(folder: Path, year: int, *, threads: int) -> TagStatistics:
    """Count the tags of a release whose posts are written, write ``parquet/tag_counts-….parquet``, return totals."""
    with database(threads=threads, spill=folder) as connection:
        view(connection, "posts", folder, "parquet/posts-*.parquet")
        connection.execute("CREATE VIEW p AS SELECT *, coalesce(year(created_at), 0) AS created FROM posts")
        ratings = ", ".join(f"count(*) FILTER (rating = '{rating}') AS posts_{rating}" for rating in "gsqe")
        other = "count(*) FILTER (coalesce(rating, '') NOT IN ('g', 's', 'q', 'e')) AS posts_other"
        of_year = f"count(*) FILTER (created = {int(year)})"
        connection.execute(
            f"CREATE TABLE counts AS SELECT name, category, count(*) AS posts, {ratings}, {other}, "
            f"{of_year} AS posts_of_year, min(id) AS first_id, count(*) FILTER (created < {int(year)}) = 0 AS new "
            f"FROM ({_INSTANCES}) WHERE name <> '' GROUP BY ALL"
        )
        rows = _row(connection, "SELECT count(*) FROM counts")[0]
        query = "SELECT * FROM counts ORDER BY posts DESC, name, category"
        write_shards(
            rechunk(tables(connection, query, TAG_COUNTS_SCHEMA), _ROWS),
            rows,
            path_of=lambda n, of: folder / parquet_path(TABLE, n, of=of),
            schema=TAG_COUNTS_SCHEMA,
            dictionary=("category",),
        )
        return _statistics(connection)


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return row


def _statistics(connection: duckdb.DuckDBPyConnection) -> TagStatistics:
    each = "len(list_filter(string_split(coalesce(tag_string, ''), ' '), lambda t: t <> ''))"
    connection.execute(f"CREATE TABLE sizes AS SELECT coalesce(rating, '?') AS rating, {each} AS n FROM posts")
    posts, instances, mean, median, most = _row(
        connection, "SELECT count(*), coalesce(sum(n), 0)::BIGINT, avg(n), median(n), max(n) FROM sizes"
    )
    categories = (
        "SELECT category, count(*), count(*) FILTER (new), sum(posts)::BIGINT FROM counts GROUP BY 1 ORDER BY 1"
    )
    ratings = "SELECT rating, count(*), sum(n)::BIGINT FROM sizes GROUP BY 1 ORDER BY 1"
    return TagStatistics(
        posts=posts,
        tags=_row(connection, "SELECT count(DISTINCT name) FROM counts")[0],
        tag_instances=instances,
        tags_per_post={"mean": round(mean or 0.0, 3), "median": float(median or 0), "most": float(most or 0)},
        new_tags=_row(connection, "SELECT count(*) FROM (SELECT name FROM counts GROUP BY name HAVING bool_and(new))")[
            0
        ],
        by_category={
            name: CategoryCount(tags=tags, new=new, instances=count)
            for name, tags, new, count in connection.execute(categories).fetchall()
        },
        by_rating={
            name: RatingCount(posts=count, instances=tags)
            for name, count, tags in connection.execute(ratings).fetchall()
        },
    )
