"""Decisions of people about tags, as a layer beside the posts of a release, which stay as the site had them.

``corrections/`` says what was decided and what became of it; ``parquet-corrected/`` has the posts with the decisions
applied, when that is switched on. A decision is `open` while the post still differs from it, `adopted` once the site
has made the change itself, and `stale` when the file of the post was replaced since: somebody looked at another one.
The same decisions and posts give the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.parquet import no_rows, read_batches, row_count, write_parquet, write_shards
from danbooru_pipeline.posts import DICTIONARY_COLUMNS, POST_SCHEMA, conform
from danbooru_pipeline.posts.schema import CATEGORIES, TAG
from danbooru_pipeline.posts.tags import tag_columns
from danbooru_pipeline.release.tables.image_rows import release_shards
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release_paths import CORRECTIONS, corrected_path

#: Name of a tag -> number of its category.
Known = dict[str, int]


class State(StrEnum):
    """What became of a decision."""

    OPEN = "open"
    ADOPTED = "adopted"
    STALE = "stale"


#: What people decided: `sign` is ``+`` for a tag to add, ``-`` for one to remove; `md5` is of the file that they saw.
DECIDED_SCHEMA: Final = pa.schema(
    [
        pa.field("post_id", pa.int64(), nullable=False),
        ("tag", pa.string()),
        ("sign", pa.string()),
        ("reviewers", pa.int32()),
        ("decided_at", pa.string()),
        ("decided_in", pa.string()),
        ("p", pa.float32()),
        ("evidence", pa.string()),
        ("md5", pa.string()),
    ]
)
CORRECTIONS_SCHEMA: Final = DECIDED_SCHEMA.append(pa.field("state", pa.string()))
#: Columns of posts that decide about a state.
POSTS_COLUMNS: Final = ("id", "md5", "tag_string")


def judge(decided: pa.Table, posts: Iterable[pa.Table]) -> pa.Table:
    """Decisions about these posts, with their states, sorted by post and tag; others are left out.

    Args:
        decided: with the columns of `DECIDED_SCHEMA`.
        posts: with `POSTS_COLUMNS`.
    """
    by_post: dict[int, list[dict[str, Any]]] = {}
    for row in decided.select(DECIDED_SCHEMA.names).cast(DECIDED_SCHEMA).to_pylist():
        by_post.setdefault(row["post_id"], []).append(row)
    wanted = pa.array(sorted(by_post), pa.int64())
    rows: list[dict[str, Any]] = []
    for table in posts:
        for post in table.filter(pc.is_in(table["id"], wanted)).to_pylist():
            tags = set((post["tag_string"] or "").split())
            rows += [row | {"state": _state(row, post["md5"], tags).value} for row in by_post[post["id"]]]
    rows.sort(key=lambda row: (row["post_id"], row["tag"]))
    return pa.Table.from_pylist(rows, CORRECTIONS_SCHEMA)


def _state(row: dict[str, Any], md5: str | None, tags: set[str]) -> State:
    if (row["sign"] == "+") == (row["tag"] in tags):
        return State.ADOPTED
    return State.STALE if None not in (md5, row["md5"]) and md5 != row["md5"] else State.OPEN


def corrected(tables: Iterable[pa.Table], corrections: pa.Table, known: Known) -> Iterator[pa.Table]:
    """Posts with all open corrections applied.

    Args:
        tables: posts of `POST_SCHEMA`.
        corrections: of `CORRECTIONS_SCHEMA`.
        known: categories of tags, for those that are added.
    """
    changes: dict[int, list[dict[str, Any]]] = {}
    for row in corrections.filter(pc.equal(corrections["state"], State.OPEN.value)).to_pylist():
        changes.setdefault(row["post_id"], []).append(row)
    wanted = pa.array(sorted(changes), pa.int64())
    for table in map(conform, tables):
        touched = pc.is_in(table["id"], wanted)
        if not pc.any(touched).as_py():
            yield table
            continue
        changed = _apply(table.filter(touched), changes, known)
        rest = table.filter(pc.invert(touched))
        yield pa.concat_tables([rest, changed]).sort_by("id").combine_chunks()


def _apply(posts: pa.Table, changes: dict[int, list[dict[str, Any]]], known: Known) -> pa.Table:
    lists = []
    for row in posts.select(["id", "tags", *(f"tag_string_{name}" for name in CATEGORIES.values())]).to_pylist():
        tags = {tag["name"]: tag for tag in _tags(row)}
        for change in changes[row["id"]]:
            if change["sign"] == "-":
                tags.pop(change["tag"], None)
            else:
                # The counts of a release have no ids, and a new tag is a general one until the site says otherwise.
                tags[change["tag"]] = {"id": None, "name": change["tag"], "category": known.get(change["tag"], 0)}
        lists.append([tags[name] for name in sorted(tags)])
    made = pa.array(lists, pa.list_(TAG))
    columns = tag_columns(made) | {"tags": made, "raw": pa.nulls(len(made), pa.string())}
    for name, values in columns.items():
        field = POST_SCHEMA.field(name)
        posts = posts.set_column(POST_SCHEMA.get_field_index(name), field, values.cast(field.type))
    return posts


def _tags(row: dict[str, Any]) -> list[dict[str, Any]]:
    if row["tags"] is not None:
        return list(row["tags"])
    names = ((name, category) for category, title in CATEGORIES.items() for name in _words(row[f"tag_string_{title}"]))
    return [{"id": None, "name": name, "category": category} for name, category in names]


def _words(text: str | None) -> list[str]:
    return (text or "").split()


def known_tags(read: Callable[[str], Iterable[pa.Table]]) -> Known:
    """Name -> category of the tags that the posts of a release have; of several the one that most posts give it."""
    numbers = {title: number for number, title in CATEGORIES.items()}
    found: Known = {}
    for table in read(TAG_COUNTS):  # the most frequent come first
        for row in table.select(["name", "category"]).to_pylist():
            found.setdefault(row["name"], numbers.get(row["category"], 0))
    return found


def write_corrections(folder: Path, decided: Path | None, *, with_posts: bool) -> None:
    """Write the layer of a tree whose posts and tag counts are written; nothing where nobody decided anything."""
    if decided is None:
        return
    shards = release_shards(folder, "parquet/posts")
    read = partial(read_batches, columns=POSTS_COLUMNS)
    rows = judge(pa.concat_tables([no_rows(DECIDED_SCHEMA), *read_batches(decided)]), _all(read, shards))
    write_parquet(folder / CORRECTIONS, iter([rows]), schema=CORRECTIONS_SCHEMA, dictionary=("state", "sign"))
    if with_posts:
        known = known_tags(lambda table: _all(read_batches, release_shards(folder, f"parquet/{table}")))
        write_shards(
            corrected(_all(read_batches, shards), rows, known),
            sum(map(row_count, shards)),
            path_of=lambda n, of: folder / corrected_path("posts", n, of=of),
            schema=POST_SCHEMA,
            dictionary=DICTIONARY_COLUMNS,
        )


def _all(read: Callable[[Path], Iterable[pa.Table]], paths: Iterable[Path]) -> Iterator[pa.Table]:
    for path in paths:
        yield from read(path)
