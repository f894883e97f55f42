"""Lines of earlier releases: blocks are typed as single lines would be, and written back byte for byte."""

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.posts import LineTyper, RejectedRow, encode_2017, encode_2021, encode_2021_complete, parse_record
from danbooru_pipeline.posts.schema import OUR_COLUMNS, POST_SCHEMA
from danbooru_pipeline_tests.support.lines_of import ODD_RECORDS, REAL_2017, RECORDS_2017, RECORDS_2021, line_of

TYPER = LineTyper()


def typed(*lines: bytes) -> pa.Table:
    """The rows of some lines."""
    return TYPER.type(b"\n".join(lines), name="posts.json").table


def test_real_lines_of_2017_come_back_byte_for_byte() -> None:
    """Three posts as the mirror wrote them until 2020, with zeros, 1970 and tags; no line has to be kept in `raw`."""
    table = typed(*REAL_2017.splitlines())
    assert encode_2017(table) == REAL_2017
    assert table["raw"].null_count == table.num_rows == 3
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["id"], first["parent_id"], first["last_noted_at"], first["approver_id"]) == (263162, None, None, 1309)
    assert first["favs"] == [15115, 159766, 23892]
    assert first["tags"][0] == {"id": 540830, "name": "1boy", "category": 0}
    assert first["tag_string_copyright"] == "vampire_princess_miyu"
    assert (first["tag_count"], first["tag_count_general"]) == (18, 14)


def test_line_of_2017_that_begins_with_its_tags_comes_back() -> None:
    """The place of a member says nothing: a line whose tags come first is kept like any other of its dialect."""
    odd = b'{"tags":[],"id":"2","created_at":"2020-01-01 00:00:00 UTC"}'
    ordinary = REAL_2017.splitlines()[0]
    assert sorted(encode_2017(typed(ordinary, odd).sort_by("id")).splitlines()) == sorted([odd, ordinary])


def test_line_of_january_2022_comes_back_byte_for_byte() -> None:
    """All 48 columns of that export in their order, the three that were dropped in that month among them."""
    record = {
        "id": "5020995", "created_at": "2021-12-31 23:03:35.373 UTC", "uploader_id": "1", "score": "-3",
        "source": "https://example.org/?a=1&b=<2>", "md5": "d" * 32,
        "last_comment_bumped_at": "2022-01-01 00:00:00 UTC",
        "rating": "s", "image_width": "10", "image_height": "20", "tag_string": "1girl >_<", "is_note_locked": False,
        "fav_count": "0", "file_ext": "jpg", "last_noted_at": "2022-01-01 00:00:00.5 UTC", "is_rating_locked": True,
        "parent_id": "4", "has_children": False, "approver_id": "9", "tag_count_general": "2", "tag_count_artist": "0",
        "tag_count_character": "0", "tag_count_copyright": "0", "file_size": "77", "is_status_locked": False,
        "up_score": "0", "down_score": "-3", "is_pending": False, "is_flagged": False, "is_deleted": True,
        "tag_count": "2", "updated_at": "2022-01-05 10:00:00.12 UTC", "is_banned": False, "pixiv_id": "12",
        "last_commented_at": "2022-01-02 03:04:05 UTC", "has_active_children": False, "bit_flags": "0",
        "tag_count_meta": "0", "has_large": True, "has_visible_children": False, "tag_string_general": "1girl >_<",
        "tag_string_character": "", "tag_string_copyright": "", "tag_string_artist": "", "tag_string_meta": "",
        "file_url": "https://e/1", "large_file_url": "https://e/2", "preview_file_url": "https://e/3",
    }  # fmt: skip
    line = line_of(record)
    table = typed(line)
    assert encode_2021(table) == line + b"\n"
    assert table["raw"].null_count == 1


@given(st.lists(RECORDS_2021 | ODD_RECORDS, min_size=1, max_size=8))
def test_any_lines_of_2021_come_back_byte_for_byte(records: list[dict[str, Any]]) -> None:
    """With columns in any order, new ones or values of other types, a line with a text id is written back unchanged."""
    lines = [placed(record, number) for number, record in enumerate(records, start=1)]
    lines = [line for line in lines if not line_is_2017(line)]
    assert encode_2021(typed(*lines).sort_by("id")).splitlines() == lines


@given(st.lists(RECORDS_2017 | ODD_RECORDS, min_size=1, max_size=8))
def test_any_lines_of_2017_come_back_byte_for_byte(records: list[dict[str, Any]]) -> None:
    """The same with lists of tags, pools with their categories, and repeated tags."""
    lines = [placed(record, number) for number, record in enumerate(records, start=1)]
    lines = [line for line in lines if line_is_2017(line)]
    assert encode_2017(typed(*lines).sort_by("id")).splitlines() == lines


