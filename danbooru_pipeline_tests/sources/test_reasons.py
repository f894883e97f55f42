"""What a source does not say is not taken for what it says: from a source's rows to the plan of their files."""

import json
from collections import Counter
from datetime import UTC, datetime
from hashlib import md5
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import encode_2021, parse_api_record, read_posts, type_batch
from danbooru_pipeline.release import reconcile_bucket
from danbooru_pipeline.sources import bring_posts, split_by_bucket
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.store.plan import plan_bucket
from danbooru_pipeline.years import sfw_ratings
from danbooru_pipeline_tests.support.dumps import line_of_2021, lines_of_2021, write_files
from danbooru_pipeline_tests.support.sites import Record, Site, give_posts, record_of

NOW = datetime(2022, 1, 20, tzinfo=UTC)
ADDRESSES = ("file_url", "large_file_url", "preview_file_url")


def planned(source: Any, layout: Layout, *, exclude: str = "") -> Counter[str]:
    """Reason -> number of posts, for posts of 2021 from a source; ``fetch`` for those whose file is requested."""
    bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)
    split_by_bucket(layout, 2021)
    found: Counter[str] = Counter()
    for bucket in BUCKETS:
        posts = read_posts(layout.posts_bucket(2021, bucket))
        plan = plan_bucket(posts, {}, {}, exclude_tags=frozenset(exclude.split()), release=2021)
        found.update("fetch" for _ in plan.fetch)
        found.update(str(row.reason) for row in plan.settle)
    return found


def dump(tmp_path: Path, data: bytes) -> DumpSource:
    """A dump of posts in a folder."""
    return DumpSource(str(write_files(tmp_path / "d", {"posts.json": data})), user_agent="tests")


def shown(post_id: int, **more: Any) -> Record:
    """A record with a file, as the API gives it."""
    digest = md5(str(post_id).encode(), usedforsecurity=False).hexdigest()
    address = f"https://cdn.donmai.us/original/{digest[:2]}/{digest[2:4]}/{digest}.png"
    mine = {"md5": digest, "file_ext": "png", "file_size": 9, "tag_string": "1girl", "is_banned": False}
    return record_of(post_id, created_at="2021-12-31T12:00:00Z", file_url=address, **mine) | more


def test_dump_without_file_url(layout: Layout, tmp_path: Path) -> None:
    """A dump whose rows have an MD5 and no address does not hide them: the address follows from the MD5."""
    lines = lines_of_2021(range(1, 101), file_url=None)
    assert planned(dump(tmp_path, lines), layout) == {"fetch": 100}


def test_dump_without_file_url_and_types(layout: Layout, tmp_path: Path) -> None:
    """The same for a dump that writes JSON's own numbers, and for some rows alone."""
    rows = [shown(i) | ({"file_url": None} if i % 5 else {}) for i in range(1, 51)]
    assert planned(dump(tmp_path, b"\n".join(json.dumps(row).encode() for row in rows)), layout) == {"fetch": 50}


def test_api_without_file_url(site: Site, layout: Layout) -> None:
    """The same for the API."""
    source, _ = site(give_posts([{k: v for k, v in shown(i).items() if k not in ADDRESSES} for i in range(1, 21)]))
    assert planned(source, layout) == {"fetch": 20}


def test_source_without_md5_is_refused(site: Site, layout: Layout, tmp_path: Path) -> None:
    """A source none of whose posts has an MD5 does not carry that column; it is refused in one line."""
    source, _ = site(give_posts([{k: v for k, v in shown(i).items() if k != "md5"} for i in range(1, 21)]))
    for each in (source, dump(tmp_path, lines_of_2021(range(1, 101), md5=None))):
        with pytest.raises(SourceUnusable, match=r"has an MD5.*DANBOORU_POSTS_SOURCE=api") as caught:
            planned(each, layout)
        assert "\n" not in str(caught.value)
        assert not layout.posts(2021).exists()


def test_an_md5_that_is_no_text_is_no_missing_column(layout: Layout, tmp_path: Path) -> None:
    """A column that holds something else is said to hold it."""
    with pytest.raises(
        SourceUnusable, match=r"has an MD5, 20 have something in its place that is no text, and no file"
    ):
        planned(dump(tmp_path, lines_of_2021(range(1, 21), md5=7)), layout)


def test_hidden_md5(site: Site, layout: Layout) -> None:
    """Posts that come without MD5, while others have theirs, are hidden ones."""
    hidden = {"md5": None, **dict.fromkeys(ADDRESSES)}
    source, _ = site(give_posts([shown(i) | (hidden if i % 5 == 1 else {}) for i in range(1, 21)]))
    assert planned(source, layout) == {"fetch": 16, "restricted": 4}


