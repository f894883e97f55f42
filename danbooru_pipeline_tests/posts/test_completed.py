"""What a row lacks and says elsewhere, for rows of any origin."""

import json
from typing import Any

import pytest

from danbooru_pipeline.posts import complete_rows, parse_api_record, posts_table
from danbooru_pipeline.posts.completed import completed

MD5 = "c4ca4238a0b923820dcc509a6f75849b"


def complete(*records: dict[str, Any], says_banned: bool = False) -> list[dict[str, Any]]:
    """Records as rows that are complete."""
    rows = [parse_api_record({"id": 1, "created_at": "2021-06-01T00:00:00Z"} | record) for record in records]
    return list(complete_rows([row for row in rows if isinstance(row, dict)], says_banned=says_banned))


@pytest.mark.parametrize(
    "text",
    [
        MD5,
        MD5.upper(),
        f"\\x{MD5}",
        f"\\x{MD5.upper()}",
        "c4ca4238-a0b9-2382-0dcc-509a6f75849b",
        f" {MD5}\n",
        f"{MD5} ",
    ],
)
def test_an_md5_is_known_in_every_form_that_says_it(text: str) -> None:
    """Bytes of Postgres, a UUID, capitals and spaces around are other spellings of 32 digits."""
    assert complete({"md5": text})[0]["md5"] == MD5


@pytest.mark.parametrize("text", ["xMpCOKC5I4INzFCab3WEmw==", MD5[:-1], f"{MD5}0", f"{MD5[:9]}-{MD5[9:]}", "\\x", " "])
def test_what_is_no_md5_stays_as_it_is(text: str) -> None:
    """Digits are not guessed."""
    assert complete({"md5": text})[0]["md5"] == text


@pytest.mark.parametrize("text", ["jpg", "JPG", ".jpg", " .JPG "])
def test_an_extension_is_known_in_every_form_that_says_it(text: str) -> None:
    """Capitals, the dot and spaces around are other spellings."""
    assert complete({"file_ext": text})[0]["file_ext"] == "jpg"


def test_what_the_address_says_is_found_beside_nested_media() -> None:
    """A nested object with keys of the same names is not the column; a value that could not be typed stays in doubt."""
    address = {
        "file_url": f"https://example.org/original/c4/ca/{MD5}.png",
        "media_asset": {"md5": "x", "file_ext": "y"},
    }
    found, doubtful = complete(address, {**address, "md5": 7})
    assert (found["md5"], found["file_ext"]) == (MD5, "png")
    assert (doubtful["md5"], doubtful["file_ext"]) == (None, "png")


@pytest.mark.parametrize("known", [False, True])
def test_a_row_that_is_silent_beside_one_that_says_is_marked(*, known: bool) -> None:
    """Whether a post is banned is in doubt where another row says it, or an earlier answer did; not of a hidden one."""
    others = [] if known else [{"md5": MD5, "is_banned": False}]
    silent, hidden, *told = complete({"md5": MD5}, {}, *others, says_banned=known)
    assert json.loads(silent["extra"]) == {"is_banned": None}
    assert [row["extra"] for row in (hidden, *told)] == [None] * (1 + len(others))


def test_a_null_is_no_leave_where_the_address_names_the_file() -> None:
    """A ban that is null is in doubt, be the MD5 in its column or in the address alone."""
    named = {"file_url": f"https://example.org/{MD5}.png", "is_banned": None}
    assert [json.loads(row["extra"]) for row in complete(named, named | {"md5": MD5})] == [{"is_banned": None}] * 2


def test_rows_keep_their_order_and_are_those_of_the_whole_table() -> None:
    """Single rows and whole tables become the same, and completing once more changes nothing."""
    rows = complete({"id": 9, "md5": MD5.upper()}, {"id": 3, "md5": MD5, "is_banned": False}, {"id": 9})
    assert [row["id"] for row in rows] == [9, 3, 9]
    table = posts_table(rows)
    assert completed(table, says_banned=True).equals(table)
