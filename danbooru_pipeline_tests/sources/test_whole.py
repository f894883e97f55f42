"""Files are read whole, however they are packed, or refused in one line; each test names the case that it is."""

import bz2
import functools
import gzip
import http.server
import lzma
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceError, SourceUnreachable, SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import encode_2021
from danbooru_pipeline.release.tree.archive import TarEntry, write_tar_xz
from danbooru_pipeline.sources import SweepReport, bring_posts, export_side_tables
from danbooru_pipeline.sources.files import ArchiveSource, DumpSource
from danbooru_pipeline.sources.packed import unpack
from danbooru_pipeline_tests.support.dumps import line_of_2021, lines_of_2021, shard, tar_of, write_files
from danbooru_pipeline_tests.support.web import Server

#: A frame of zstandard to skip, as ``pzstd`` writes one before each of data.
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
NOW = datetime(2022, 1, 20, tzinfo=UTC)
#: 40 posts in four shards.
SHARDS = {shard(k): lines_of_2021(range(1 + k, 41, 4)) for k in range(4)}
#: As ``pixz`` leaves it behind the end of a tar file.
PIXZ_INDEX = bytes.fromhex("a64c322ed614aedb") + b"2021/posts000000000000.json\0" + bytes(8)


def bring(source: Any, layout: Layout) -> SweepReport:
    """Load the posts of 2021 without progress."""
    return bring_posts(source, layout, 2021, now=NOW, progress=lambda _line: None)


def archive(path: Path) -> ArchiveSource:
    """A source of an archive whose files are on the site's own host."""
    return ArchiveSource(path, cdn_url="https://cdn.donmai.us")


def dump(place: Path | str, **more: Any) -> DumpSource:
    """A source of dumps."""
    return DumpSource(str(place), user_agent="tests", **more)


def zstd(data: bytes) -> bytes:
    """One frame of zstandard."""
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


def streams(data: bytes, pack: Callable[[bytes], bytes], *, pad: bytes = b"") -> bytes:
    """Data as three streams of a format, with padding after each."""
    third = len(data) // 3 + 1
    return b"".join(pack(data[i : i + third]) + pad for i in range(0, len(data), third))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "xz_one_stream": lzma.compress,
    "xz_streams": lambda data: streams(data, lzma.compress),
    "xz_padded": lambda data: streams(data, lzma.compress, pad=bytes(8)),
    "xz_pixz": lambda data: lzma.compress(data + PIXZ_INDEX),
    "gz_members": lambda data: streams(data, gzip.compress),
    "bz2_streams": lambda data: streams(data, bz2.compress),
    "zst_frames": lambda data: streams(data, zstd),
    "zst_pzstd": lambda data: streams(data, lambda part: SKIPPED + zstd(part)),
    "plain": bytes,
}


@pytest.mark.parametrize("how", PACKED)
def test_own_archive_multistream(layout: Layout, tmp_path: Path, how: str) -> None:
    """An archive is read in full in any valid packing, as its first bytes show, whatever its name."""
    path = tmp_path / "metadata.json.tar.xz"
    path.write_bytes(PACKED[how](tar_of({f"metadata/{name}": data for name, data in SHARDS.items()})))
    assert bring(archive(path), layout).rows == 40


def test_own_archive_gives_the_same_posts(layout: Layout, tmp_path: Path) -> None:
    """The posts of a release, read back from the archive that it ships, are the same in every column."""
    folder = write_files(tmp_path / "old", SHARDS | {shard(4): line_of_2021(41, new_column={"a": [1]}, md5=None)})
    bring(archive(folder), layout)
    before = pq.read_table(layout.posts(2021))
    path = write_files(tmp_path, {"posts.json": encode_2021(before)}) / "posts.json"
    shipped = tmp_path / "metadata.json.tar.xz"
    with shipped.open("wb") as file:
        write_tar_xz(file, [TarEntry(f"metadata/{shard(0)}", path)], mtime=0, threads=2)
    again = Layout(tmp_path / "again")
    bring(archive(shipped), again)
    after = pq.read_table(again.posts(2021))
    assert before.equals(after)
    assert after.num_rows == 41