def placed(record: dict[str, Any], number: int) -> bytes:
    """A record as the line of a post that can be placed in a release."""
    created = record.get("created_at")
    usable = isinstance(created, str) and created.endswith(" UTC")
    return line_of({**record, "id": str(number), "created_at": created if usable else "2020-01-01 00:00:00 UTC"})


def line_is_2017(line: bytes) -> bool:
    """Whether a line has its tags as a list."""
    return isinstance(json.loads(line).get("tags"), list)


@given(st.lists(RECORDS_2021 | RECORDS_2017 | ODD_RECORDS, min_size=1, max_size=8))
def test_block_is_typed_as_its_records_one_by_one(records: list[dict[str, Any]]) -> None:
    """The fast and the exact path give the same rows and the same rejected records, and never an error."""
    result = TYPER.type(b"\n".join(map(line_of, records)) + b"\n", name="posts.json")
    one_by_one = [parse_record(msgspec.json.decode(line_of(record))) for record in records]
    rows = pa.Table.from_pylist([row for row in one_by_one if not isinstance(row, RejectedRow)], schema=POST_SCHEMA)
    assert len(result.rejected) == sum(isinstance(row, RejectedRow) for row in one_by_one)
    names = [name for name in POST_SCHEMA.names if name != "raw"]
    assert _as_set(result.table.select(names)) == _as_set(rows.select(names))


def _as_set(table: pa.Table) -> list[str]:
    return sorted(repr(row) for row in table.to_pylist())


@pytest.mark.parametrize(
    "bad", [b'{"id":"3",', b"[1]", b'{"id":"3","source":"\xff"}', b'{"id":"3"}{"id":"4"}', b"null"]
)
def test_damaged_line_is_named(bad: bytes) -> None:
    """A line that is not a JSON object is reported by file and line number, wherever in a block it is."""
    lines = [line_of({"id": str(i), "created_at": "2020-01-01 00:00:00 UTC"}) for i in range(1, 1001)]
    lines[700] = bad
    with pytest.raises(SourceUnusable, match=r"posts\.json is damaged or truncated: line 701 is not a JSON object"):
        typed(*lines)


def test_only_what_cannot_be_written_again_is_kept() -> None:
    """Of a thousand lines, the one with an unknown column keeps its text and is written back in its place."""
    lines = [line_of({"id": str(i), "created_at": "2020-01-01 00:00:00 UTC"}) for i in range(1, 1001)]
    lines[500] = b'{"id":"501","new":"&","created_at":"2020-01-01 00:00:00 UTC"}'
    table = typed(*lines).sort_by("id")
    assert encode_2021(table).splitlines() == lines
    assert table["raw"].null_count == 999
    assert set(OUR_COLUMNS) <= set(table.column_names)


def test_lines_of_the_api_are_typed_and_not_kept() -> None:
    """A dump writes numbers and nulls: its rows are written in the dialect of releases, not as they came."""
    table = typed(b'{"id":7,"created_at":"2021-12-31T18:03:35.373-05:00","parent_id":null,"score":4}')
    assert encode_2021(table) == b'{"id":"7","created_at":"2021-12-31 23:03:35.373 UTC","score":"4"}\n'


#: Keys that readers of Danbooru2021 subscript: fire-eggs' make_db.py, and the field types of two others.
GRANTED = (
    *("id", "created_at", "updated_at", "uploader_id", "score", "source", "md5", "rating", "image_width", "file_ext"),
    *("image_height", "file_size", "fav_count", "up_score", "down_score", "bit_flags", "is_pending", "is_flagged"),
    *("is_deleted", "is_banned", "has_children", "has_active_children", "has_visible_children", "tag_string"),
    *(f"tag_string_{name}" for name in ("general", "artist", "copyright", "character", "meta")),
)


@given(st.lists(RECORDS_2021 | ODD_RECORDS, max_size=6))
def test_release_gives_readers_of_2021_every_key(records: list[dict[str, Any]]) -> None:
    """A row in a release has every key that readers take for granted; what a source says is what is written."""
    table = typed(*map(line_of, records))
    lines = encode_2021_complete(table).splitlines()
    assert len(lines) == table.num_rows
    for line, plain in zip(lines, encode_2021(table).splitlines(), strict=True):
        written, said = json.loads(line), json.loads(plain)
        assert set(GRANTED) <= written.keys()
        assert {key: value for key, value in said.items() if value is not None}.items() <= written.items()


def test_restricted_row_comes_back_without_an_md5() -> None:
    """``"md5":""`` of a release is a post without a file again, and the same line when it is written again."""
    line = line_of({"id": "7", "created_at": "2022-01-01 00:00:00 UTC", "rating": "e"})
    written = encode_2021_complete(typed(line))
    assert json.loads(written)["md5"] == json.loads(written)["file_ext"] == ""
    table = typed(written.strip())
    assert table["md5"].to_pylist() == table["file_ext"].to_pylist() == [None]
    assert encode_2021_complete(table) == written
