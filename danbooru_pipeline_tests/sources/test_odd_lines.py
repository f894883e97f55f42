"""Lines that are JSON and no rows: each is rejected, counted, or named as what it is."""

import re
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import export_side_tables
from danbooru_pipeline.sources.completeness import find_gaps
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline_tests.support.dumps import bring_2021, line_of_2021, lines_of_2021, write_files

ROWS = [line_of_2021(i) for i in range(1, 41)]


def dump(tmp_path: Path, **tables: bytes) -> DumpSource:
    """A dump of some tables."""
    return DumpSource(
        str(write_files(tmp_path / "d", {f"{name}.json": data for name, data in tables.items()})), user_agent="tests"
    )


@pytest.mark.parametrize("place", [0, 20, 39])
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b'"\\ud800"', "\N{REPLACEMENT CHARACTER}"),
        (b'"a\\udfff b"', "a\N{REPLACEMENT CHARACTER} b"),
        (b"1e999", "1e999"),
        (b"-1e999", "-1e999"),
        (b'{"a":["\\ud800"]}', {"a": ["\N{REPLACEMENT CHARACTER}"]}),
        (b"9" * 5000, "9" * 5000),
    ],
)
def test_a_row_that_cannot_be_stored_is_rejected(
    layout: Layout, tmp_path: Path, place: int, value: bytes, kept: object
) -> None:
    """A lone surrogate, or a number out of range, costs its own row, which is counted; the other 39 come."""
    rows = list(ROWS)
    rows[place] = line_of_2021(place + 1, source="HERE").replace(b'"HERE"', value)
    report = bring_2021(dump(tmp_path, posts=b"".join(rows)), layout)
    assert (report.rows, report.rejected, report.read) == (39, 1, 40)
    assert pq.read_table(layout.posts(2021))["id"].to_pylist() == [i for i in range(1, 41) if i != place + 1]
    (line,) = layout.rejected(2021).read_bytes().splitlines()
    rejected = msgspec.json.decode(line)
    assert rejected["reason"] == "a lone surrogate or a number out of range"
    assert (rejected["record"]["id"], rejected["record"]["source"]) == (str(place + 1), kept)
    assert find_gaps(layout, 2021) == []


def test_pairs_of_surrogates_are_kept(layout: Layout, tmp_path: Path) -> None:
    """Two escapes that are one character are no fault."""
    pair = b'"HERE"', b'"\\ud83d\\ude00"'
    rows = b"".join(ROWS[:-1]) + line_of_2021(40, pixiv_id=None, source="HERE").replace(*pair)
    assert bring_2021(dump(tmp_path, posts=rows), layout).rejected == 0
    assert pq.read_table(layout.posts(2021))["source"].to_pylist()[-1] == "\N{GRINNING FACE}"


