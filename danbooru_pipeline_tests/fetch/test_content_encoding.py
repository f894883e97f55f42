"""Files that a server compresses unasked: decoded where the MD5 proves it, bounded, and never mixed up on resuming."""

import gzip
import os
import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from danbooru_pipeline.fetch import download_file
from danbooru_pipeline.fetch.content_encoding import STEP_BYTES
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.downloads import PNG, Connect, Serve, assert_nothing_left, post_of
from danbooru_pipeline_tests.support.raw_server import RawServer, always, make_answer

#: Bytes that do not compress, in more than one step of the decoder.
LARGE = PNG[:8] + os.urandom(STEP_BYTES + 12345)
PAGE = b"<!DOCTYPE html><title>Just a moment ...</title>" + b" " * 3000


def bare_deflate(data: bytes) -> bytes:
    """``deflate`` as some servers misread it: without the header of zlib."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def pack(codec: str) -> Callable[[bytes], bytes]:
    """Compress with an encoder that is not the one under test's own."""
    return lambda data: bytes(pa.compress(data, codec, asbytes=True))


PACKERS = [
    ("gzip", gzip.compress),
    ("GZIP", lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:])),
    ("x-gzip", gzip.compress),
    ("gzip", lambda data: gzip.compress(data) + bytes(10)),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("br", pack("brotli")),
    ("zstd", pack("zstd")),
]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The path of the finished file."""
    return tmp_path / "store" / "0007" / "7.png"


@pytest.mark.parametrize("data", [PNG, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("encoding", "packed"), PACKERS)
def test_gzip_encoded_files(
    serve: Serve, connect: Connect, target: Path, encoding: str, packed: Callable[[bytes], bytes], data: bytes
) -> None:
    """A file in any encoding of the web is decoded, by one request, and is the file that the MD5 names."""
    server = serve(always(make_answer(packed(data), headers={"Content-Encoding": encoding, "ETag": '"one"'})))
    got = download_file(connect(server.url), post_of(data), target)
    assert (got.reason, got.requests, got.size) == (None, 1, len(data))
    assert target.read_bytes() == data
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert server.requests[0][1]["accept-encoding"] == "identity"


@pytest.mark.parametrize("packed", [gzip.compress, pack("zstd")])
def test_encoding_without_its_header_is_recognised(
    serve: Serve, connect: Connect, target: Path, packed: Callable[[bytes], bytes]
) -> None:
    """A file that was stored compressed and is served as it is has the right MD5 once decoded."""
    server = serve(always(make_answer(packed(PNG))))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert target.read_bytes() == PNG


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "identity", "compress", "gzip, gzip", "☃"])
def test_declared_encoding_that_was_not_applied_does_no_harm(
    serve: Serve, connect: Connect, target: Path, encoding: str
) -> None:
    """The MD5 of the bytes as they came decides first; a wrong header spoils no file."""
    name = encoding.encode().decode("latin-1")
    server = serve(always(make_answer(PNG, headers={"Content-Encoding": name})))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests) == (None, 1)


def test_wrong_md5_under_an_encoding_that_was_not_applied(serve: Serve, connect: Connect, target: Path) -> None:
    """A whole file with another MD5 than the metadata's is kept as such, whatever its header says."""
    server = serve(always(make_answer(PNG, headers={"Content-Encoding": "gzip"})))
    got = download_file(connect(server.url), post_of(md5="0" * 32), target)
    assert (got.reason, got.size) == (Reason.MD5_DIFFERS, len(PNG))


def test_wrong_md5_once_decoded(serve: Serve, connect: Connect, target: Path) -> None:
    """The same holds for the decoded file: it is what the host has, without its wrapping."""
    server = serve(always(make_answer(gzip.compress(PNG), headers={"Content-Encoding": "gzip"})))
    got = download_file(connect(server.url), post_of(md5="0" * 32), target)
    assert (got.reason, got.size) == (Reason.MD5_DIFFERS, len(PNG))
    assert target.read_bytes() == PNG


@pytest.mark.parametrize(("encoding", "packed"), PACKERS)
@pytest.mark.parametrize("has_size", [True, False])
def test_bomb_ends_at_the_size_limit(
    serve: Serve,
    connect: Connect,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    packed: Callable[[bytes], bytes],
    *,
    has_size: bool,
) -> None:
    """A body that grows on decoding is given up just above the limit, and nothing is left of it."""
    monkeypatch.setattr("danbooru_pipeline.fetch.download.MAX_BYTES_WITHOUT_SIZE", 2**21)
    server = serve(always(make_answer(packed(bytes(2**23)), headers={"Content-Encoding": encoding})))
    post = post_of(file_size=5000 if has_size else None)
    assert download_file(connect(server.url), post, target).reason is Reason.TOO_LARGE
    assert_nothing_left(target)


def test_page_in_an_encoding_is_a_page(serve: Serve, connect: Connect, target: Path) -> None:
    """An error page is recognised through its compression, and the file is asked for again."""
    page = make_answer(gzip.compress(PAGE), headers={"Content-Encoding": "gzip"})
    assert download_file(connect(serve(always(page)).url), post_of(), target).reason is Reason.HTML_INSTEAD
    assert_nothing_left(target)
    assert download_file(connect(serve(always(page, make_answer(PNG))).url), post_of(), target).reason is None


@pytest.mark.parametrize(("encoding", "packed"), PACKERS)
def test_encoded_body_that_ends_early_is_truncated(
    serve: Serve, connect: Connect, target: Path, encoding: str, packed: Callable[[bytes], bytes]
) -> None:
    """A body without an announced length that breaks off inside its encoding is asked for again, not kept."""
    cut = make_answer(packed(LARGE)[:-5000], length=None, headers={"Content-Encoding": encoding})
    server = serve(always(cut, make_answer(LARGE)))
    got = download_file(connect(server.url), post_of(LARGE), target)
    assert (got.reason, got.requests) == (None, 2)
    assert target.read_bytes() == LARGE
    assert download_file(connect(serve(always(cut)).url), post_of(LARGE), target).reason is Reason.TRUNCATED


@pytest.mark.parametrize("first_is_encoded", [True, False])
def test_encoded_and_plain_bytes_are_never_joined(
    serve: Serve, connect: Connect, target: Path, *, first_is_encoded: bool
) -> None:
    """A server that gives both the same ETag, and now this one, now that: the rest is never taken for the other's."""
    packed, tag = gzip.compress(LARGE), {"ETag": '"one"'}
    encoded = tag | {"Content-Encoding": "gzip"}

    def answer(server: RawServer, connection: socket.socket, _target: str, headers: dict[str, str]) -> None:
        number = len(server.requests)
        is_encoded = first_is_encoded == (number == 1)
        data, more = (packed, encoded) if is_encoded else (LARGE, tag)
        if number == 1:
            connection.sendall(make_answer(data[:700_000], length=len(data), headers=more))
            return
        start = int(headers["range"].removeprefix("bytes=").removesuffix("-")) if "range" in headers else 0
        span = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        connection.sendall(make_answer(data[start:], status=206 if start else 200, headers=more | span))

    server = serve(answer)
    got = download_file(connect(server.url, retry_seconds=20.0), post_of(LARGE), target)
    assert (got.reason, got.size) == (None, len(LARGE))
    assert target.read_bytes() == LARGE
    assert ("range" in server.requests[1][1]) == (not first_is_encoded)