@pytest.mark.parametrize("how", [name for name in PACKED if name != "xz_pixz"])
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_cut_archive_is_refused(layout: Layout, tmp_path: Path, how: str, kept: float) -> None:
    """An archive that was cut off anywhere is refused with a line that says so, and nothing is written."""
    data = PACKED[how](tar_of(SHARDS)[:-9000])  # the padding of its last record would survive a cut
    path = tmp_path / "metadata.json.tar.xz"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(SourceUnusable, match=r"truncated|damaged") as caught:
        bring(archive(path), layout)
    assert "\n" not in str(caught.value)
    assert not layout.posts(2021).exists()


def test_archive_cut_between_members_is_refused(layout: Layout, tmp_path: Path) -> None:
    """Whole streams and whole members without the end of the tar file are not the whole archive."""
    path = tmp_path / "metadata.json.tar.xz"
    path.write_bytes(lzma.compress(tar_of(dict(list(SHARDS.items())[:2]), ends=False)))
    with pytest.raises(SourceUnusable, match=r"posts000000000001\.json, without the mark of its end"):
        bring(archive(path), layout)


def test_damaged_header_does_not_end_an_archive(layout: Layout, tmp_path: Path) -> None:
    """A member whose header is damaged is an error, not the end; nor is a second tar file ignored."""
    whole = tar_of(SHARDS)
    start = whole.index(b"2021/posts000000000002")
    for data, what in ((whole[:start] + b"\xff" * 512 + whole[start + 512 :], "damaged"), (whole * 2, "several tar")):
        path = tmp_path / "metadata.json.tar.xz"
        path.write_bytes(lzma.compress(data))
        with pytest.raises(SourceUnusable, match=what):
            bring(archive(path), layout)


def test_packed_data_is_bounded() -> None:
    """A bomb comes in pieces, and a decoder that needs gigabytes is refused."""
    for bomb in (gzip.compress(bytes(2**23)), lzma.compress(bytes(2**23)), bz2.compress(bytes(2**23))):
        assert max(map(len, unpack([bomb], "bomb"))) <= 2**20
    greedy = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 2**29}])
    with pytest.raises(SourceUnusable, match="Memory usage limit"):
        list(unpack([greedy], "greedy"))
    with pytest.raises(SourceUnusable, match=r"greedy needs 512 MiB to unpack, and 256 MiB is the most"):
        list(unpack([greedy], "greedy"))


@pytest.mark.parametrize(
    ("window", "needed"), [(b"\x90", "256 MiB"), (b"\xa8", "2,048 MiB"), (b"\x89", "144 MiB"), (b"\x88", "")]
)
def test_a_large_window_of_zstandard_is_no_damage(window: bytes, needed: str) -> None:
    """What ``zstd --long`` packed is unpacked up to a bound of memory, and else the error says how much it needs."""
    frame = b"\x28\xb5\x2f\xfd\x00" + window + b"\x19\x00\x00{}\n"
    for data in (frame, SKIPPED + frame):
        if needed:
            with pytest.raises(SourceUnusable, match=f"long needs {needed} to unpack, and 128 MiB is the most"):
                list(unpack([data], "long"))
        else:
            assert b"".join(unpack([data], "long")) == b"{}\n"


SIZED = b"\x28\xb5\x2f\xfd"


@pytest.mark.parametrize(
    ("header", "needed"),
    [
        (b"\xa0" + (300_000_001).to_bytes(4, "little"), "287 MiB"),
        (b"\xe0" + (2**31).to_bytes(8, "little"), "2,048 MiB"),
        (b"\x00\xa8", "2,048 MiB"),
    ],
)
def test_one_line_says_how_to_pack_a_file_anew(header: bytes, needed: str) -> None:
    """The file, what it needs, what is taken, and the command; a frame that knows its size needs that much."""
    data = SIZED + header + b"\x19\x00\x00{}\n" + bytes(20)
    with pytest.raises(SourceUnusable) as caught:
        list(unpack([data], "posts.json.zst"))
    assert str(caught.value) == (
        f"posts.json.zst needs {needed} to unpack, and 128 MiB is the most that is taken (ZSTD decompress failed: "
        "Frame requires too much memory for decoding); unpack it first, or pack it anew "
        "(`zstd -dc --memory=2048MB | zstd -19 --long=27`)"
    )


