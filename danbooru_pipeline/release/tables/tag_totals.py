"""The table of tag counts and its totals, counted from posts with Arrow alone.

`tag_counts` writes the table with DuckDB. This is the second way to the same numbers, by which `verify` knows them.
"""

from collections import Counter
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.release_json import CategoryCount, RatingCount, TagStatistics
from danbooru_pipeline.years import RATINGS

TABLE: Final = "tag_counts"
#: One row per tag and category, the most frequent first. `posts` are also counted by rating; `other` is any rating that
#: the site does not have. A tag is `new` if no post from before the release's year has it.
TAG_COUNTS_SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("posts", pa.int64(), nullable=False),
        *(pa.field(f"posts_{rating}", pa.int64(), nullable=False) for rating in (*RATINGS, "other")),
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

#: Partial counts, and names, that are held before they are added up; counts to one row per tag and category.
_HELD_ROWS: Final = 1_000_000
_KEYS: Final = ["name", "category"]
#: Posts are counted by a number of their rating and of when they were made, so that each tag is added up once. Ratings
#: come first; posts without a time count as made before.
_OTHER: Final = len(RATINGS)
_PERIODS: Final = _OTHER + 1
_CLASSES: Final = 16
#: Flag -> the classes that it counts.
_FLAGS: Final = {
    **{f"posts_{name}": [n + p * _PERIODS for p in range(3)] for n, name in enumerate((*RATINGS, "other"))},
    "before": list(range(_PERIODS)),
    "posts_of_year": list(range(_PERIODS, 2 * _PERIODS)),
}


class TagTally:
    """Counts the tags of posts, some posts at a time."""

    def __init__(self, year: int) -> None:
        self._year = year
        self._sums = _EMPTY
        self._parts: list[pa.Table] = []
        self._sizes: Counter[tuple[str, int]] = Counter()  # (rating, tags of a post) -> posts
        self._seen: list[pa.Array] = [pa.array([], pa.string())]

    def add(self, posts: pa.Table) -> None:
        """Count some posts."""
        table = posts.combine_chunks()
        rating = one_chunk(table["rating"]).cast(pa.string())
        classes = self._classes(table, rating)
        for name in CATEGORIES.values():
            part = _counted(one_chunk(table[f"tag_string_{name}"]), one_chunk(table["id"]), classes)
            self._hold(part.append_column("category", pa.repeat(name, part.num_rows)))
        self._measure(one_chunk(table["tag_string"]), rating)

    def _classes(self, table: pa.Table, rating: pa.Array) -> pa.Array:
        created = pc.year(one_chunk(table["created_at"]).cast(pa.timestamp("us"))).fill_null(0)
        place = pc.index_in(rating, value_set=pa.array(list(RATINGS))).fill_null(_OTHER).cast(pa.int64())
        period = pc.if_else(pc.less(created, self._year), 0, pc.if_else(pc.equal(created, self._year), 1, 2))
        return pc.add(place, pc.multiply(period.cast(pa.int64()), _PERIODS))

    def _measure(self, tags: pa.Array, rating: pa.Array) -> None:
        text = tags.fill_null("")
        words = pc.split_pattern(text, " ")
        empty = pc.equal(text, "")
        sizes = pc.if_else(empty, 0, pc.list_value_length(words))
        if pc.sum(pc.equal(words.flatten(), "")) != pc.sum(empty):  # a text has two spaces side by side, or at an end
            sizes = pa.array([len(list(filter(None, each.split(" ")))) for each in text.to_pylist()], pa.int32())
        pairs = pa.table({"rating": rating.fill_null("?"), "size": sizes})
        counted = pairs.group_by(["rating", "size"], use_threads=False).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self._sizes[row["rating"], row["size"]] += row["count_all"]
        self._seen.append(pc.unique(words.flatten()))
        if sum(map(len, self._seen[1:])) > _HELD_ROWS:
            self._seen = [self._names()]

    def _names(self) -> pa.Array:
        names = pc.unique(pa.concat_arrays(self._seen))
        return names.filter(pc.not_equal(names, ""))

    def _hold(self, part: pa.Table) -> None:
        self._parts.append(part)
        if sum(each.num_rows for each in self._parts) > _HELD_ROWS:
            self._add_up()

    def _add_up(self) -> None:
        if not self._parts:
            return
        whole = pa.concat_tables([self._sums, *(_by_flag(part) for part in self._parts)])
        self._sums, self._parts = _grouped(whole), []

    @property
    def tags(self) -> int:
        """How many different tags `tag_string` has."""
        return len(self._names())

    @property
    def instances(self) -> int:
        """How many tags all posts carry together in `tag_string`."""
        return sum(size * count for (_, size), count in self._sizes.items())

    def table(self) -> pa.Table:
        """The table of counts, in its order."""
        self._add_up()
        whole = self._sums
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
        **dict.fromkeys(("first_id", "posts", *_FLAGS), pa.nulls(0, pa.int64())),
    }
)


def _counted(tags: pa.Array, ids: pa.Array, classes: pa.Array) -> pa.Table:
    """Counts of the tags in one column, by the class of their posts."""
    words = pc.split_pattern(tags.fill_null(""), " ")
    names, rows = words.flatten(), pc.list_parent_indices(words)
    there = pc.not_equal(names, "")
    if not pc.all(there).as_py():
        names, rows = names.filter(there), rows.filter(there)
    encoded = names.dictionary_encode()
    keys = pc.add(pc.multiply(encoded.indices.cast(pa.int64()), _CLASSES), classes.take(rows))
    held = pa.table({"key": keys, "id": ids.take(rows)}).group_by("key", use_threads=False)
    counted = held.aggregate([([], "count_all"), ("id", "min")])
    key = one_chunk(counted["key"])
    columns = {
        "name": encoded.dictionary.take(pc.divide(key, _CLASSES)),
        "class": pc.bit_wise_and(key, _CLASSES - 1),
        "posts": counted["count_all"],
        "first_id": counted["id_min"],
    }
    return pa.table(columns)


def _by_flag(part: pa.Table) -> pa.Table:
    """Counts by class, each under the flags that count it."""
    posts, zero = part["posts"], pa.scalar(0, pa.int64())
    flags = {
        name: pc.if_else(pc.is_in(part["class"], pa.array(classes, pa.int64())), posts, zero)
        for name, classes in _FLAGS.items()
    }
    return pa.table({name: part[name] for name in (*_KEYS, "first_id", "posts")} | flags)


def _grouped(table: pa.Table) -> pa.Table:
    """The sums and the first id of each tag and category."""
    sums = [(name, "sum") for name in ("posts", *_FLAGS)]
    found = table.group_by(_KEYS, use_threads=False).aggregate([("first_id", "min"), *sums])
    return found.rename_columns([name.removesuffix("_sum").removesuffix("_min") for name in found.column_names])


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
