"""Resuming an interrupted body: only if the server confirms that the entity is unchanged, and never with harm."""

import hashlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.errors import SourceBlocked
from danbooru_pipeline.fetch import BooruClient, download_file, part_names
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.downloads import PNG, Connect, Serve, assert_nothing_left, post_of
from danbooru_pipeline_tests.support.raw_server import RawServer, always, make_answer, serving

BIG = PNG * 200  # large enough for its part to be kept for the next process
TAG = '"one"'


def rest_of(data: bytes, start: int, *, tag: str | None = TAG, claim: str | None = None) -> bytes:
    """A 206 with the bytes from `start` on."""
    headers = {"Content-Range": claim or f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return make_answer(data[start:], status=206, headers=headers | ({"ETag": tag} if tag else {}))


def cut(data: bytes, at: int, *, headers: dict[str, str] | None = None) -> bytes:
    """A response that announces all of `data` and ends early."""
    return make_answer(data[:at], length=len(data), headers={"ETag": TAG} if headers is None else headers)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The path of the finished file."""
    return tmp_path / "store" / "0007" / "7.png"


def test_interrupted_body_is_resumed(serve: Serve, connect: Connect, target: Path) -> None:
    """The second request asks only for the rest of the same entity, and the file is whole."""
    server = serve(always(cut(PNG, 1000), rest_of(PNG, 1000)))
    got = download_file(connect(server.url), post_of(), target)
    assert (got.reason, got.requests, got.size) == (None, 2, len(PNG))
    assert target.read_bytes() == PNG
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    asked = server.requests[1][1]
    assert (asked["range"], asked["if-range"]) == ("bytes=1000-", TAG)


def test_date_is_the_validator_where_there_is_no_tag(serve: Serve, connect: Connect, target: Path) -> None:
    """If a server sends Last-Modified and no ETag, the date goes into If-Range."""
    dated = {"Last-Modified": "Tue, 24 May 2005 03:35:31 GMT"}
    rest = make_answer(PNG[9:], status=206, headers=dated | {"Content-Range": f"bytes 9-{len(PNG) - 1}/{len(PNG)}"})
    server = serve(always(cut(PNG, 9, headers=dated), rest))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert server.requests[1][1]["if-range"] == dated["Last-Modified"].lower()


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"one"'}, {"ETag": "one"}, {"ETag": '"' + "x" * 300 + '"'}])
def test_entity_without_a_strong_validator_is_fetched_anew(
    serve: Serve, connect: Connect, target: Path, headers: dict[str, str]
) -> None:
    """Without a strong tag nothing could confirm that the rest belongs to the same entity."""
    server = serve(always(cut(PNG, 1000, headers=headers), make_answer(PNG)))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert "range" not in server.requests[1][1]


@pytest.mark.parametrize(
    "answer",
    [
        rest_of(PNG, 1000, tag='"two"'),
        rest_of(PNG, 1000, tag=None),
        rest_of(PNG, 900),
        rest_of(PNG, 1000, claim="bytes 1000-1500/*"),
        rest_of(PNG, 1000, claim=f"bytes 1000-1500/{len(PNG)}"),
        rest_of(PNG, 1000, claim="octets"),
        make_answer(status=416, headers={"Content-Range": "bytes */500"}),
    ],
    ids=["other tag", "no tag", "other start", "unknown whole", "not to the end", "nonsense", "416"],
)
def test_rest_that_is_not_confirmed_is_not_used(serve: Serve, connect: Connect, target: Path, answer: bytes) -> None:
    """Bytes that are not certainly the rest of the same entity are dropped, and the whole file is requested."""
    server = serve(always(cut(PNG, 1000), answer, make_answer(PNG)))
    got = download_file(connect(server.url, retry_seconds=20.0), post_of(), target)
    assert (got.reason, got.requests) == (None, 3)
    assert "range" not in server.requests[2][1]
    assert target.read_bytes() == PNG


def test_whole_answer_to_a_range_starts_anew(serve: Serve, connect: Connect, target: Path) -> None:
    """A server whose entity changed, or that ignores ranges, sends the whole body, and that body is used."""
    server = serve(always(cut(b"old" * 500, 1000), make_answer(PNG)))
    assert download_file(connect(server.url), post_of(), target).reason is None
    assert target.read_bytes() == PNG


def test_spliced_body_with_a_wrong_md5_proves_nothing(serve: Serve, connect: Connect, target: Path) -> None:
    """A wrong body made of two pieces does not count as having seen the host's bytes once."""
    wrong = PNG[:1000] + b"x" * (len(PNG) - 1000)
    server = serve(always(cut(wrong, 1000), rest_of(wrong, 1000), make_answer(wrong), make_answer(PNG)))
    got = download_file(connect(server.url, retry_seconds=20.0), post_of(), target)
    assert (got.reason, got.requests) == (None, 4)


def test_interrupted_rest_is_resumed_again(serve: Serve, connect: Connect, target: Path) -> None:
    """Each interruption costs one request, and no byte is sent twice."""

    def answer(_server: RawServer, connection: socket.socket, _target: str, headers: dict[str, str]) -> None:
        start = int(headers.get("range", "bytes=0-")[6:-1])
        data = rest_of(PNG, start) if start else make_answer(PNG, headers={"ETag": TAG})
        connection.sendall(data[: data.index(b"\r\n\r\n") + 4 + 600])

    server = serve(answer)
    got = download_file(connect(server.url, retry_seconds=30.0), post_of(), target)
    assert (got.reason, got.requests) == (None, 4)
    assert [headers.get("range") for _, headers in server.requests] == [
        None, "bytes=600-", "bytes=1200-", "bytes=1800-",
    ]  # fmt: skip


def leave_part(target: Path, data: bytes, tag: str = TAG, of: bytes = BIG) -> None:
    """Write what a killed process leaves behind."""
    md5 = hashlib.md5(of, usedforsecurity=False).hexdigest()
    target.parent.mkdir(parents=True)
    for name, content in zip(part_names(target.name, md5), (data, tag.encode()), strict=True):
        (target.parent / name).write_bytes(content)


def test_part_of_a_killed_process_is_resumed(serve: Serve, connect: Connect, target: Path) -> None:
    """The next process asks only for the rest, and leaves nothing beside the file."""
    leave_part(target, BIG[:300_000])
    server = serve(always(rest_of(BIG, 300_000)))
    got = download_file(connect(server.url), post_of(BIG), target)
    assert (got.reason, got.requests) == (None, 1)
    assert server.requests[0][1]["range"] == "bytes=300000-"
    assert target.read_bytes() == BIG
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_part_of_another_file_of_the_post_is_not_used(serve: Serve, connect: Connect, target: Path) -> None:
    """A post whose file was replaced has another MD5, and so another part file."""
    leave_part(target, PNG, of=PNG + b"old")
    server = serve(always(make_answer(BIG)))
    assert download_file(connect(server.url), post_of(BIG), target).reason is None
    assert "range" not in server.requests[0][1]


def test_stopped_process_keeps_what_it_received(serve: Serve, connect: Connect, target: Path) -> None:
    """A block in the middle of a download ends the run; the received bytes are kept for the next one."""
    blocked = make_answer(status=403, headers={"CF-Mitigated": "challenge"})
    server = serve(always(cut(BIG, 300_000), blocked))
    with pytest.raises(SourceBlocked):
        download_file(connect(server.url), post_of(BIG), target)
    assert not target.exists()
    server.answer = always(rest_of(BIG, 300_000))
    assert download_file(connect(server.url), post_of(BIG), target).reason is None
    assert server.requests[-1][1]["range"] == "bytes=300000-"


@given(data=st.binary(min_size=1, max_size=300), part=st.binary(max_size=400), tag=st.binary(max_size=8))
def test_leftover_part_is_never_trusted(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, part: bytes, tag: bytes
) -> None:
    """With any bytes as part and validator, and a server that sends its own file, the result is the right file."""
    target = tmp_path_factory.mktemp("any") / "0007" / "7.png"
    leave_part(target, part, of=data)
    (target.parent / part_names(target.name, hashlib.md5(data, usedforsecurity=False).hexdigest())[1]).write_bytes(tag)
    with serving(always(make_answer(data))) as server:
        settings = Settings(api_url=server.url, cdn_url=server.url, root=target.parent, retry_seconds=5)
        with BooruClient(settings) as client:
            got = download_file(client, post_of(data), target)
    assert got.reason is None
    assert target.read_bytes() == data


def test_small_part_of_a_failed_download_is_not_kept(serve: Serve, connect: Connect, target: Path) -> None:
    """After the last attempt, a part that is cheaper to request again is not kept."""
    server = serve(always(cut(PNG, 1000), rest_of(PNG, 1000)[:300]))
    got = download_file(connect(server.url, retry_seconds=0.001), post_of(), target)
    assert got.reason is Reason.TRUNCATED
    assert_nothing_left(target)
