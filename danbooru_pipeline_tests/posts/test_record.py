"""Records of the site become rows of one schema, and nothing is lost."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.posts import (
    POST_SCHEMA,
    Post,
    PostRow,
    RejectedRow,
    parse_api_record,
    parse_timestamp,
    posts_table,
    read_posts,
    to_2021_dialect,
    write_posts,
)
from danbooru_pipeline.posts.schema import SITE_COLUMNS

#: Instants with a valid form that are none in UTC.
FAR = ("9999-12-31T23:59:59.000-05:00", "0001-01-01T00:00:00+01:00")
#: A record as the site gave it in March 2023 (its tags shortened): every column, in the order of the site.
RECORD: dict[str, Any] = {
    "id": 6148686,
    "created_at": "2023-03-17T03:49:30.475-04:00",
    "uploader_id": 701499,
    "score": 1,
    "source": "https://i.pximg.net/img-original/img/2023/03/17/16/11/23/106292981_p0.jpg",
    "md5": "ff4da5e06677ee0b65203635999344f6",
    "last_comment_bumped_at": None,
    "rating": "s",
    "image_width": 2100,
    "image_height": 4700,
    "tag_string": "1girl absurdres blue_archive highres solo",
    "fav_count": 1,
    "file_ext": "jpg",
    "last_noted_at": None,
    "parent_id": None,
    "has_children": False,
    "approver_id": None,
    "tag_count_general": 2,
    "tag_count_artist": 0,
    "tag_count_character": 0,
    "tag_count_copyright": 1,
    "file_size": 8853632,
    "up_score": 1,
    "down_score": 0,
    "is_pending": False,
    "is_flagged": False,
    "is_deleted": False,
    "tag_count": 5,
    "updated_at": "2023-03-17T03:49:30.475-04:00",
    "is_banned": False,
    "pixiv_id": 106292981,
    "last_commented_at": None,
    "has_active_children": False,
    "bit_flags": 0,
    "tag_count_meta": 2,
    "has_large": True,
    "has_visible_children": False,
    "tag_string_general": "1girl solo",
    "tag_string_character": "",
    "tag_string_copyright": "blue_archive",
    "tag_string_artist": "",
    "tag_string_meta": "absurdres highres",
    "file_url": "https://cdn.donmai.us/original/ff/4d/ff4da5e06677ee0b65203635999344f6.jpg",
    "large_file_url": "https://cdn.donmai.us/sample/ff/4d/sample-ff4da5e06677ee0b65203635999344f6.jpg",
    "preview_file_url": "https://cdn.donmai.us/preview/ff/4d/ff4da5e06677ee0b65203635999344f6.jpg",
}


def parsed(**changes: Any) -> PostRow:
    """The record as a row, with some columns changed."""
    row = parse_api_record(RECORD | changes)
    assert isinstance(row, dict)
    return row


def test_record_parses_field_by_field() -> None:
    """Every column of a real record has its value, times are in UTC, and nothing is left over."""
    row = parsed()
    for name, value in RECORD.items():
        if name.endswith("_at") and value is not None:
            assert row[name] == datetime.fromisoformat(value)
            assert row[name].utcoffset() == UTC.utcoffset(None)
        else:
            assert row.get(name) == value, name
    assert row["extra"] is None
    locked = {"is_note_locked", "is_rating_locked", "is_status_locked"}  # until January 2022
    assert set(RECORD) == set(SITE_COLUMNS) - locked


def test_unknown_column_is_kept() -> None:
    """Columns that a later version of the site adds go to `extra`, as JSON."""
    assert json.loads(parsed(media_asset={"id": 1, "variants": []})["extra"]) == {
        "media_asset": {"id": 1, "variants": []}
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score", "many"),
        ("score", 2**70),
        ("is_deleted", "perhaps"),
        ("rating", 5),
        ("updated_at", "yesterday"),
        ("score", True),
    ],
)
def test_retyped_value_is_kept_aside(name: str, value: Any) -> None:
    """A value of an unexpected type does not get into the column and is not lost."""
    row = parsed(**{name: value})
    assert name not in row
    assert json.loads(row["extra"]) == {name: value}


def test_integer_as_string_is_an_integer() -> None:
    """Dialects that write integers as strings parse too."""
    assert parsed(id="17", score="-3") == parsed(id=17, score=-3)


@pytest.mark.parametrize("bad", [None, 0, -5, "x", "", True, 1.5, [1], 2**64])
def test_record_without_usable_id_is_rejected(bad: Any) -> None:
    """A row that cannot be placed is rejected with its record, never guessed at."""
    result = parse_api_record(RECORD | {"id": bad})
    assert isinstance(result, RejectedRow)
    assert result.record["md5"] == RECORD["md5"]


def test_hidden_post_has_an_id_and_no_file() -> None:
    """A restricted post comes without MD5 and addresses: it is a row, and not visible."""
    hidden = {k: v for k, v in RECORD.items() if k not in {"md5", "file_url", "large_file_url", "preview_file_url"}}
    row = parse_api_record(hidden)
    assert isinstance(row, dict)
    assert "md5" not in row


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2021-12-31T18:59:59.999-05:00", datetime(2021, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)),
        ("2021-12-31T19:00:00.000-05:00", datetime(2022, 1, 1, tzinfo=UTC)),
        ("2021-07-01T00:00:00.000-04:00", datetime(2021, 7, 1, 4, tzinfo=UTC)),
        ("2008-06-10 03:08:07.34205 UTC", datetime(2008, 6, 10, 3, 8, 7, 342_050, tzinfo=UTC)),
        ("2008-06-10 03:08:07 UTC", datetime(2008, 6, 10, 3, 8, 7, tzinfo=UTC)),
    ],
)
def test_timestamps_of_both_dialects(text: str, instant: datetime) -> None:
    """The API gives Eastern time and the mirror UTC; both become the same instant."""
    assert parse_timestamp(text) == instant


@pytest.mark.parametrize("text", FAR)
def test_timestamp_that_utc_cannot_hold_is_none_that_can_be_read(text: str) -> None:
    """It is refused as others are, and the record that has it is rejected, or keeps it as it came."""
    with pytest.raises(ValueError, match="beyond the years"):
        parse_timestamp(text)
    assert isinstance(parse_api_record(RECORD | {"created_at": text}), RejectedRow)
    row = parse_api_record(RECORD | {"updated_at": text})
    assert isinstance(row, dict)
    assert json.loads(row["extra"])["updated_at"] == text
    assert to_2021_dialect({"updated_at": text}) == {"updated_at": text}


def test_timestamp_without_offset_is_refused() -> None:
    """A time without a zone is refused, since it could fall into the wrong year."""
    with pytest.raises(ValueError, match="offset"):
        parse_timestamp("2021-12-31T23:59:59")


@given(st.dictionaries(st.sampled_from([*RECORD, "new_column"]), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_record_is_a_row_or_rejected(changes: dict[str, Any]) -> None:
    """Any record is parsed into a row that fits the schema or is rejected; it never raises."""
    row = parse_api_record(RECORD | changes)
    if isinstance(row, dict):
        assert posts_table([row]).num_rows == 1


def test_bucket_file_gives_back_what_the_image_chain_needs(tmp_path: Path) -> None:
    """A post read from a bucket's file has the values of its record."""
    write_posts(posts_table([parsed(id=9), parsed(id=4, is_banned=None)]), tmp_path / "b.parquet")
    first, second = read_posts(tmp_path / "b.parquet")
    assert [first.id, second.id] == [4, 9]
    assert not first.is_banned
    assert second == Post(
        id=9,
        md5=RECORD["md5"],
        ext="jpg",
        file_size=8853632,
        rating="s",
        file_url=RECORD["file_url"],
        is_banned=False,
        tags=RECORD["tag_string"],
    )
    assert pq.read_schema(tmp_path / "b.parquet").equals(POST_SCHEMA)