@pytest.mark.skipif(not (shutil.which("xz") and shutil.which("zstd")), reason="xz and zstd are not installed")
def test_commands_of_that_line_make_files_that_are_read() -> None:
    """What they write is unpacked within the bounds."""
    plain = random.Random(1).randbytes(3_000_000)
    greedy = lzma.compress(plain, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**29}])
    with pytest.raises(SourceUnusable, match=r"anew \(`xz -dc \| xz -9`\)$"):
        list(unpack([greedy], "greedy"))
    again = subprocess.run("xz -dc | xz -9", shell=True, input=greedy, capture_output=True, check=True).stdout
    assert b"".join(unpack([again], "again")) == plain
    window = subprocess.run(["zstd", "-q", "-1", "--long=31"], input=plain, capture_output=True, check=True).stdout
    with pytest.raises(SourceUnusable, match="needs 2,048 MiB"):
        list(unpack([window], "window"))
    repack = "zstd -qdc --memory=2048MB | zstd -q -19 --long=27"
    again = subprocess.run(repack, shell=True, input=window, capture_output=True, check=True).stdout
    assert b"".join(unpack([again], "again")) == plain


def test_archive_shard_missing(layout: Layout, tmp_path: Path) -> None:
    """Shards 000, 001 and 003 are refused, and the missing one is named; in a tar file and a dump as well."""
    names = [name for name in SHARDS if name != shard(2)]
    folder = write_files(tmp_path / "a", {name: SHARDS[name] for name in names})
    packed = tmp_path / "metadata.json.tar.xz"
    packed.write_bytes(lzma.compress(tar_of({name: SHARDS[name] for name in names})))
    flat = write_files(tmp_path / "d", {Path(name).name: SHARDS[name] for name in names})
    for source in (archive(folder), archive(packed), dump(flat)):
        with pytest.raises(SourceUnusable, match=r"lacks 1 of 4 files .*posts000000000002\.json"):
            bring(source, layout)
    assert not layout.posts(2021).exists()


def test_archive_shard_empty(layout: Layout, tmp_path: Path) -> None:
    """A shard of no bytes, or of blank lines, among others is refused by its name."""
    for nothing in (b"", b"\n\n"):
        with pytest.raises(SourceUnusable, match=r"posts000000000001\.json is empty"):
            bring(archive(write_files(tmp_path / "a", SHARDS | {shard(1): nothing})), layout)


def test_table_empty_file(layout: Layout, tmp_path: Path) -> None:
    """A dump's table of no bytes is reported as empty, not as a table with no rows."""
    folder = write_files(tmp_path / "d", {"tags.json": b"", "pools.json": b'{"id":1}\n'})
    reports = export_side_tables(dump(folder), layout, 2021, progress=lambda _line: None)
    assert (reports["tags"].status, reports["pools"].status) == ("empty", "ok")
    assert not layout.side_table(2021, "tags").exists()


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".xz", ".bz2"])
def test_dump_is_unpacked_by_its_first_bytes(layout: Layout, tmp_path: Path, suffix: str) -> None:
    """What a dump is called says nothing about how it is packed."""
    for pack in (bytes, gzip.compress, zstd, lzma.compress, bz2.compress):
        folder = write_files(tmp_path / "d", {f"posts.json{suffix}": pack(lines_of_2021(range(1, 9)))})
        assert bring(dump(folder), layout).rows == 8


def test_two_dumps_of_a_table_are_refused(layout: Layout, tmp_path: Path) -> None:
    """Of a plain and a packed file nobody knows which one is meant."""
    data = lines_of_2021(range(1, 9))
    folder = write_files(tmp_path / "d", {"posts.json": data, "posts.json.gz": gzip.compress(data)})
    with pytest.raises(SourceUnusable, match=r"posts\.json and posts\.json\.gz"):
        bring(dump(folder), layout)


