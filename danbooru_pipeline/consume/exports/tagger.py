"""Training data of taggers: ``selected_tags.csv`` as WD taggers read it, and a table of each split.

Row N of ``selected_tags.csv`` is class N of a model. Rows of ratings come first (category 9), then general tags (0),
then characters (4), each by falling count. The tables have the path of each image in the release and its classes.
"""

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.image_folder import PICTURES
from danbooru_pipeline.consume.exports.splits import SplitOptions
from danbooru_pipeline.consume.exports.used_tags import CATEGORY_NUMBERS, UsedTag, count_used_tags, used_tags
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.search.splits import NAMES
from danbooru_pipeline.years import RATINGS

#: Category of ratings in the tables of WD taggers, and the id that they give the first of them.
_RATING, _FIRST_RATING_ID = 9, 9_999_999
_SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("path", pa.string()),
        ("rating", pa.string()),
        ("classes", pa.list_(pa.int32())),
    ]
)
_BATCH_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(SplitOptions):
    """Options of `tagger`.

    Attributes:
        splits: percent of train, validation and test.
        min_posts: fewest posts of a tag, among those that were chosen.
        categories: of tags.
    """

    splits: tuple[str, ...] = ("90", "5", "5")
    min_posts: int = 600
    categories: tuple[str, ...] = ("general", "character")

    def __post_init__(self) -> None:
        SplitOptions.__post_init__(self)
        if unknown := [name for name in self.categories if name not in CATEGORY_NUMBERS]:
            raise SettingsError(f"--categories {unknown[0]!r} does not exist; use {', '.join(CATEGORY_NUMBERS)}")


def write(job: Job) -> None:
    """Write the tags and the tables."""
    classes = _write_tags(job)
    with ExitStack() as stack:
        tables = {name: stack.enter_context(_Table(job, name)) for name in NAMES}
        for post in job.posts(only=PICTURES):
            tables[job.options.split_of(post.id) or NAMES[0]].add(post, sorted(_classes_of(post, classes)))
    job.notes.append(f"{len(classes):,} classes; images are not copied: `path` is that in the release.")


def _write_tags(job: Job) -> dict[str, int]:
    """Write ``selected_tags.csv``. Returns the class of each tag and rating."""
    options: Options = job.options
    count_used_tags(job.chosen.rows)
    numbers = [CATEGORY_NUMBERS[name] for name in options.categories]
    tags = [tag for tag in used_tags(job.chosen.rows) if tag.category in numbers and tag.posts >= options.min_posts]
    query = "SELECT rating, count(*) AS posts FROM posts WHERE id IN (SELECT id FROM chosen) GROUP BY 1"
    by_rating = {row["rating"]: row["posts"] for row in job.chosen.rows.dicts(query)}
    ratings = [
        UsedTag(_FIRST_RATING_ID - number, name, _RATING, by_rating.get(letter, 0), is_deprecated=False)
        for number, (letter, name) in enumerate(RATINGS.items())
    ]
    rows = [*ratings, *sorted(tags, key=lambda tag: numbers.index(tag.category))]
    with (job.target / "selected_tags.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("tag_id", "name", "category", "count"))
        table.writerows((tag.id, tag.name, tag.category, tag.posts) for tag in rows)
    return {f"{'rating:' if tag.category == _RATING else ''}{tag.name}": number for number, tag in enumerate(rows)}


def _classes_of(post: Chosen, classes: dict[str, int]) -> Iterator[int]:
    names = [f"rating:{RATINGS.get(post.rating or '', '')}", *dict.fromkeys(post.tag_string.split())]
    return (classes[name] for name in names if name in classes)


class _Table:
    """The table of a split, written in batches."""

    def __init__(self, job: Job, name: str) -> None:
        self._writer = pq.ParquetWriter(job.target / f"{name}.parquet", _SCHEMA, compression="zstd")
        self._rows: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, post: Chosen, classes: list[int]) -> None:
        self._rows.append({"id": post.id, "path": post.path, "rating": post.rating, "classes": classes})
        if len(self._rows) == _BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
        self._rows = []


FORM = Form(write=write, options=Options, size=lambda posts, _size, _options: posts * 80)
