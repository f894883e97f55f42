"""Dumps and archives: all rows in any dialect, and nothing from a stale or truncated file."""

import contextlib
import gzip
import json
import socket
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceStale, SourceUnreachable, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import SweepReport, bring_posts, export_side_tables
from danbooru_pipeline.sources.excluding import BulkSourceWithout
from danbooru_pipeline.sources.files import ArchiveSource, DumpSource
from danbooru_pipeline_tests.support.raw_server import RawServer, make_answer, serving

NOW = datetime(2022, 1, 20, tzinfo=UTC)
#: As the mirror of 2017 to 2020 wrote a post, cut to two tags.
OLD: dict[str, Any] = {
    "id": "263162",
    "created_at": "2021-12-30 03:08:07.34205 UTC",
    "score": "1",
    "md5": "9a0f9e0f08907d12b7d08e46047ae4d8",
    "last_noted_at": "1970-01-01 00:00:00 UTC",
    "rating": "s",
    "file_ext": "jpg",
    "parent_id": "0",
    "approver_id": "1309",
    "is_banned": False,
    "tags": [
        {"id": "540830", "name": "1boy", "category": "0"},
        {"id": "395796", "name": "kakinouchi_narumi", "category": "1"},
        {"id": "540830", "name": "1boy", "category": "0"},
    ],
    "pools": ["10152", "4162", "series", "collection"],
    "favs": ["15115"],
}


def line_of(post_id: int, created_at: str = "2021-12-31T18:59:59.999-05:00", **more: Any) -> bytes:
    """A line of a dump."""
    return json.dumps({"id": post_id, "created_at": created_at, "md5": "0" * 32, **more}).encode()


def bring(source: Any, layout: Layout) -> SweepReport:
    """Load the posts of 2021 without progress."""
    return bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)


def dump(tmp_path: Path, data: bytes) -> DumpSource:
    """A dump of posts in a folder."""
    tmp_path.joinpath("posts.json").write_bytes(data)
    return DumpSource(str(tmp_path), user_agent="tests")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_dump_is_sorted_cut_and_counted(layout: Layout, tmp_path: Path, pack: Any) -> None:
    """Rows in any order are sorted by id, each once, up to the last millisecond in UTC; rows without id are counted."""
    lines = [line_of(i, score=i) for i in (3, 1, 2)]
    lines += [line_of(2, score=9, updated_at="2022-01-01T00:00:00Z"), line_of(4, "2021-12-31T19:00:00-05:00")]
    lines += [b'{"id":null,"created_at":"2021-01-01T00:00:00Z"}']
    report = bring(dump(tmp_path, pack(b"\n".join(lines))), layout)
    rows = pq.read_table(layout.posts(2021)).to_pylist()
    assert [(row["id"], row["score"]) for row in rows] == [(1, 1), (2, 9), (3, 3)]
    assert (report.rows, report.rejected, report.max_id) == (3, 1, 3)
    assert layout.rejected(2021).read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: gzip.compress(data)[:-9]])
def test_cut_off_dump_is_refused(layout: Layout, tmp_path: Path, spoil: Any) -> None:
    """A truncated row or gzip file is an error, and no posts are written."""
    with pytest.raises(SourceUnusable, match=r"truncated|not a JSON object"):
        bring(dump(tmp_path, spoil(line_of(1) + b"\n" + line_of(2))), layout)
    assert not layout.posts(2021).exists()


def test_stale_dump_is_refused_with_a_way_out(layout: Layout, tmp_path: Path) -> None:
    """If posts end before the release, the error names the stale source and an alternative, and earlier posts stay."""
    bring(dump(tmp_path, line_of(1)), layout)
    before = layout.posts(2021).read_bytes()
    with pytest.raises(SourceStale, match=r"dump source are stale.*DANBOORU_POSTS_SOURCE=api"):
        bring(dump(tmp_path, line_of(1, "2021-06-01T00:00:00Z")), layout)
    assert layout.posts(2021).read_bytes() == before


