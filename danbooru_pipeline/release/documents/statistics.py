"""Counts over a release's own tables: the numbers of its page, its card and its datasheet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from danbooru_pipeline.images import IMAGE_TYPES
from danbooru_pipeline.io.sql import database, view
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.release.tables.tag_totals import TABLE

TOP_TAGS = 20
#: A tag counts as growing if at least this many posts of the release's year have it.
GROWING_POSTS = 5
#: Under which posts without a rating are counted.
UNKNOWN_RATING = "?"


@dataclass(frozen=True, slots=True)
class Bar:
    """Something counted, and how often it occurs."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class TagBar:
    """A tag: how many posts have it (`count`), and how many of them are from the release's year (`fresh`)."""

    name: str
    category: str
    count: int
    fresh: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Counts of posts; `types` and `sizes` count originals, by what they are on disk.

    Attributes:
        optimized: types of which some originals were made smaller, as that type.
    """

    years: list[Bar] = field(default_factory=list)
    ratings: list[Bar] = field(default_factory=list)
    types: list[Bar] = field(default_factory=list)
    optimized: frozenset[str] = frozenset()
    tags_per_post: list[Bar] = field(default_factory=list)
    sizes: list[Bar] = field(default_factory=list)
    deleted: int = 0
    categories: list[Bar] = field(default_factory=list)
    top_tags: list[TagBar] = field(default_factory=list)
    growing: list[TagBar] = field(default_factory=list)
    samples: list[tuple[int, str]] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Originals that are images; the others are videos, archives and the like."""
        return sum(bar.count for bar in self.types if bar.name in IMAGE_TYPES) + self.archived

    @property
    def archived(self) -> int:
        """JPG originals that are kept as JPEG XL."""
        return sum(bar.count for bar in self.types if bar.name == ARCHIVE_EXTENSION)

    @property
    def others(self) -> int:
        """Originals that are no images."""
        return sum(bar.count for bar in self.types) - self.images

    @property
    def tags_each(self) -> float:
        """Average number of tags per post."""
        posts = sum(bar.count for bar in self.ratings)
        return sum(bar.count for bar in self.categories) / posts if posts else 0.0


#: Upper bounds of the size classes, in bytes.
_SIZES = ((2**16, "< 64 KiB"), (2**18, "64–256 KiB"), (2**20, "256 KiB–1 MiB"), (2**22, "1–4 MiB"), (2**24, "4–16 MiB"))
_LARGEST = "≥ 16 MiB"
_RATING = f"coalesce(rating, '{UNKNOWN_RATING}')"
#: The type of an original as it is stored; `file_type` says what the source sent.
_STORED = (
    f"CASE WHEN path LIKE '%.{ARCHIVE_EXTENSION}' THEN '{ARCHIVE_EXTENSION}' ELSE coalesce(file_type, 'other') END"
)


def gather_statistics(
    folder: Path, *, sfw: Sequence[str], threads: int, spill: Path | None, samples: int = 24
) -> Statistics:
    """Count a release whose tables are written.

    Args:
        folder: of the tree.
        sfw: ratings of 512px images that may be shown.
        threads: for counting.
        spill: where what does not fit in memory may be written; the system's temporary folder if None.
        samples: how many 512px images to choose, by a hash of their id.
    """
    with database(threads=threads, spill=spill) as connection:
        _create_views(connection, folder)
        return Statistics(
            years=_bars(connection, "SELECT created, count(*) FROM p GROUP BY 1 ORDER BY 1"),
            ratings=_bars(connection, f"SELECT {_RATING}, count(*) FROM posts GROUP BY 1 ORDER BY 1"),
            types=_bars(
                connection,
                f"SELECT {_STORED}, count(*) FROM files WHERE path IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1",
            ),
            optimized=_optimized(connection),
            tags_per_post=_tags_per_post(connection),
            sizes=_sizes(connection),
            deleted=_number(connection, "SELECT count(*) FROM posts WHERE is_deleted"),
            categories=_bars(connection, "SELECT category, sum(n)::BIGINT FROM tags GROUP BY 1 ORDER BY 2 DESC, 1"),
            top_tags=_tags(connection, "ORDER BY n DESC, tag, category"),
            growing=_tags(
                connection,
                f"WHERE fresh >= {GROWING_POSTS} AND category IN ('general', 'copyright', 'character') "
                "ORDER BY fresh / (n - fresh + 1.0) DESC, fresh DESC, tag, category",
            ),
            samples=_samples(connection, samples, sfw=sfw),
        )


def _create_views(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    view(connection, "posts", folder, "parquet/posts-*.parquet")
    view(connection, "files", folder, "manifest/files-*.parquet")
    connection.execute("CREATE VIEW p AS SELECT *, coalesce(year(created_at), 0) AS created FROM posts")
    view(connection, "counts", folder, f"parquet/{TABLE}-*.parquet")
    connection.execute(
        "CREATE VIEW tags AS SELECT name AS tag, category, posts AS n, posts_of_year AS fresh FROM counts"
    )


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _bars(connection: duckdb.DuckDBPyConnection, query: str) -> list[Bar]:
    return [Bar(str(name), int(count)) for name, count in connection.execute(query).fetchall()]


def _tags(connection: duckdb.DuckDBPyConnection, clauses: str) -> list[TagBar]:
    query = f"SELECT tag, category, n, fresh FROM tags {clauses} LIMIT {TOP_TAGS}"
    return [TagBar(*row) for row in connection.execute(query).fetchall()]


def _optimized(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    query = f"SELECT {_STORED}, count(*) FROM files WHERE path IS NOT NULL AND optimized GROUP BY 1"
    return frozenset(bar.name for bar in _bars(connection, query)) - {ARCHIVE_EXTENSION}


def _tags_per_post(connection: duckdb.DuckDBPyConnection) -> list[Bar]:
    """Posts by their number of tags, in steps of five."""
    counted = "len(list_filter(string_split(coalesce(tag_string, ''), ' '), lambda t: t <> ''))"
    query = f"SELECT least({counted} // 5 * 5, 100) AS step, count(*) FROM posts GROUP BY 1 ORDER BY 1"
    steps = dict(connection.execute(query).fetchall())
    last = max(steps, default=0)
    return [Bar(f"{n}+" if n == 100 else f"{n}–{n + 4}", steps.get(n, 0)) for n in range(0, last + 5, 5)]


def _sizes(connection: duckdb.DuckDBPyConnection) -> list[Bar]:
    cases = " ".join(f"WHEN size < {end} THEN {number}" for number, (end, _) in enumerate(_SIZES))
    query = f"SELECT CASE {cases} ELSE {len(_SIZES)} END, count(*) FROM files WHERE path IS NOT NULL GROUP BY 1"
    found = dict(connection.execute(query).fetchall())
    return [Bar(name, found.get(n, 0)) for n, name in enumerate([*(name for _, name in _SIZES), _LARGEST])]


def _samples(connection: duckdb.DuckDBPyConnection, count: int, *, sfw: Sequence[str]) -> list[tuple[int, str]]:
    """512px images to show, the safest rating first. Their order depends on ids alone, so it lasts."""
    connection.execute(
        "CREATE TABLE shown AS SELECT unnest(?::VARCHAR[]) AS rating, unnest(?::INT[]) AS place",
        [list(sfw), list(range(len(sfw)))],
    )
    query = (
        "SELECT id, px512_path FROM files JOIN shown USING (rating) WHERE px512_path IS NOT NULL "
        f"ORDER BY place > 0, md5(id::VARCHAR), id LIMIT {int(count)}"
    )
    return [(int(id_), str(path)) for id_, path in connection.execute(query).fetchall()]
