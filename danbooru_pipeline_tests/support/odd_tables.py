"""Side tables of which every column has a value that is none of its kind, as a source may have a word among numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.side_tables import lines
from danbooru_pipeline_tests.support.yard import Yard

POSTS: Final = (5, 1002, 2003)
_AT: Final = "2020-01-02T03:04:05.000Z"
_ABOUT: Final = {"post_id": 5, "created_at": _AT, "score": 1, "creator_id": 3, "is_deleted": False}
#: Table -> a row that is about a post or a tag of the release.
ROWS: Final[Mapping[str, dict[str, Any]]] = {
    "tags": {"id": 470575, "name": "1girl", "category": 0, "post_count": 3, "is_deprecated": False, "created_at": _AT},
    "tag_aliases": {"id": 1, "antecedent_name": "girl", "consequent_name": "1girl", "status": "active"},
    "tag_implications": {"id": 1, "antecedent_name": "1girl", "consequent_name": "solo", "status": "active"},
    "artists": {"id": 7, "name": "solo", "is_deleted": False, "updated_at": _AT, "other_names": ["a", "b"]},
    "artist_urls": {"id": 1, "artist_id": 7, "url": "https://example.org", "is_active": True},
    "pools": {"id": 9, "name": "a_pool", "category": "series", "post_ids": [5, 1002], "post_count": 2},
    "notes": {"id": 1, **_ABOUT, "x": 1, "y": 2, "width": 3, "height": 4, "version": 1, "body": "b", "is_active": True},
    "artist_commentaries": {"id": 1, **_ABOUT, "original_title": "t", "original_description": "d"},
    "comments": {"id": 1, **_ABOUT, "body": "c"},
    "favorites": {"id": 1, "post_id": 5, "user_id": 3},
    "wiki_pages": {"id": 1, "title": "1girl", "body": "b", "other_names": ["c"]},
}  # fmt: skip
#: What stands where a number, a name, a time, a mark or a list belongs.
ODD: Final[Mapping[str, Any]] = {
    "small": "1e-7",
    "float": 5.0,
    "written": "5.0",
    "zero": "05",
    "day": "9999-12-31 23:59:59 UTC",
    "true": True,
    "list": ["a", "5"],
    "large": str(2**64),
    "object": {"a": 5},
    "empty": "",
    "none": None,
    "minus": "-5",
}


def odd_rows(value: Any, *, everywhere: bool) -> dict[str, bytes]:
    """The tables with a row for each column that has this value there; `everywhere` in each row, and no other row."""
    tables: dict[str, bytes] = {}
    for name, row in ROWS.items():
        if everywhere:
            rows = [dict.fromkeys(row, value)] * 2
        else:
            rows = [row, *({**row, "id": 100 + n, column: value} for n, column in enumerate(row))]
        tables[name] = lines(rows)
    return tables


def release_with(root: Path, tables: Mapping[str, bytes]) -> Path:
    """A release of some posts with these side tables. Returns its folder."""
    yard = Yard(Layout(root))
    for post_id in POSTS:
        yard.post(post_id)
    yard.tables |= tables
    return yard.release()
