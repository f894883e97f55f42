"""The table of tag counts and its totals, counted from posts with Arrow alone.

`tag_counts` writes the table with DuckDB. This is the second way to the same numbers, by which `verify` knows them.
"""

from collections import Counter
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.release_json import CategoryCount, RatingCount, TagStatistics

TABLE: Final = "tag_counts"
_RATINGS: Final = ("g", "s", "q", "e")
#: One row per tag and category, the most frequent first. `posts` are also counted by rating; `other` is any rating that
#: the site does not have. A tag is `new` if no post from before the release's year has it.
TAG_COUNTS_SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("posts", pa.int64(), nullable=False),
        *(pa.field(f"posts_{rating}", pa.int64(), nullable=False) for rating in (*_RATINGS, "other")),
        pa.field("posts_of_year", pa.int64(), nullable=False),
        pa.field("first_id", pa.int64(), nullable=False),
        pa.field("new", pa.bool_(), nullable=False),
    ],
    metadata={"danbooru_pipeline.schema": "1"},
)

#: Columns of posts that counts are made from.
POSTS_COLUMNS: Final = (
    *("id", "created_at", "rating", "tag_string"),
    *(f"tag_string_{name}" for name in CATEGORIES.values()),
)

#: Partial counts that are held before they are added up.
_HELD_ROWS: Final = 1_000_000
_FLAGS: Final = (*(f"posts_{rating}" for rating in (*_RATINGS, "other")), "posts_of_year", "before")
_KEYS: Final = ["name", "category"]


class TagTally:
    """Counts the tags of posts, some posts at a time."""

    def __init__(self, year: int) -> None:
        self._year = year
        self._parts: list[pa.Table] = []
        self._rows = 0
        self._sizes: Counter[tuple[str, int]] = Counter()  # (rating, tags of a post) -> posts
        self._seen = pa.array([], pa.string())

    def add(self, posts: pa.Table) -> None:
        """Count some posts."""
        table = posts.combine_chunks()
        rating = _one(table["rating"]).cast(pa.string())
        flags = self._flags(table, rating)
        for name in CATEGORIES.values():
            part = _counted(table, f"tag_string_{name}", flags)
            self._hold(part.append_column("category", pa.repeat(name, part.num_rows)))
        self._measure(_one(table["tag_string"]), rating)

    def _flags(self, table: pa.Table, rating: pa.Array) -> dict[str, pa.Array]:
        """What is counted of each post, as 0 and 1."""
        created = pc.year(_one(table["created_at"]).cast(pa.timestamp("us"))).fill_null(0)
        text = rating.fill_null("")
        flags = {f"posts_{name}": pc.equal(text, name) for name in _RATINGS}
        flags["posts_other"] = pc.invert(pc.is_in(text, pa.array(_RATINGS)))
        flags["posts_of_year"] = pc.equal(created, self._year)
        flags["before"] = pc.less(created, self._year)
        return {name: flag.cast(pa.int64()) for name, flag in flags.items()}

    def _measure(self, tags: pa.Array, rating: pa.Array) -> None:
        words = pc.split_pattern(tags.fill_null(""), " ")
        names = words.flatten()
        there = pc.not_equal(names, "")
        # One more row for each post, so that those without tags count, too.
        rows = pa.concat_arrays([pc.list_parent_indices(words).filter(there), _numbers(len(tags))])
        sizes = pa.table({"row": rows}).group_by("row", use_threads=False).aggregate([([], "count_all")]).sort_by("row")
        pairs = pa.table({"rating": rating.fill_null("?"), "size": sizes["count_all"]})
        counted = pairs.group_by(["rating", "size"], use_threads=False).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self._sizes[row["rating"], row["size"] - 1] += row["count_all"]
        self._seen = pc.unique(pa.concat_arrays([self._seen, pc.unique(names.filter(there))]))

    def _hold(self, part: pa.Table) -> None:
        self._parts.append(part)
        self._rows += part.num_rows
        if self._rows > _HELD_ROWS:
            self._parts = [_added_up(self._parts)]
            self._rows = self._parts[0].num_rows

    @property
    def tags(self) -> int:
        """How many different tags `tag_string` has."""
        return len(self._seen)

    @property
    def instances(self) -> int:
        """How many tags all posts carry together in `tag_string`."""
        return sum(size * count for (_, size), count in self._sizes.items())

    def table(self) -> pa.Table:
        """The table of counts, in its order."""
        whole = _added_up(self._parts) if self._parts else _EMPTY
        whole = whole.append_column("new", pc.equal(whole["before"], 0))
        columns = [whole[field.name].cast(field.type) for field in TAG_COUNTS_SCHEMA]
        order = [("posts", "descending"), ("name", "ascending"), ("category", "ascending")]
        return pa.Table.from_arrays(columns, schema=TAG_COUNTS_SCHEMA).sort_by(order)

    def statistics(self) -> TagStatistics:
        """The totals."""
        counts = self.table()
        posts = sum(self._sizes.values())
        sizes = Counter[int]()
        by_rating: dict[str, list[int]] = {}
        for (rating, size), count in self._sizes.items():
            sizes[size] += count
            each = by_rating.setdefault(rating, [0, 0])
            each[0] += count
            each[1] += size * count
        names = counts.group_by("name").aggregate([("new", "all")])
        return TagStatistics(
            posts=posts,
            tags=names.num_rows,
            tag_instances=self.instances,
            tags_per_post={
                "mean": round(self.instances / posts, 3) if posts else 0.0,
                "median": _median(sizes),
                "most": float(max(sizes, default=0)),
            },
            new_tags=pc.sum(names["new_all"]).as_py() or 0,
            by_category=_by_category(counts),
            by_rating={name: RatingCount(posts=n, instances=m) for name, (n, m) in sorted(by_rating.items())},
        )


