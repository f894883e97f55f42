"""Posts to be searched, without a release around them: tables in memory, an index of them, and a loop over them."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.release_paths import INDEX_BITMAPS, INDEX_NAMES
from danbooru_pipeline.search import Search, parse
from danbooru_pipeline.search.catalog import Catalog, IndexCatalog, Names, ScannedCatalog
from danbooru_pipeline.search.evaluate import Evaluation, Found, keys_of, patterns_of
from danbooru_pipeline.search.index import kind_of, write_index
from danbooru_pipeline.search.names import Relations
from danbooru_pipeline.search.postings import Read

Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CUTOFF = datetime(2022, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
TAGS = (
    "1girl",
    "solo",
    "long_hair",
    "short_hair",
    "comic",
    "cat",
    "dog",
    "hat",
    "that",
    ":)",
    "a_(b)",
    "Saber",
)
BATCH = 37

POSTS = pa.schema(
    [
        ("id", pa.int64()), ("tag_string", pa.string()), ("rating", pa.string()), ("score", pa.int64()),
        ("file_ext", pa.string()), ("image_width", pa.int64()), ("image_height", pa.int64()),
        ("created_at", pa.timestamp("us", tz="UTC")), ("parent_id", pa.int64()), ("has_children", pa.bool_()),
        ("is_deleted", pa.bool_()), ("is_pending", pa.bool_()), ("is_flagged", pa.bool_()), ("is_banned", pa.bool_()),
        ("source", pa.string()), ("fav_count", pa.int64()), ("pools", pa.list_(pa.int64())), ("tag_count", pa.int64()),
    ]
)  # fmt: skip
FILES = pa.schema(
    [("id", pa.int64()), ("status", pa.string()), ("path", pa.string()), ("px512_path", pa.string()),
     ("px512_flags", pa.list_(pa.string())), ("width", pa.int32()), ("height", pa.int32())]
)  # fmt: skip


def make_tables(count: int, *, seed: int, largest: int = 200_000) -> dict[str, pa.Table]:
    """Random posts, their files, and side tables, with nulls wherever a release may have them."""
    dice = random.Random(seed)
    ids = sorted(dice.sample(range(1, largest), count))
    posts, files = [], []

    def maybe(value: Any) -> Any:
        return None if dice.random() < 0.1 else value

    for id_ in ids:
        tags = dice.sample(TAGS, dice.randint(0, 6))
        posts.append({
            "id": id_, "tag_string": maybe("  ".join(tags)), "rating": maybe(dice.choice("gsqe")),
            "score": maybe(dice.randint(-5, 20)), "file_ext": maybe(dice.choice(["png", "jpg", "mp4"])),
            "image_width": maybe(dice.choice([100, 1000, 2000])), "image_height": maybe(dice.choice([0, 100, 1500])),
            "created_at": EPOCH + timedelta(days=dice.randint(14_000, 19_350), microseconds=dice.randint(0, 10**10)),
            "parent_id": maybe(None) or (dice.choice(ids) if dice.random() < 0.2 else None),
            **{name: maybe(dice.random() < 0.2) for name in
               ("has_children", "is_deleted", "is_pending", "is_flagged", "is_banned")},
            "source": maybe(dice.choice(["", "https://www.pixiv.net/1", "HTTPS://X.com/a", "a (b) [c].*"])),
            "fav_count": maybe(dice.randint(0, 60)), "pools": maybe(dice.sample([3, 7, 11], dice.randint(0, 2))),
            "tag_count": len(tags),
        })  # fmt: skip
        files.append({
            "id": id_, "status": dice.choice(["ok", "missing"]), "path": maybe(f"original/{id_ % 1000:04d}/{id_}.png"),
            "px512_path": maybe(f"512px/{id_ % 1000:04d}/{id_}.jpg"), "width": maybe(dice.randint(1, 900)),
            "px512_flags": maybe(dice.sample(["few_colors", "hdr"], dice.randint(0, 2))),
            "height": maybe(dice.randint(1, 900)),
        })  # fmt: skip
    return {
        "posts": pa.Table.from_pylist(posts, schema=POSTS),
        "files": pa.Table.from_pylist(files, schema=FILES),
        "pools": pa.table({"id": [3, 7, 11], "name": ["Some_Pool", "another one", "some_more"]}),
        "notes": pa.table({"post_id": pa.array([*ids[::7], 0, -4, 2**40, 199_999_999, None], pa.int64())}),
        "tag_aliases": pa.table({
            "antecedent_name": ["kitty", "old"], "consequent_name": ["cat", "hat"], "status": ["active", "deleted"],
        }),
        "tag_implications": pa.table({
            "antecedent_name": ["cat", "short_hair"], "consequent_name": ["dog", "cat"], "status": ["active", "active"],
        }),
        "duplicates": pa.table({"a": ids[:3], "b": ids[3:6], "kind": ["identical", "variant", "identical"]}),
    }  # fmt: skip


#: Tags of posts 1, 2, …, in spellings that the site does not have, though older dumps may.
SPELT = ("Äpfel", "äpfelchen", "étude", "e\u0301tude", "İstanbul", "Saber", "saber_alter", "long_hair")
#: A search -> the posts that have one of `SPELT` so.
SPELLINGS: dict[str, list[int]] = {
    "Äp*": [1], "äp*": [2], "A\u0308p*": [1], "*PFEL*": [1, 2], "Äpfel": [1], "A\u0308pfel": [1], "ÄPFELCHEN": [2],
    "étude": [3], "e\u0301tude": [4], "É*": [3], "e\u0301*": [4], "*TUDE": [3, 4], "İst*": [5], "İstanbul": [5],
    "Saber*": [6], "saber*": [7], "SABER*": [7], "S*r": [6], "Long_*": [8], "-Long_*": [1, 2, 3, 4, 5, 6, 7],
}  # fmt: skip


def spelt_tables() -> dict[str, pa.Table]:
    """A post with each of `SPELT`, and what else `make_tables` gives."""
    tables = make_tables(len(SPELT), seed=8)
    ids = pa.array(range(1, len(SPELT) + 1), pa.int64())
    posts = {**{name: tables["posts"][name] for name in POSTS.names}, "id": ids, "tag_string": pa.array(SPELT)}
    files = {**{name: tables["files"][name] for name in FILES.names}, "id": ids}
    return {**tables, "posts": pa.table(posts, schema=POSTS), "files": pa.table(files, schema=FILES)}


def reader(tables: dict[str, pa.Table]) -> Read:
    """What reads these tables, some rows at a time."""

    def read(name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        if name in tables:
            table = tables[name].select([column for column in columns if column in tables[name].column_names])
            for start in range(0, table.num_rows, BATCH):
                yield table.slice(start, BATCH)

    return read


def names_on_disk(folder: Path) -> Names:
    """What gives the names of an index in a folder."""

    def read(field: str, _low: str, _high: str) -> pa.Table:
        names = pq.read_table(folder / INDEX_NAMES)
        return names.filter(pc.equal(names["field"], field)).combine_chunks()

    return read


def catalog_on_disk(folder: Path, bitmaps: BinaryIO) -> IndexCatalog:
    """The catalog of an index in a folder, whose file of bitmaps is open."""
    return IndexCatalog(names_on_disk(folder), bitmaps, kind_of(pq.read_schema(folder / INDEX_NAMES)))


class Posts:
    """The tables of some posts, with an index of them in a folder."""

    def __init__(self, folder: Path, tables: dict[str, pa.Table]) -> None:
        self.tables, self.folder, self.read = tables, folder, reader(tables)
        write_index(folder, self.read, sorted(tables), categories={"cat": "general"})

    def find(self, text: str, *, by_scan: bool = False, implications: bool = False) -> Found:
        """What a search finds by the index, or by a scan."""
        search = parse(text)
        relations = Relations(self.read, with_implications=implications)
        if by_scan:
            keys, patterns = keys_of(search, relations, self.read), patterns_of(search)
            return self._found(search, ScannedCatalog(self.read, sorted(self.tables), keys=keys, patterns=patterns))
        with (self.folder / INDEX_BITMAPS).open("rb") as file:
            return self._found(search, catalog_on_disk(self.folder, file), relations)

    def _found(self, search: Search, catalog: Catalog, relations: Relations | None = None) -> Found:
        cutoff = (CUTOFF - EPOCH) // timedelta(microseconds=1)
        given = relations or Relations(self.read)
        return Evaluation(catalog, self.read, given, label="these", cutoff=cutoff).find(search)

    def rows(self) -> list[Row]:
        """All posts with their files, as dictionaries."""
        files = {row["id"]: row for row in self.tables["files"].to_pylist()}
        noted = set(self.tables["notes"]["post_id"].to_pylist())
        doubles = self.tables["duplicates"]
        doubled = {*doubles["a"].to_pylist(), *doubles["b"].to_pylist()}
        return [
            {
                **{f"file_{name}": value for name, value in files[row["id"]].items()},
                **row,
                "tags": set((row["tag_string"] or "").split()),
                "noted": row["id"] in noted,
                "doubled": row["id"] in doubled,
            }
            for row in self.tables["posts"].to_pylist()
        ]


def _size(row: Row) -> tuple[int, int] | None:
    width, height = row["image_width"], row["image_height"]
    return None if width is None or height is None else (width, height)


def _active(row: Row) -> bool:
    return not any(row[f"is_{name}"] for name in ("deleted", "pending", "flagged", "banned"))


def _age(row: Row) -> timedelta:
    age: timedelta = CUTOFF - row["created_at"]
    return age


def _has_tag(name: str) -> Callable[[Row], bool]:
    return lambda row: name in row["tags"]


#: A condition as text -> the same as Python.
CONDITIONS: dict[str, Callable[[Row], bool]] = {
    **{tag: _has_tag(tag) for tag in TAGS},
    "kitty": lambda row: "cat" in row["tags"],
    "CAT": lambda row: "cat" in row["tags"],
    "*_hair": lambda row: any(tag.endswith("_hair") for tag in row["tags"]),
    "*hat*": lambda row: any("hat" in tag for tag in row["tags"]),
    "*": lambda row: bool(row["tags"]),
    "rating:g,q": lambda row: row["rating"] in {"g", "q"},
    "rating:explicit": lambda row: row["rating"] == "e",
    "score:>=10": lambda row: row["score"] is not None and row["score"] >= 10,
    "score:-2..3,7": lambda row: row["score"] is not None and (-2 <= row["score"] <= 3 or row["score"] == 7),
    "score:<99999999999999999": lambda row: row["score"] is not None,
    "id:1..1000,5000..": lambda row: row["id"] <= 1000 or row["id"] >= 5000,
    "width:>1000": lambda row: (row["image_width"] or 0) > 1000,
    "mpixels:<1": lambda row: _size(row) is not None and row["image_width"] * row["image_height"] < 1_000_000,
    "ratio:1:1": lambda row: _size(row) == (100, 100),
    "filetype:png,mp4": lambda row: row["file_ext"] in {"png", "mp4"},
    "date:2020": lambda row: row["created_at"].year == 2020,
    "date:<2010-03": lambda row: row["created_at"] < datetime(2010, 3, 1, tzinfo=UTC),
    "date:2010-02-03..2015-06-07": lambda row: (
        datetime(2010, 2, 3, tzinfo=UTC) <= row["created_at"] < datetime(2015, 6, 8, tzinfo=UTC)
    ),
    "age:<2y": lambda row: _age(row) < timedelta(days=730),
    "age:100w..500w": lambda row: timedelta(weeks=100) <= _age(row) <= timedelta(weeks=500),
    "status:deleted": lambda row: bool(row["is_deleted"]),
    "status:active,banned": lambda row: _active(row) or bool(row["is_banned"]),
    "parent:none": lambda row: row["parent_id"] is None,
    "child:any": lambda row: bool(row["has_children"]),
    "source:none": lambda row: not row["source"],
    "source:https": lambda row: re.match("https", row["source"] or "", re.IGNORECASE) is not None,
    'source:"a (b) [c].*"': lambda row: (row["source"] or "").startswith("a (b) [c]."),
    "fav:>50": lambda row: (row["fav_count"] or 0) > 50,
    "pool:any": lambda row: bool(row["pools"]),
    "pool:7": lambda row: 7 in (row["pools"] or ()),
    "pool:some*": lambda row: bool({3, 11} & set(row["pools"] or ())),
    "pool:another_one": lambda row: 7 in (row["pools"] or ()),
    "tagcount:>4": lambda row: row["tag_count"] > 4,
    "quality:hdr": lambda row: "hdr" in (row["file_px512_flags"] or ()),
    "quality:none": lambda row: not row["file_px512_flags"],
    "file:ok": lambda row: row["file_status"] == "ok",
    "image:512px": lambda row: row["file_px512_path"] is not None,
    "side:>500": lambda row: (
        None not in (row["file_width"], row["file_height"]) and min(row["file_width"], row["file_height"]) > 500
    ),
    "bucket:0-99": lambda row: row["id"] % 1000 < 100,
    "has:notes": lambda row: row["noted"],
    "duplicate:any": lambda row: row["doubled"],
    "is:child": lambda row: row["parent_id"] is not None,
}
