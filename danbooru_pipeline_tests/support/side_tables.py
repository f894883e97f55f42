"""Side tables that give posts the ids of their tags, pools and favourites."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.posts import encode_record

POOLS = {10152: ([1002, 2003, 1002], "series"), 4162: ([1002, 77], "collection")}
FAVORITES = [(5, 1002), (3, 1002), (9, 2003)]
TAGS = {"1girl": 470575, "solo": 212816}


def lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Records as a side table has them."""
    return b"".join(map(encode_record, records))


def side_tables(folder: Path) -> dict[str, Path]:
    """Tags, pools and favourites, with a record in each by which nothing can be joined."""
    tables: dict[str, list[dict[str, Any]]] = {
        "tags": [{"id": str(id_), "name": name, "category": "0"} for name, id_ in TAGS.items()] + [{"id": "3"}],
        "pools": [{"id": str(i), "post_ids": list(map(str, p)), "category": c} for i, (p, c) in POOLS.items()],
        "favorites": [{"id": "1", "user_id": str(user), "post_id": str(post)} for user, post in FAVORITES] + [{}],
    }
    for name, records in tables.items():
        write_atomic(folder / f"{name}.json", lines(records))
    return {name: folder / f"{name}.json" for name in tables}