@pytest.mark.parametrize("lacking", [("md5",), ("file_ext",), ("md5", "file_ext")])
def test_columns_that_some_rows_lack(layout: Layout, tmp_path: Path, lacking: tuple[str, ...]) -> None:
    """Rows without MD5 or extension whose address names both are neither hidden nor damaged."""
    lines = lines_of_2021(range(1, 101)) + lines_of_2021(range(101, 151), **dict.fromkeys(lacking))
    assert planned(dump(tmp_path, lines), layout) == {"fetch": 150}
    rows = pq.read_table(layout.posts(2021)).to_pylist()
    assert {row["file_url"].rpartition("/")[2] for row in rows} == {f"{row['md5']}.{row['file_ext']}" for row in rows}


def test_no_extension_at_all(site: Site, layout: Layout) -> None:
    """The same where no row has an extension, and from the API."""
    source, _ = site(give_posts([shown(i, file_ext=None) for i in range(1, 21)]))
    assert planned(source, layout) == {"fetch": 20}


def test_md5_and_extension_are_written_as_the_site_writes_them(layout: Layout, tmp_path: Path) -> None:
    """Upper case and a leading dot are another spelling, in what a release writes as well."""
    digests = [md5(str(i).encode(), usedforsecurity=False).hexdigest().upper() for i in range(1, 21)]
    lines = b"".join(line_of_2021(i, md5=each, file_ext=(".jpg", "JPG")[i % 2]) for i, each in enumerate(digests, 1))
    assert planned(dump(tmp_path, lines), layout) == {"fetch": 20}
    table = pq.read_table(layout.posts(2021))
    assert table["file_ext"].unique().to_pylist() == ["jpg"]
    assert encode_2021(table).count(b'"file_ext":"jpg"') == 20


@pytest.mark.parametrize("silent", [{"is_banned": None}, {"is_banned": ...}])
def test_a_row_that_does_not_say_whether_it_is_banned(
    site: Site, layout: Layout, tmp_path: Path, silent: Record
) -> None:
    """Where other rows say it, a row that does not is not taken, from the API or a dump; a hidden one stays hidden."""
    rows = [{k: v for k, v in (shown(i) | silent).items() if v is not ...} for i in range(1, 4)]
    rows[2] |= {"md5": None, **dict.fromkeys(ADDRESSES)}
    source, _ = site(give_posts([*rows, shown(4), shown(5)]))
    expected = {"bad_row": 2, "restricted": 1, "fetch": 2}
    assert planned(source, layout) == expected
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in [*rows, shown(4), shown(5)])
    assert planned(dump(tmp_path, lines), Layout(tmp_path / "other")) == expected


def test_a_source_that_never_says_who_is_banned(layout: Layout, tmp_path: Path) -> None:
    """A dialect without the column goes on as ever; one whose every value is null is not understood."""
    assert planned(dump(tmp_path, lines_of_2021(range(1, 21), is_banned=None)), layout) == {"fetch": 20}
    nulls = b"".join(json.dumps(shown(i, is_banned=None)).encode() + b"\n" for i in range(1, 21))
    assert planned(dump(tmp_path, nulls), Layout(tmp_path / "other")) == {"bad_row": 20}


def test_commas_between_tags_hide_none(site: Site, layout: Layout) -> None:
    """An excluded tag is found between commas as well."""
    source, _ = site(give_posts([shown(1, tag_string="1girl,guro"), shown(2, tag_string="1girl,solo")]))
    assert planned(source, layout, exclude="guro") == {"excluded_tag": 1, "fetch": 1}


@pytest.mark.parametrize("size", [0, None, "0"])
def test_zero_file_size(site: Site, layout: Layout, size: Any) -> None:
    """A size of 0 or none is unknown, and the MD5 decides."""
    source, _ = site(give_posts([shown(i) | ({"file_size": size} if i % 5 == 1 else {}) for i in range(1, 21)]))
    assert planned(source, layout) == {"fetch": 20}


@pytest.mark.parametrize("value", [True, "true", "True", 1, "1", "t", "yes"])
def test_banned_as_text(site: Site, layout: Layout, value: Any) -> None:
    """A post is banned in whatever way the source writes true."""
    source, _ = site(give_posts([shown(1, is_banned=value), shown(2, is_banned=False), shown(3, is_banned="f")]))
    assert planned(source, layout) == {"banned": 1, "fetch": 2}