_EMPTY: Final = pa.table(
    {
        # Nulls: from a list Arrow makes an array only after it has imported pandas.
        **dict.fromkeys(_KEYS, pa.nulls(0, pa.string())),
        **dict.fromkeys(("posts", *_FLAGS, "first_id"), pa.nulls(0, pa.int64())),
    }
)


def _numbers(count: int) -> pa.Array:
    return pc.subtract(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), count)), 1)


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _counted(table: pa.Table, column: str, flags: dict[str, pa.Array]) -> pa.Table:
    """Counts of the tags in one column."""
    words = pc.split_pattern(_one(table[column]).fill_null(""), " ")
    names = words.flatten()
    there = pc.not_equal(names, "")
    rows = pc.list_parent_indices(words).filter(there)
    held = pa.table(
        {
            "name": names.filter(there),
            "id": _one(table["id"]).take(rows),
            **{name: flag.take(rows) for name, flag in flags.items()},
        }
    )
    sums = [(name, "sum") for name in _FLAGS]
    counted = held.group_by("name", use_threads=False).aggregate([([], "count_all"), *sums, ("id", "min")])
    renamed = {"count_all": "posts", "id_min": "first_id", **{f"{name}_sum": name for name in _FLAGS}}
    return counted.rename_columns([renamed.get(name, name) for name in counted.column_names])


def _added_up(parts: list[pa.Table]) -> pa.Table:
    held = pa.concat_tables([part.select([*_KEYS, "posts", *_FLAGS, "first_id"]) for part in parts])
    sums = [(name, "sum") for name in ("posts", *_FLAGS)]
    whole = held.group_by(_KEYS, use_threads=False).aggregate([*sums, ("first_id", "min")])
    return whole.rename_columns([name.removesuffix("_sum").removesuffix("_min") for name in whole.column_names])


def _by_category(counts: pa.Table) -> dict[str, CategoryCount]:
    whole = counts.append_column("fresh", counts["new"].cast(pa.int64()))
    found = whole.group_by("category").aggregate([([], "count_all"), ("fresh", "sum"), ("posts", "sum")])
    return {
        row["category"]: CategoryCount(tags=row["count_all"], new=row["fresh_sum"], instances=row["posts_sum"])
        for row in found.sort_by("category").to_pylist()
    }


def _median(sizes: Counter[int]) -> float:
    """The middle one, or the mean of the two middle ones."""
    total = sizes.total()
    if not total:
        return 0.0
    wanted = {(total - 1) // 2, total // 2}
    found: list[int] = []
    seen = 0
    for size in sorted(sizes):
        found += [size for place in wanted if seen <= place < seen + sizes[size]]
        seen += sizes[size]
    return sum(found) / len(found)