def test_dump_of_later_posts_alone_is_named_as_that(layout: Layout, tmp_path: Path) -> None:
    """Posts that were all created after the cutoff have ids and times, so the message says when they are of."""
    with pytest.raises(SourceStale, match="all 2 posts of the dump source were created after the cutoff"):
        bring(dump(tmp_path, line_of(1, "2022-03-01T00:00:00Z") + b"\n" + line_of(2, "2022-03-01T00:00:00Z")), layout)


@pytest.mark.parametrize("packed", [False, True])
def test_archive_of_the_old_dialect_is_read(layout: Layout, tmp_path: Path, *, packed: bool) -> None:
    """Zeros and 1970 become null, tags become strings by category, each once; unknown columns are kept unchanged."""
    folder = tmp_path / "metadata" / "2021"
    folder.mkdir(parents=True)
    folder.joinpath("2021000000000000.json").write_text(json.dumps(OLD))
    path = folder.parent
    if packed:
        path = tmp_path / "metadata.json.tar.xz"
        with tarfile.open(path, "w:xz") as archive:
            archive.add(folder.parent, "metadata")
    report = bring(ArchiveSource(path, cdn_url="https://cdn.donmai.us"), layout)
    (row,) = pq.read_table(layout.posts(2021)).to_pylist()
    assert report.rows == 1
    assert (row["parent_id"], row["last_noted_at"], row["approver_id"]) == (None, None, 1309)
    assert (row["tag_string"], row["tag_string_artist"]) == ("1boy kakinouchi_narumi", "kakinouchi_narumi")
    assert row["file_url"] == "https://cdn.donmai.us/original/9a/0f/9a0f9e0f08907d12b7d08e46047ae4d8.jpg"
    assert row["tags"] == [
        {"id": 540830, "name": "1boy", "category": 0},
        {"id": 395796, "name": "kakinouchi_narumi", "category": 1},
        {"id": 540830, "name": "1boy", "category": 0},
    ]
    assert (row["pools"], row["favs"]) == ([10152, 4162], [15115])
    assert json.loads(row["extra"]) == {"pools": OLD["pools"]}


def test_metadata_of_earlier_years_comes_along(layout: Layout, tmp_path: Path) -> None:
    """Files of earlier years are kept byte for byte, damaged lines included; those of this year and later are not."""
    old = b'{"id":"1"}\n{"id":"2","x'
    for name in ("2017/2017000000000000.json", "2021/posts000000000000.json", "2022/posts000000000000.json"):
        tmp_path.joinpath("metadata", name).parent.mkdir(parents=True)
        tmp_path.joinpath("metadata", name).write_bytes(old if "2017" in name else line_of(7))
    tmp_path.joinpath("metadata/2017/README").write_text("no metadata")
    archive = tmp_path / "metadata.json.tar.xz"
    with tarfile.open(archive, "w:xz") as packed:
        packed.add(tmp_path / "metadata", "metadata")
    for path in (tmp_path / "metadata", archive):
        assert bring(ArchiveSource(path, cdn_url="https://cdn.donmai.us"), layout).rows == 1
        found = {file.relative_to(layout.carried(2021)): file for file in layout.carried(2021).rglob("*.json")}
        assert {str(name): file.read_bytes() for name, file in found.items()} == {"2017/2017000000000000.json": old}


Answers = dict[str, bytes]


