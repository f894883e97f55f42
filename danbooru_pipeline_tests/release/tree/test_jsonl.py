"""The dialect of 2021, byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.io.atomic import atomic_file
from danbooru_pipeline.posts import (
    RejectedRow,
    encode_2021,
    encode_record,
    parse_api_record,
    posts_table,
    to_2021_dialect,
    write_posts,
)
from danbooru_pipeline.release import write_posts_jsonl
from danbooru_pipeline.release_paths import metadata_path

# Two posts as the JSON API gave them (2023, 2024), cut to a few fields.
POST_2023: dict[str, Any] = {
    "id": 6148687,
    "created_at": "2023-03-17T03:50:45.513-04:00",
    "uploader_id": 1013805,
    "score": 0,
    "source": "https://twitter.com/1draw_roid/status/1632379691532419080",
    "md5": "35285a8853db237e43ef01883738c833",
    "last_comment_bumped_at": None,
    "rating": "g",
    "image_width": 1000,
    "image_height": 1400,
    "tag_string": "1girl blue_dress onozuka_komachi >_< a&b <o>",
    "parent_id": None,
    "has_children": False,
    "down_score": -1,
    "updated_at": "2023-03-17T03:50:45.000-04:00",
    "bit_flags": 0,
}
LINE_2023 = (
    b'{"id":"6148687","created_at":"2023-03-17 07:50:45.513 UTC","uploader_id":"1013805","score":"0",'
    b'"source":"https://twitter.com/1draw_roid/status/1632379691532419080","md5":"35285a8853db237e43ef01883738c833",'
    b'"rating":"g","image_width":"1000","image_height":"1400",'
    b'"tag_string":"1girl blue_dress onozuka_komachi \\u003e_\\u003c a\\u0026b \\u003co\\u003e",'
    b'"has_children":false,"down_score":"-1","updated_at":"2023-03-17 07:50:45 UTC","bit_flags":"0"}\n'
)
POST_WITH_EXTRA = {
    "id": 1,
    "created_at": "2024-06-26T14:01:50.904-04:00",
    "media_asset": {
        "id": 1,
        "created_at": "2024-05-07T11:21:29.307-04:00",
        "duration": None,
        "is_public": True,
        "variants": [{"type": "180x180", "width": 127}],
    },
    "score": {"not": "a number"},
}
LINE_WITH_EXTRA = (
    b'{"id":"1","created_at":"2024-06-26 18:01:50.904 UTC","media_asset":{"id":"1",'
    b'"created_at":"2024-05-07 15:21:29.307 UTC","is_public":true,"variants":[{"type":"180x180","width":"127"}]},'
    b'"score":{"not":"a number"}}\n'
)


def lines_of(*records: dict[str, Any]) -> bytes:
    """Records of the API as lines."""
    rows = [parse_api_record(record) for record in records]
    return encode_2021(posts_table([row for row in rows if not isinstance(row, RejectedRow)]))


def test_real_record_has_the_exact_bytes() -> None:
    """Integers are strings, nulls are left out, times are UTC without trailing zeros, markup is escaped."""
    assert lines_of(POST_2023) == LINE_2023


def test_columns_that_are_not_ours_come_back_as_columns() -> None:
    """Unknown columns, and known ones of an unknown type, are written last in the same style."""
    assert lines_of(POST_WITH_EXTRA) == LINE_WITH_EXTRA
    assert lines_of(POST_WITH_EXTRA, POST_2023) == LINE_WITH_EXTRA + LINE_2023


def test_one_record_has_the_same_dialect() -> None:
    """The generic form, for side tables, writes the same line."""
    assert encode_record(POST_2023) == LINE_2023


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2021-12-31T18:03:35.373-05:00", "2021-12-31 23:03:35.373 UTC"),
        ("2008-06-10 03:08:07.342050 UTC", "2008-06-10 03:08:07.34205 UTC"),
        ("2020-01-01T10:20:30Z", "2020-01-01 10:20:30 UTC"),
        ("2020-01-01T10:20:30.000Z", "2020-01-01 10:20:30 UTC"),
        ("never", "never"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_timestamps_keep_what_they_cannot_say(value: str, expected: str) -> None:
    """A time is UTC in the mirror's form; other text is unchanged."""
    assert to_2021_dialect({"expires_at": value}) == {"expires_at": expected}
    assert to_2021_dialect({"name": value}) == {"name": value}


def test_other_values_keep_their_type() -> None:
    """Booleans, fractions, lists and big numbers survive."""
    record = {"a": True, "b": 1.5, "c": [1, None, "x", {"d": None, "e": 2**70}], "f": None, "g": []}
    assert to_2021_dialect(record) == {"a": True, "b": 1.5, "c": ["1", None, "x", {"e": str(2**70)}], "g": []}


@given(st.text(), st.text(), st.integers(-(2**62), 2**62))
def test_any_text_comes_back(tags: str, source: str, score: int) -> None:
    """Any text of a post stays on one line and parses to the same."""
    tags, source = (text.encode("utf-8", "replace").decode() for text in (tags, source))
    data = lines_of({**POST_2023, "tag_string": tags, "source": source, "score": score})
    assert data.count(b"\n") == 1
    assert not set(b"<>&") & set(data)
    row = json.loads(data)
    assert (row["tag_string"], row["source"], row["score"]) == (tags, source, str(score))


@pytest.mark.parametrize(("posts", "sizes"), [(0, [0]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_shards_are_full_before_the_next_begins(tmp_path: Path, posts: int, sizes: list[int]) -> None:
    """Files are named like an extract and have at most so many rows; together they have each post once."""
    rows = [parse_api_record({**POST_2023, "id": number + 1}) for number in range(posts)]
    with atomic_file(tmp_path / "posts.parquet") as file:
        write_posts(posts_table([row for row in rows if not isinstance(row, RejectedRow)]), file)
    written = write_posts_jsonl(
        [tmp_path / "posts.parquet"], lambda n: tmp_path / metadata_path(2021, "posts", n), rows_per_file=4
    )
    assert [file.rows for file in written] == sizes
    assert written[0].path.name == "posts000000000000.json"
    ids = [int(json.loads(line)["id"]) for file in written for line in file.path.read_bytes().splitlines()]
    assert ids == list(range(1, posts + 1))