@pytest.mark.parametrize(
    "odd",
    [{"is_banned": v} for v in ("maybe", 2, "", [True], {"by": 1}, 1.5)]
    + [
        {"tag_string": ["1girl"]},
        {"tag_string": 7},
        {"md5": 123},
    ],
)
def test_what_cannot_be_typed_fails_closed(site: Site, layout: Layout, odd: Record) -> None:
    """If a value that decides whether a file may be taken cannot be understood, the file is not taken."""
    source, _ = site(give_posts([shown(1) | odd, shown(2)]))
    assert planned(source, layout) == {"bad_row": 1, "fetch": 1}


UNTAGGED = {k: v for k, v in shown(1).items() if k != "tag_string"}


@pytest.mark.parametrize("row", [UNTAGGED, UNTAGGED | {"tag_string": None}, UNTAGGED | {"tags": "1girl"}])
def test_missing_tags_fail_closed(site: Site, layout: Layout, row: Record) -> None:
    """A post without `tag_string` may have an excluded tag: it gets no file, and `reconcile` accepts its reason."""
    source, _ = site(give_posts([row, shown(2), shown(3, tag_string="solo guro")]))
    assert planned(source, layout, exclude="guro") == {"tags_unknown": 1, "excluded_tag": 1, "fetch": 1}
    assert planned(source, layout) == {"fetch": 3}
    (post,) = read_posts(layout.posts_bucket(2021, "0001"))
    ledger = {1: LedgerRow(id=1, md5=post.md5, ext=post.ext, reason=Reason.TAGS_UNKNOWN, first_release=2021)}
    rows, problems = reconcile_bucket([post], ledger, {}, {}, year=2021, px512_settings="q90")
    assert ([row.status for row in rows], problems) == (["withheld"], [])


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ([{"name": "solo"}, {"name": 7}], "tags_unknown"),
        ([{"name": "solo"}, {"category": "0"}], "tags_unknown"),
        ([{"name": "solo"}, None], "tags_unknown"),
        (["solo", "guro"], "excluded_tag"),
        (["solo"], "fetch"),
        ([{"name": "solo"}], "fetch"),
    ],
)
def test_incomplete_lists_of_tags_fail_closed(layout: Layout, tmp_path: Path, tags: object, found: str) -> None:
    """The same for lists of tags, as of 2017, one of which has no name that can be read."""
    row = {**UNTAGGED, "created_at": "2021-12-31 00:00:00 UTC", "tags": tags}
    assert planned(dump(tmp_path, json.dumps(row).encode()), layout, exclude="guro") == {found: 1}


def test_missing_tags_in_lines(layout: Layout, tmp_path: Path) -> None:
    """The same for lines of a release, whose nulls are left out."""
    lines = line_of_2021(1, tag_string=None) + line_of_2021(2)
    assert planned(dump(tmp_path, lines), layout, exclude="guro") == {"tags_unknown": 1, "fetch": 1}


@pytest.mark.parametrize("rating", [None, 7, "", "safe", ["s"]])
def test_a_missing_rating_is_no_safe_one(site: Site, layout: Layout, rating: object) -> None:
    """A post whose rating is missing or cannot be understood has no 512px image."""
    source, _ = site(give_posts([shown(1, rating=rating)]))
    assert planned(source, layout) == {"fetch": 1}
    (post,) = read_posts(layout.posts_bucket(2021, "0001"))
    assert post.rating not in sfw_ratings(2021)


def test_banned_as_text_in_lines_and_arrow(layout: Layout, tmp_path: Path) -> None:
    """The same in lines of a release, which stay as they are, and in rows of the mirror."""
    line = line_of_2021(1, is_banned="true")
    assert planned(dump(tmp_path, line + line_of_2021(2)), layout) == {"banned": 1, "fetch": 1}
    batch = pa.RecordBatch.from_pylist([{"id": 1, "created_at": NOW, "is_banned": value} for value in ("t", "0", "?")])
    assert type_batch(batch).table["is_banned"].to_pylist() == [True, False, None]


def test_ugoira_and_new_ext(site: Site, layout: Layout) -> None:
    """An extension outside of the closed list gives no file an unknown name."""
    source, _ = site(give_posts([shown(i, file_ext=ext) for i, ext in enumerate(("jxl", "ugoira", "../x", "png"), 1)]))
    assert planned(source, layout) == {"bad_row": 3, "fetch": 1}


def test_big_numbers_and_nested_new_columns(layout: Layout) -> None:
    """Numbers beyond 64 bits and nested columns that are new are kept as they came."""
    row = parse_api_record(shown(1, score=10**30, media_asset={"variants": [1]}))
    assert isinstance(row, dict)
    assert json.loads(row["extra"]) == {"score": 10**30, "media_asset": {"variants": [1]}}