@contextlib.contextmanager
def remote_dump(answers: Answers, *, head: bytes | None = None) -> Iterator[DumpSource]:
    """A dump below an address; answers by file name, to HEAD as well unless that has an answer of its own."""

    def answer(server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        first = head is not None and server.targets.count(target) == 1
        connection.sendall(head if first and head else answers.get(target[1:], make_answer(status=404)))

    with serving(answer) as server:
        yield DumpSource(server.url, user_agent="tests")


def test_dump_is_read_from_an_address(layout: Layout) -> None:
    """Gzipped or not, it holds what a folder would; a table that is not there is absent, not an error."""
    dated = {"Last-Modified": "Sat, 08 Jan 2022 00:00:00 GMT"}
    answers = {"posts.json": make_answer(gzip.compress(line_of(1) + b"\n" + line_of(2)), headers=dated)}
    with remote_dump(answers) as source:
        source.probe()
        assert bring(source, layout).rows == 2
        posts = source.open_table("posts", 2021)
        assert posts is not None
        assert posts.modified == datetime(2022, 1, 8, tzinfo=UTC)
        assert source.open_table("pools", 2021) is None
        assert list(source.earlier_files(2021)) == []


def test_address_that_refuses_says_what_to_do(layout: Layout) -> None:
    """A bucket where the requester pays answers 403; the error names the command that copies it."""
    refused = remote_dump({"posts.json": make_answer(status=403)})
    with refused as source, pytest.raises(SourceUnusable, match=r"HTTP 403.*gcloud storage cp"):
        bring(source, layout)
    assert not layout.posts(2021).exists()


def test_dump_that_is_interrupted_is_refused(layout: Layout) -> None:
    """A body that ends early, or no answer at all, is an unreachable source, and no posts are written."""
    cut = make_answer(line_of(1), length=10_000)
    interrupted = remote_dump({"posts.json": cut}, head=make_answer())
    with interrupted as source, pytest.raises(SourceUnreachable, match="was interrupted"):
        bring(source, layout)
    with pytest.raises(SourceUnreachable, match="does not answer"):
        bring(source, layout)
    assert not layout.posts(2021).exists()


def test_missing_dump_and_archive_are_named(tmp_path: Path) -> None:
    """A path that does not exist is refused before anything is read."""
    with pytest.raises(SourceUnusable, match="DANBOORU_DUMP"):
        DumpSource(str(tmp_path / "none"), user_agent="tests").probe()
    with pytest.raises(SourceUnusable, match="DANBOORU_ARCHIVE"):
        ArchiveSource(tmp_path / "none", cdn_url="").probe()


@pytest.mark.parametrize("keep", [20, 100])
def test_truncated_archive_is_refused(layout: Layout, tmp_path: Path, keep: int) -> None:
    """An archive that ends early is an error, wherever it ends, and no posts are written."""
    path = tmp_path / "posts000000000000.json"
    path.write_bytes(line_of(1))
    packed = tmp_path / "metadata.json.tar.xz"
    with tarfile.open(packed, "w:xz") as archive:
        archive.add(path, path.name)
    packed.write_bytes(packed.read_bytes()[:keep])
    with pytest.raises(SourceUnusable, match="get it again"):
        bring(ArchiveSource(packed, cdn_url=""), layout)
    assert not layout.posts(2021).exists()


def test_posts_that_were_taken_down_are_left_out_of_bulk_sources(layout: Layout, tmp_path: Path) -> None:
    """Neither rows, nor records of side tables, nor lines of earlier years about them arrive; other bytes are kept."""
    folder = tmp_path / "metadata"
    earlier = b'{"id":"1"}\n{"id":"2"}\nnot JSON'
    for name, data in {
        "2017/2017000000000000.json": earlier,
        "2021/posts000000000000.json": line_of(1) + b"\n" + line_of(2),
        "2021/notes000000000000.json": b'{"id":7,"post_id":"1"}\n{"id":8,"post_id":"2"}\n{"id":9}',
    }.items():
        folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(data)
    source = BulkSourceWithout(ArchiveSource(folder, cdn_url=""), {2})
    source.probe()
    assert source.name == "archive"
    bring(source, layout)
    assert pq.read_table(layout.posts(2021))["id"].to_pylist() == [1]
    carried = layout.carried(2021) / "2017/2017000000000000.json"
    assert carried.read_bytes() == b'{"id":"1"}\nnot JSON'
    export_side_tables(source, layout, 2021, progress=lambda _line: None)
    notes = [json.loads(line) for line in layout.side_table(2021, "notes").read_bytes().splitlines()]
    assert [note["id"] for note in notes] == ["7", "9"]
    assert BulkSourceWithout(source.source, frozenset()).open_table("pools", 2021) is None
