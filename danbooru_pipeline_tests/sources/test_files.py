"""Dumps and archives: all rows in any dialect, and nothing from a stale or truncated file."""

import gzip
import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceStale, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import SweepReport, bring_posts
from danbooru_pipeline.sources.files import ArchiveSource, DumpSource

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
    return json.dumps({"id": post_id, "created_at": created_at, "md5": None, **more}).encode()


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
