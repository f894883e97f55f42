"""The server of `browse`: parts of files, nothing outside of the release, no one but this machine's own browser."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from danbooru_pipeline.consume.browse import serving_release
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release_paths import BROWSE_RELEASE, INDEX_BITMAPS, RELEASE_JSON
from danbooru_pipeline_tests.support.browsers import browse_of
from danbooru_pipeline_tests.support.commands import command, environment
from danbooru_pipeline_tests.support.yard import Yard, small_yard


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that also has links that lead out of it, and an original that is HTML."""
    folder = small_yard(tmp_path_factory.mktemp("browse") / "root").release()
    (folder / "outside.txt").symlink_to("/etc/hostname")
    (folder / "above").symlink_to(folder.parent)
    (folder / "original/0999").mkdir()
    (folder / "original/0999/999.html").write_text("<script>alert(1)</script>")
    return folder


@pytest.fixture
def client(release: Path) -> Iterator[httpx.Client]:
    """A client of a server of that release."""
    with browse_of(release) as url, httpx.Client(base_url=url.removesuffix("browse/"), trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-3", slice(0, 4)),
        ("bytes=5-5", slice(5, 6)),
        ("bytes=7-", slice(7, None)),
        ("bytes=-4", slice(-4, None)),
        ("bytes=2-999999999", slice(2, None)),
    ],
)
def test_parts_of_a_file(client: httpx.Client, release: Path, header: str, part: slice) -> None:
    """A range of any form gives its bytes, and says where they are."""
    data = (release / INDEX_BITMAPS).read_bytes()
    answer = client.get(INDEX_BITMAPS, headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, data[part])
    first, last, whole = map(int, re.findall(r"\d+", answer.headers["Content-Range"]))
    assert data[first : last + 1] == answer.content
    assert whole == len(data)


@pytest.mark.parametrize("header", ["", "bytes=0-1,3-4", "bytes=-", "bytes=9-3", "lines=0-1", "bytes=x-"])
def test_what_is_no_range_gives_the_whole_file(client: httpx.Client, release: Path, header: str) -> None:
    """Several ranges, and what is none, are answered with the whole file, as the standard allows."""
    answer = client.get(INDEX_BITMAPS, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, (release / INDEX_BITMAPS).read_bytes())


def test_a_range_behind_the_end_is_refused(client: httpx.Client) -> None:
    """It is 416, with the length of the file; the connection goes on."""
    answer = client.get(RELEASE_JSON, headers={"Range": "bytes=99999999-"})
    assert (answer.status_code, answer.content) == (416, b"")
    assert client.head(RELEASE_JSON).headers["Content-Length"] == answer.headers["Content-Range"].partition("/")[2]


@pytest.mark.parametrize(
    "path",
    [
        *("/../x", "/browse/../../x", "/%2e%2e/x", "/browse/..%2f..%2fx", "//etc/hostname", "/etc/hostname"),
        *("/outside.txt", "/above/root", "/browse", "/nothing", "/browse/%00", "/original/0001/..", "/a\\..\\b"),
    ],
)
def test_nothing_outside_is_read(client: httpx.Client, path: str) -> None:
    """No path leads out of the release, by dots, encoded ones, links or folders; whatever is asked, it is 404."""
    port = client.base_url.port
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert raw.recv(20).split()[1] == b"404"


def test_only_this_machine_by_its_own_name(client: httpx.Client) -> None:
    """A page of the web whose name leads to this machine is refused; nothing is written, whatever the method."""
    assert client.get(RELEASE_JSON, headers={"Host": "evil.example"}).status_code == 403
    assert client.get(RELEASE_JSON, headers={"Host": f"localhost:{client.base_url.port}"}).status_code == 200
    assert client.post(RELEASE_JSON).status_code == 501
    answer = client.get("")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/browse/")
    assert client.get("browse/").headers["Content-Type"].startswith("text/html")


def test_html_of_a_post_is_no_page(client: httpx.Client) -> None:
    """An original that is HTML, which a post may be, is not shown as a page of this server."""
    answer = client.get("original/0999/999.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_cannot_be_served_is_one_line(copy: Path) -> None:
    """A port that is taken and a release without the page say what to do."""
    with (
        serving_release(copy, port=0) as server,
        pytest.raises(ReleaseError, match="--port"),
        serving_release(copy, port=server.port),
    ):
        pass
    (copy / BROWSE_RELEASE).unlink()
    with (
        pytest.raises(ReleaseError, match=r"has no browse/: it is older .*, or this copy"),
        serving_release(copy, port=0),
    ):
        pass


def test_ids_that_no_browser_can_count_are_why(tmp_path: Path) -> None:
    """A release has no page where its ids are too large for one, and that is what is said of it, not that it is old."""
    yard = Yard(Layout(tmp_path / "root"), year=2022)
    yard.post(2**53, rating="g")
    said = rf"has no browse/: it has ids up to {2**53}, .*; use `select`"
    with pytest.raises(ReleaseError, match=said), serving_release(yard.release(), port=0):
        pass


def test_command_serves_until_it_is_stopped(release: Path) -> None:
    """The command prints the address, answers at it, and ends with exit code 0 at Ctrl-C."""
    words = command("browse", str(release), "--port", "0")
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split()[-1]
        assert httpx.get(url, trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize("path", ["browse/", "index.html", "README.md", "nothing", ""])
def test_page_of_a_crafted_release_reaches_nothing_else(client: httpx.Client, path: str) -> None:
    """Whatever a page says of itself, its scripts are the release's files, and it asks no other address."""
    policy = dict(part.strip().split(" ", 1) for part in client.get(path).headers["Content-Security-Policy"].split(";"))
    assert {name: policy[name] for name in ("default-src", "script-src", "connect-src", "frame-ancestors")} == {
        "default-src": "'none'",
        "script-src": "'self'",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
    }
    assert not re.search(r"https?:|\*", " ".join(policy.values()))
