"""A column in a form of its own is understood, or the source is refused: no release without files comes of it."""

import base64
import json
import re
from datetime import UTC, datetime
from hashlib import md5
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import encode_2021
from danbooru_pipeline.posts.table_reports import TableReport, write_table_reports
from danbooru_pipeline.posts.unreadable_rows import UnreadableRows, count_unreadable
from danbooru_pipeline.sources import bring_posts, unreadable_count
from danbooru_pipeline.sources.completeness import accepted_gaps, find_gaps, unreadable_gaps
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline_tests.support.dumps import line_of_2021, lines_of_2021, write_files
from danbooru_pipeline_tests.support.sites import Site, give_posts, record_of

NOW = datetime(2022, 1, 20, tzinfo=UTC)
GURO = frozenset({"guro"})


def digest(post_id: int) -> str:
    """The MD5 of a made-up post."""
    return md5(str(post_id).encode(), usedforsecurity=False).hexdigest()


def bring(layout: Layout, source: Any) -> None:
    """Bring the posts of 2021."""
    bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)


def dump(layout: Layout, lines: bytes) -> None:
    """Bring the posts of a dump."""
    folder = write_files(layout.root / "dump", {"posts.json": lines})
    bring(layout, DumpSource(str(folder), user_agent="tests"))


def gap(layout: Layout, exclude: frozenset[str] = frozenset()) -> str:
    """The line of the one gap; empty if there is none."""
    lines = [each.line for each in find_gaps(layout, 2021, exclude_tags=exclude)]
    assert len(lines) <= 1
    return lines[0] if lines else ""


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"is_banned": ""}, 'is_banned: 40, such as "" in post 1'),
        ({"is_banned": "maybe"}, 'is_banned: 40, such as "maybe" in post 1'),
        ({"file_ext": None, "file_url": None}, "file_ext: 40, such as none in post 1"),
        ({"file_ext": "image/png"}, 'file_ext: 40, such as "image/png" in post 1'),
        ({"file_size": "-7"}, "file_size: 40, such as -7 in post 1"),
        ({"md5": "x" * 99}, f'md5: 40, such as "{"x" * 59}… in post 1'),
    ],
)
def test_column_that_cannot_be_understood_is_a_gap(layout: Layout, odd: dict[str, Any], why: str) -> None:
    """It names how many posts get no file, the column and a value, what to do, and how to accept it."""
    dump(layout, lines_of_2021(range(1, 41), **odd))
    line = gap(layout)
    assert line.startswith(
        "40 of the 40 posts of the dump source (100.0%) would get no file, since their rows cannot be"
    )
    assert f"({why})" in line
    assert line.endswith('set DANBOORU_ACCEPT_INCOMPLETE="posts: why"')
    assert "\n" not in line


def test_bans_that_are_null_are_a_gap(site: Site, layout: Layout) -> None:
    """The same from the API: nobody knows what a null means there."""
    source, _ = site(give_posts([record_of(i, is_banned=None) for i in range(1, 41)]))
    bring(layout, source)
    assert "is_banned: 40, such as none in post 1" in gap(layout)


def test_md5_in_base64_is_a_gap(layout: Layout) -> None:
    """What is no MD5 is not guessed."""
    texts = {i: base64.b64encode(bytes.fromhex(digest(i))).decode() for i in range(1, 41)}
    dump(layout, b"".join(line_of_2021(i, md5=text) for i, text in texts.items()))
    assert f"md5: 40, such as {json.dumps(texts[1])} in post 1" in gap(layout)


@pytest.mark.parametrize("form", ["\\x{0}", "{1}", " {0} "], ids=["bytes of Postgres", "UUID", "spaces"])
def test_md5_of_databases_is_one(layout: Layout, form: str) -> None:
    """Bytes of Postgres, a UUID and spaces around are the same 32 digits."""
    texts = [form.format(digest(i), UUID(digest(i))) for i in range(1, 41)]
    dump(layout, b"".join(line_of_2021(i, md5=text) for i, text in enumerate(texts, 1)))
    assert gap(layout) == ""
    assert pq.read_table(layout.posts(2021))["md5"].to_pylist() == [digest(i) for i in range(1, 41)]


@pytest.mark.parametrize(("no", "yes"), [(0.0, 1.0), ("0.0", "1.0"), (0, 1)])
def test_numbers_that_are_booleans_are_bans(layout: Layout, no: object, yes: object) -> None:
    """0.0 and 1.0, as pandas writes them, are false and true, and the lines stay as they came."""
    lines = lines_of_2021(range(1, 41), is_banned=no) + line_of_2021(41, is_banned=yes)
    dump(layout, lines)
    assert gap(layout) == ""
    table = pq.read_table(layout.posts(2021))
    assert table["is_banned"].to_pylist() == [False] * 40 + [True]
    assert encode_2021(table) == lines


@pytest.mark.parametrize(
    ("count", "odd", "found"), [(40, 4, False), (40, 5, True), (12_000, 110, False), (400, 101, True)]
)
def test_a_few_damaged_rows_are_no_gap(layout: Layout, count: int, odd: int, *, found: bool) -> None:
    """The bounds are those of posts that are gone."""
    good = lines_of_2021(range(odd + 1, count + 1))
    dump(layout, lines_of_2021(range(1, odd + 1), file_ext="exe") + good)
    assert (f"{odd:,} of the {count:,} posts" in gap(layout)) == found