def test_a_shard_that_is_there_twice_is_refused(layout: Layout, tmp_path: Path) -> None:
    """A shard of any table that is there plain and packed would give its rows twice."""
    tags = b'{"id":1,"name":"a"}\n'
    twice = {"tags000000000000.json": tags, "tags000000000000.json.gz": gzip.compress(tags)}
    folder = write_files(tmp_path / "d", twice | {"posts.json": lines_of_2021(range(1, 9))})
    for source in (dump(folder), archive(folder)):
        with pytest.raises(SourceUnusable, match=r"tags000000000000\.json and tags000000000000\.json\.gz; remove all"):
            export_side_tables(source, layout, 2021, progress=lambda _line: None)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\xef\xbb\xbf" + line_of_2021(1), "byte order mark"),
        (line_of_2021(1).decode().encode("utf-16"), "UTF-16"),
        (b"[" + line_of_2021(1) + b"]", "JSON array"),
        (b'{\n  "id": 1\n}\n', "indented"),
        (b"id,created_at,md5\n1,2021,abc\n", "CSV"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (line_of_2021(1).decode().encode("utf-16-le"), "UTF-16"),
        (b"id|created_at|md5\n1|2021|abc\n", "CSV"),
        (b'{"posts":[' + line_of_2021(1).rstrip() + b"]}", "object around an array"),
        (tar_of({"posts.json": line_of_2021(1)}), "tar file"),
        (gzip.compress(gzip.compress(line_of_2021(1))), "packed twice"),
        (lzma.compress(line_of_2021(1), format=lzma.FORMAT_ALONE), r"\.lzma"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(26), "7z"),
        (b"\x04\x22\x4d\x18" + line_of_2021(1), "lz4"),
        (bytes(5000), "zero bytes"),
    ],
)
def test_another_format_is_named(layout: Layout, tmp_path: Path, data: bytes, what: str) -> None:
    """A file that is not JSON lines is refused in one line that says what it is."""
    with pytest.raises(SourceUnusable, match=f"posts.json is not JSON lines.*{what}") as caught:
        bring(dump(write_files(tmp_path / "d", {"posts.json": data})), layout)
    assert "\n" not in str(caught.value)


@functools.cache
def dumped() -> bytes:
    """What the servers below have."""
    return lines_of_2021(range(1, 4000))


class Web(http.server.BaseHTTPRequestHandler):
    """Serves ``posts.json`` in one of several ways that servers have."""

    protocol_version = "HTTP/1.1"
    mode = "plain"
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012 - each test has a class of its own

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer without a body, or refuse the method."""
        self._answer(head=True)

    def do_GET(self) -> None:
        """Answer with the file, or with a part of it."""
        self._answer(head=False)

    def _answer(self, *, head: bool) -> None:
        if not self.path.endswith("posts.json"):
            return self._send(404, b"")
        self.asked.append((self.command, self.headers.get("Range")))
        if head and self.mode == "head405":
            return self._send(405, b"")
        if head:
            return self._send(200, dumped(), head=True)
        gets = sum(command == "GET" for command, _ in self.asked)
        if self.mode == "busy" and gets < 3:
            return self._send(503, b"")
        start = int(self.headers.get("Range", "bytes=0-")[6:-1]) if self.mode == "ranged" else 0
        body = dumped().replace(b"solo", b"sols") if self.mode == "changes" and gets > 1 else dumped()
        upto = len(body) // 3 * gets if self.mode in {"ranged", "short", "changes"} and gets < 4 else len(body)
        if self.mode == "always_short":
            upto = 100
        return self._send(206 if start else 200, body[start:], upto=upto - start, start=start)

    def _send(self, status: int, body: bytes, *, upto: int | None = None, start: int = 0, head: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.mode == "ranged":
            self.send_header("ETag", '"1"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(dumped()) - 1}/{len(dumped())}")
        self.end_headers()
        if not head:
            self.wfile.write(body if upto is None else body[:upto])
            self.close_connection = upto is not None and upto < len(body)


@contextmanager
def web(mode: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server of the dump; yields its address and what it was asked."""
    asked: list[tuple[str, str | None]] = []
    handler = type("Web", (Web,), {"mode": mode, "asked": asked})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/d", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("mode", ["plain", "head405", "busy", "short", "ranged"])
def test_remote_dump(layout: Layout, mode: str) -> None:
    """A dump over HTTP is read in full: a refused HEAD, a busy server and interruptions do not matter."""
    with web(mode) as (url, asked):
        assert bring(dump(url, retry_seconds=0.5), layout).rows == 3999
    ranges = [found for _, found in asked if found]
    assert bool(ranges) == (mode == "ranged")


@pytest.mark.parametrize(("mode", "error"), [("always_short", SourceUnreachable), ("changes", SourceUnusable)])
def test_remote_dump_is_whole_or_refused(layout: Layout, mode: str, error: type[SourceError]) -> None:
    """A dump that never comes whole, or changes between two attempts, is refused."""
    with web(mode) as (url, _), pytest.raises(error, match=r"run again"):
        bring(dump(url, retry_seconds=0.5), layout)
    assert not layout.posts(2021).exists()