#: How a message about the last line of these files begins, and with which line; `{}` is the file.
DAMAGED = "{} is damaged or truncated: line 41 is not a JSON object"
#: Lines that are no JSON object, and what is said of them.
REFUSED = {
    "cut_off": (b'{"id":"41","crea', f"{DAMAGED}; get the file again"),
    "NaN": (b'{"id":"41","score":NaN}\n', "line 41 of {} is not JSON, which has no NaN; write null instead"),
    "infinity": (
        b'{"id":"41","score":-Infinity}',
        "line 41 of {} is not JSON, which has no -Infinity; write null instead",
    ),
    "surrogate": (
        b'{"id":"41","a":"\xed\xa0\x80"}',
        f"{DAMAGED}, and has bytes that are not UTF-8; get the file again",
    ),
    "latin1": (b'{"id":"41","source":"caf\xe9"}\n', f"{DAMAGED}, and has bytes that are not UTF-8; get the file again"),
    "nested": (b'{"id":"41","a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", "line 41 of {} is nested too deeply; mend or"),
    "comma": (
        b'{"id":"41","a":1},\n',
        "line 41 of {} ends with a comma; take it away from all lines, like `sed 's/,$//'`",
    ),
    "comma_crlf": (b'{"id":"41","a":1},\r\n', "line 41 of {} ends with a comma; take it away from all lines"),
    "list": (b"[41]\n", f"{DAMAGED}; get the file again"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_line_that_is_no_json_object_is_told_apart(layout: Layout, tmp_path: Path, kind: str) -> None:
    """What is wrong with a line is said with its number and what helps, in posts and in side tables."""
    last, said = REFUSED[kind]
    data = b"".join(ROWS) + last
    for table in ("posts", "tags"):
        source = dump(tmp_path / table, **{table: data})
        with pytest.raises(SourceUnusable, match=re.escape(said.format(tmp_path / table / "d" / f"{table}.json"))):
            if table == "posts":
                bring_2021(source, layout)
            else:
                export_side_tables(source, layout, 2021, progress=lambda _line: None)


@pytest.mark.parametrize("codec", ["utf-32", "utf-32-le", "utf-32-be"])
def test_utf_32_is_called_that(layout: Layout, tmp_path: Path, codec: str) -> None:
    """Text of four bytes a character begins as that of two does, and is named by its own name."""
    with pytest.raises(SourceUnusable, match=r"posts\.json is not JSON lines: it is UTF-32 text; save it as UTF-8"):
        bring_2021(dump(tmp_path, posts=b"".join(ROWS).decode().encode(codec)), layout)


def test_lines_that_end_with_cr_alone_are_named(layout: Layout, tmp_path: Path) -> None:
    """A file without one LF is no single damaged line; CR and LF together are line ends as any."""
    rows = b"".join(ROWS)
    with pytest.raises(SourceUnusable, match=r"posts\.json is not JSON lines: it has CR alone .*`tr '\\r' '\\n'`"):
        bring_2021(dump(tmp_path, posts=rows.replace(b"\n", b"\r")), layout)
    assert bring_2021(dump(tmp_path, posts=rows.replace(b"\n", b"\r\n")), layout).rows == len(ROWS)


@pytest.mark.parametrize("kind", ["cut_off", "NaN", "surrogate"])
def test_a_damaged_line_beside_such_a_row_is_damage(layout: Layout, tmp_path: Path, kind: str) -> None:
    """What is not JSON is refused by its own number, also where another line cannot be stored."""
    last, said = REFUSED[kind]
    odd = line_of_2021(1, source="HERE").replace(b'"HERE"', b'"\\ud800"')
    with pytest.raises(SourceUnusable, match=re.escape(said.format(tmp_path / "d" / "posts.json"))):
        bring_2021(dump(tmp_path, posts=odd + b"".join(ROWS[1:]) + last), layout)
    assert not layout.posts(2021).exists()


def test_a_record_that_cannot_be_stored_is_named(layout: Layout, tmp_path: Path) -> None:
    """A side table has no list of rejected rows, so the line is named, with what it has and what to do."""
    tags = b'{"id":1}\n{"id":2,"name":"\\ud800"}\n{"id":3}\n'
    named = (
        r"line 2 of .*tags\.json cannot be stored: it has a lone surrogate or a number out of range; mend or remove it"
    )
    with pytest.raises(SourceUnusable, match=named):
        export_side_tables(dump(tmp_path, tags=tags), layout, 2021, progress=lambda _line: None)
    with pytest.raises(SourceUnusable, match=r"tags\.json is damaged or truncated: line 1 is not a JSON object"):
        export_side_tables(dump(tmp_path, tags=b"}\n" + tags), layout, 2021, progress=lambda _line: None)
    assert not layout.side_table(2021, "tags").exists()


@pytest.mark.parametrize(
    ("before", "key"),
    [
        (b"", "posts"),
        (b'"version":1,', "posts"),
        (b'"success":true,"next":null,"taken":"2022-01-05T00:00:00Z",', "data"),
        (b'"@attributes":{"limit":100,"count":40}, "kinds":["a","b"], ', "post"),
        (b'\n  "version": 1,\n  ', "results"),
    ],
)
def test_an_object_around_the_rows_is_named(layout: Layout, tmp_path: Path, before: bytes, key: str) -> None:
    """Rows in an array of one object are named as that, whatever stands before them, with what unpacks them."""
    rows = b",".join(row.rstrip() for row in ROWS)
    data = b"{" + before + f'"{key}":['.encode() + rows + b"]}"
    with pytest.raises(SourceUnusable) as caught:
        bring_2021(dump(tmp_path, posts=data), layout)
    what = f"is one JSON object around an array; write one object a line, like `jq -c '.{key}[]'`"
    assert str(caught.value).endswith(f"posts.json is not JSON lines: it {what}")


def test_rows_with_lists_are_rows(layout: Layout, tmp_path: Path) -> None:
    """A row may have lists of objects of its own; what has an id is a row."""
    rows = lines_of_2021(range(1, 41), data=[{"id": 1}], posts=[{"id": 2}])
    assert bring_2021(dump(tmp_path, posts=rows), layout).rows == 40