def test_hidden_and_banned_posts_are_no_gap(layout: Layout) -> None:
    """They get no file for what the source says, and not for what it fails to say."""
    hidden = lines_of_2021(range(1, 20), md5=None, file_url=None, file_ext=None)
    dump(layout, hidden + lines_of_2021(range(20, 40), is_banned=True, file_ext=None, file_url=None) + line_of_2021(40))
    assert gap(layout, GURO) == ""


def test_tags_that_are_unknown_are_a_gap_while_some_are_excluded(layout: Layout) -> None:
    """Without tags no file may be taken by an operator who excludes some; to others they do not matter."""
    dump(layout, lines_of_2021(range(1, 41), tag_string=None))
    assert "tag_string: 40, such as none in post 1" in gap(layout, GURO)
    assert gap(layout) == ""


def test_worst_column_comes_first(layout: Layout) -> None:
    """Each column is named with its own number."""
    lines = lines_of_2021(range(1, 11), is_banned="?") + lines_of_2021(range(11, 41), file_ext="exe")
    dump(layout, lines)
    assert '(file_ext: 30, such as "exe" in post 11, is_banned: 10, such as "?" in post 1)' in gap(layout)


class Counted:
    """Counts how often the rows of all posts are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0

        def counted(*args: Any, **more: Any) -> UnreadableRows:
            self.times += 1
            return count_unreadable(*args, **more)

        monkeypatch.setattr(unreadable_count, "count_unreadable", counted)


def test_posts_are_counted_once_a_build(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the check counted, the release takes over; damage of what is kept costs another count, and no more."""
    dump(layout, lines_of_2021(range(1, 3), file_ext="exe") + lines_of_2021(range(3, 41)))
    write_table_reports(layout, 2021, {"tags": TableReport("absent")})
    counted = Counted(monkeypatch)
    assert unreadable_gaps(layout, 2021, GURO) == []
    assert (accepted_gaps(layout, 2021, {}, exclude_tags=GURO), counted.times) == ({}, 1)
    kept = json.loads(layout.unreadable_rows(2021).read_bytes())
    assert (kept["of"], kept["counts"]) == (40, {"file_ext": 2})
    layout.unreadable_rows(2021).write_bytes(b"{")
    assert (unreadable_gaps(layout, 2021, GURO), counted.times) == ([], 2)


def test_a_count_is_of_the_posts_as_they_are(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other posts, another file of them, other excluded tags and another version of the code are counted anew."""
    counted = Counted(monkeypatch)
    dump(layout, lines_of_2021(range(1, 41), tag_string=None))
    assert (unreadable_gaps(layout, 2021, frozenset()), counted.times) == ([], 1)
    assert len(unreadable_gaps(layout, 2021, GURO)) == 1
    assert (unreadable_gaps(layout, 2021, frozenset()), counted.times) == ([], 3)
    copy = layout.posts(2021).with_name("copy")
    copy.write_bytes(layout.posts(2021).read_bytes())
    copy.replace(layout.posts(2021))
    assert (unreadable_gaps(layout, 2021, frozenset()), counted.times) == ([], 4)
    dump(layout, lines_of_2021(range(1, 41), file_ext="exe"))
    assert len(unreadable_gaps(layout, 2021, frozenset())) == 1
    kept = layout.unreadable_rows(2021).read_bytes()
    dump(layout, lines_of_2021(range(1, 41)))
    layout.unreadable_rows(2021).write_bytes(kept)
    assert (unreadable_gaps(layout, 2021, frozenset()), counted.times) == ([], 6)
    layout.unreadable_rows(2021).write_text(
        re.sub('"code": ".*?"', '"code": "0"', layout.unreadable_rows(2021).read_text())
    )
    assert (unreadable_gaps(layout, 2021, frozenset()), counted.times) == ([], 7)


def test_a_gap_says_the_same_each_time(layout: Layout) -> None:
    """What is kept has numbers and no value of a post, so a gap, which shows some, is counted again."""
    dump(layout, lines_of_2021(range(1, 41), file_ext="secret"))
    first = gap(layout)
    assert 'file_ext: 40, such as "secret" in post 1' in first
    assert gap(layout) == first
    assert b"secret" not in layout.unreadable_rows(2021).read_bytes()


def test_gap_is_accepted_with_a_reason_alone(layout: Layout) -> None:
    """It stops a release until the setting names posts; then the reason and what is missing are in RELEASE.json."""
    dump(layout, lines_of_2021(range(1, 41), is_banned=""))
    write_table_reports(layout, 2021, {"tags": TableReport("absent")})
    with pytest.raises(SourceUnusable, match="would get no file"):
        accepted_gaps(layout, 2021, {})
    accepted = accepted_gaps(layout, 2021, {"posts": "metadata alone"})
    assert accepted["posts"].startswith("metadata alone (40 of the 40 posts")
    assert accepted_gaps(layout, 2021, {"posts": "x"}, exclude_tags=GURO).keys() == {"posts"}
