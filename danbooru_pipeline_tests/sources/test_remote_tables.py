"""Tables of a dump over HTTP: every form that a folder may have, found without a listing and by few requests."""

import gzip
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.errors import SourceUnreachable, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import export_side_tables
from danbooru_pipeline.sources.files import DumpSource
from danbooru_pipeline.sources.remote_tables import LOOK_AHEAD
from danbooru_pipeline_tests.support.dumps import bring_2021, lines_of_2021, write_files
from danbooru_pipeline_tests.support.web import Ranged, serving

ROWS = 40
LINES = lines_of_2021(range(1, ROWS + 1))
PARTS = [lines_of_2021(range(1 + k, ROWS + 1, 4)) for k in range(4)]
#: Shards of posts, from the first on.
SHARDS = {f"posts{k:012d}.json": part for k, part in enumerate(PARTS)}
FIRST, SECOND, THIRD, FOURTH = SHARDS


#: What a server answers to a method and a name, where that is not what its folder has.
Odd = Callable[[str, str], int | None]


def as_it_is(_method: str, _name: str) -> int | None:
    """Nothing odd."""
    return None


class Host(Ranged):
    """Serves a folder; notes what it is asked for."""

    def __init__(
        self, *args: Any, asked: list[tuple[str, str]], absent: int = 404, odd: Odd = as_it_is, **more: Any
    ) -> None:
        self.asked, self.absent, self.odd = asked, absent, odd
        super().__init__(*args, **more)

    def parse_request(self) -> bool:
        """Note the request, and answer one of a file that is not there."""
        if not super().parse_request():
            return False
        self.asked.append((self.command, self.path))
        status = self.odd(self.command, self.path[1:])
        if status is None:
            if Path(self.translate_path(self.path)).is_file():
                return True
            status = self.absent
        body = f"<html>no {self.path}</html>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")
        return False


@contextmanager
def remote(
    folder: Path, asked: list[tuple[str, str]] | None = None, *, absent: int = 404, odd: Odd = as_it_is
) -> Iterator[DumpSource]:
    """The folder as a dump below an address; it answers `absent` for files that it has not, and else what is `odd`."""
    notes = [] if asked is None else asked
    with serving(partial(Host, directory=str(folder), asked=notes, absent=absent, odd=odd)) as address:
        yield DumpSource(address, user_agent="tests", retry_seconds=0.2)


@pytest.mark.parametrize(
    "files",
    [
        {"posts.json": LINES},
        {"posts.json.gz": gzip.compress(LINES)},
        {"posts.json.xz": lzma.compress(LINES)},
        SHARDS,
        {f"{name}.gz": gzip.compress(data) for name, data in SHARDS.items()},
        {**SHARDS, THIRD: b""} | {f"{THIRD}.xz": lzma.compress(SHARDS[THIRD])},
    ],
    ids=["plain", "gz", "xz", "shards", "packed_shards", "mixed_shards"],
)
def test_a_remote_dump_has_the_forms_of_a_folder(layout: Layout, tmp_path: Path, files: dict[str, bytes]) -> None:
    """One file or shards, plain or packed, each by itself: all rows come, by the names that can be asked for."""
    folder = write_files(tmp_path / "dump", {name: data for name, data in files.items() if data})
    with remote(folder) as source:
        assert bring_2021(source, layout).rows == ROWS


@pytest.mark.parametrize(
    "files",
    [
        {"posts.json": PARTS[0], **SHARDS},
        {"posts.json.gz": gzip.compress(LINES), "posts.json.xz": lzma.compress(LINES)},
        {"posts.json.zst": LINES, FIRST: LINES},
        {f"{FIRST}.gz": gzip.compress(PARTS[0]), f"{FIRST}.xz": lzma.compress(PARTS[0]), SECOND: PARTS[1]},
        {FIRST: PARTS[0], THIRD: PARTS[2]},
        {FIRST: PARTS[0], FOURTH: PARTS[3]},
        {SECOND: PARTS[1], THIRD: PARTS[2]},
    ],
    ids=["file_and_shards", "two_packings", "packed_and_shard", "shard_twice", "gap", "wider_gap", "no_first"],
)
def test_a_remote_dump_is_refused_as_a_folder_is(layout: Layout, tmp_path: Path, files: dict[str, bytes]) -> None:
    """A table in two forms, or with a gap in its shards, is refused, and no posts are written."""
    folder = write_files(tmp_path / "dump", files)
    with pytest.raises(SourceUnusable) as local:
        bring_2021(DumpSource(str(folder), user_agent="tests"), layout)
    with remote(folder) as source, pytest.raises(SourceUnusable) as caught:
        bring_2021(source, layout)
    said = str(caught.value).partition(" ")[2]
    lacks = "lacks" in said and "lacks" in str(local.value)
    assert lacks or said == str(local.value).partition(" ")[2]
    assert not layout.posts(2021).exists()


@pytest.mark.parametrize("files", [{"posts.json": LINES}, SHARDS], ids=["plain", "shards"])
def test_a_packed_copy_beside_a_remote_file_is_no_second_one(
    layout: Layout, tmp_path: Path, files: dict[str, bytes]
) -> None:
    """What a server keeps packed beside a plain file, to send it so, is not asked for."""
    packed = {f"{name}.gz": b"not even whole" for name in files}
    with remote(write_files(tmp_path / "dump", files | packed)) as source:
        assert bring_2021(source, layout).rows == ROWS


