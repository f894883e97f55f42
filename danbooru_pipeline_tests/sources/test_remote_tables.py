"""Tables of a dump over HTTP: every form that a folder may have, found without a listing and by few requests."""

import gzip
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.errors import SourceUnusable
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


class Host(Ranged):
    """Serves a folder; notes what it is asked for."""

    def __init__(
        self, *args: Any, asked: list[tuple[str, str]], absent: int = 404, closed: str = "", **more: Any
    ) -> None:
        self.asked, self.absent, self.closed = asked, absent, closed
        super().__init__(*args, **more)

    def parse_request(self) -> bool:
        """Note the request, and answer one of a file that is not there."""
        if not super().parse_request():
            return False
        self.asked.append((self.command, self.path))
        if Path(self.translate_path(self.path)).is_file() and self.path != f"/{self.closed}":
            return True
        body = b"<html></html>"
        self.send_response(403 if self.path == f"/{self.closed}" else self.absent)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")
        return False


@contextmanager
def remote(
    folder: Path, asked: list[tuple[str, str]] | None = None, *, absent: int = 404, closed: str = ""
) -> Iterator[DumpSource]:
    """The folder as a dump below an address; it answers `absent` for files that it has not, and refuses one of them."""
    notes = [] if asked is None else asked
    with serving(partial(Host, directory=str(folder), asked=notes, absent=absent, closed=closed)) as address:
        yield DumpSource(address, user_agent="tests", retry_seconds=1)


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
        {"posts.json": LINES, "posts.json.gz": gzip.compress(LINES)},
        {"posts.json.zst": LINES, FIRST: LINES},
        {FIRST: PARTS[0], f"{FIRST}.gz": gzip.compress(PARTS[0]), SECOND: PARTS[1]},
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


def test_tables_that_are_not_there_cost_few_requests(layout: Layout, tmp_path: Path) -> None:
    """Where HEAD is answered, a table that is not there costs a dozen of them, and shards one for each."""
    asked: list[tuple[str, str]] = []
    folder = write_files(tmp_path / "dump", {"posts.json": LINES, "tags000000000000.json": b'{"id":1}\n'})
    with remote(folder, asked) as source:
        assert source.open_table("posts", 2021) is not None
        del asked[:]
        assert source.open_table("pools", 2021) is None
        assert len(asked) == 10 + LOOK_AHEAD
        assert {method for method, _ in asked} == {"HEAD"}
        reports = export_side_tables(source, layout, 2021, progress=lambda _line: None)
    assert {name for name, report in reports.items() if report.status == "ok"} == {"tags"}


@pytest.mark.parametrize("absent", [200, 403, 410])
def test_a_server_that_does_not_say_404_has_what_it_names(layout: Layout, tmp_path: Path, absent: int) -> None:
    """A page for each name, or a refusal of names that nobody has, is no second form of a table."""
    with remote(write_files(tmp_path / "dump", {"posts.json": LINES}), absent=absent) as source:
        assert bring_2021(source, layout).rows == ROWS


def test_a_shard_that_is_refused_is_no_end(layout: Layout, tmp_path: Path) -> None:
    """Where a server says 404 of what it has not, a refusal of the last shard refuses the table."""
    folder = write_files(tmp_path / "dump", SHARDS)
    with remote(folder, closed=FOURTH) as source, pytest.raises(SourceUnusable, match=f"{FOURTH} answers HTTP 403"):
        bring_2021(source, layout)
    with remote(folder, absent=403) as source, pytest.raises(SourceUnusable, match=r"posts\.json answers HTTP 403"):
        bring_2021(source, layout)