def test_a_table_costs_few_requests(layout: Layout, tmp_path: Path) -> None:
    """A table in one file costs three requests; HEAD alone calls nothing absent, so each name that is not there two."""
    asked: list[tuple[str, str]] = []
    folder = write_files(tmp_path / "dump", {"posts.json": LINES, "tags000000000000.json": b'{"id":1}\n'})
    with remote(folder, asked) as source:
        assert source.open_table("posts", 2021) is not None
        assert asked == [("HEAD", "/posts.json"), ("HEAD", f"/{FIRST}"), ("GET", f"/{FIRST}")]
        del asked[:]
        assert source.open_table("pools", 2021) is None
        assert len(asked) == 2 * (10 + LOOK_AHEAD)
        assert len({name for _, name in asked}) == 10 + LOOK_AHEAD
        reports = export_side_tables(source, layout, 2021, progress=lambda _line: None)
    assert {name for name, report in reports.items() if report.status == "ok"} == {"tags"}


@pytest.mark.parametrize("absent", [200, 302, 400, 401, 403, 405, 410, 500])
@pytest.mark.parametrize("files", [{"posts.json": LINES}, SHARDS], ids=["plain", "shards"])
def test_a_server_that_does_not_say_404_has_what_it_gives(
    layout: Layout, tmp_path: Path, files: dict[str, bytes], absent: int
) -> None:
    """A page or a refusal of names that nobody has is no form of a table: rows come, and what is not there is none."""
    with remote(write_files(tmp_path / "dump", files), absent=absent) as source:
        assert bring_2021(source, layout).rows == ROWS
        assert source.open_table("pools", 2021) is None


def test_tables_alone_are_found_where_the_first_is_not(tmp_path: Path) -> None:
    """A bucket that says 403 of what it has not may have any of the tables; it is refused only if it has none."""
    folder = write_files(tmp_path / "dump", {"pools.json": b'{"id":1}\n'})
    with remote(folder, absent=403) as source:
        assert source.open_table("tags", 2021) is None
        assert source.open_table("pools", 2021) is not None
    with remote(tmp_path / "none", absent=403) as source:
        for table in ("posts", "tags"):
            with pytest.raises(SourceUnusable, match=rf"/{table}\.json answers HTTP 403; .*DANBOORU_DUMP"):
                source.open_table(table, 2021)


@pytest.mark.parametrize(("status", "error"), [(200, SourceUnusable), (403, SourceUnusable), (503, SourceUnreachable)])
@pytest.mark.parametrize("absent", [404, "the same"])
def test_an_outage_makes_no_table_absent(
    layout: Layout, tmp_path: Path, status: int, error: type[Exception], absent: int | str
) -> None:
    """A server that refuses all from some moment on has lost no table: what it says of any name is no answer then."""
    begun: list[str] = []

    def odd(_method: str, _name: str) -> int | None:
        return status if begun else None

    folder = write_files(tmp_path / "dump", SHARDS | {"tags.json": b'{"id":1}\n'})
    with remote(folder, absent=absent if isinstance(absent, int) else status, odd=odd) as source:
        assert bring_2021(source, layout).rows == ROWS
        begun.append("now")
        for table in ("tags", "posts"):
            with pytest.raises(error, match=rf"/{table}\.json"):
                source.open_table(table, 2021)


def test_an_outage_that_is_over_explains_nothing(layout: Layout, tmp_path: Path) -> None:
    """A server that said 503 of names that nobody has, and says 404 now, has a file of which it says 503."""
    over: list[str] = []

    def odd(_method: str, name: str) -> int | None:
        return 503 if name == "tags.json" or (not over and name not in {"posts.json", FIRST}) else None

    with remote(write_files(tmp_path / "dump", {"posts.json": LINES, "tags.json": b""}), odd=odd) as source:
        assert bring_2021(source, layout).rows == ROWS
        assert source.open_table("tags", 2021) is None
        over.append("now")
        with pytest.raises(SourceUnreachable, match=r"/tags\.json does not answer \(HTTP 503\)"):
            source.open_table("tags", 2021)


@pytest.mark.parametrize("head", [200, 404, 403])
def test_head_alone_decides_nothing_about_a_name(layout: Layout, tmp_path: Path, head: int) -> None:
    """A server whose HEAD finds every name, or none of the large ones, has what it gives by GET."""

    def odd(method: str, name: str) -> int | None:
        return head if method == "HEAD" and (head == 200 or "posts" not in name) else None

    with remote(write_files(tmp_path / "dump", {"posts.json": LINES, "tags.json": b'{"id":1}\n'}), odd=odd) as source:
        assert bring_2021(source, layout).rows == ROWS
        reports = export_side_tables(source, layout, 2021, progress=lambda _line: None)
    assert {name: report.status for name, report in reports.items() if report.status != "absent"} == {"tags": "ok"}


def test_a_shard_that_is_refused_is_no_end(layout: Layout, tmp_path: Path) -> None:
    """Where a server says 404 of what it has not, a refusal of the last shard refuses the table."""
    folder = write_files(tmp_path / "dump", SHARDS)

    def odd(_method: str, name: str) -> int | None:
        return 403 if name == FOURTH else None

    with remote(folder, odd=odd) as source, pytest.raises(SourceUnusable, match=f"{FOURTH} answers HTTP 403"):
        bring_2021(source, layout)
