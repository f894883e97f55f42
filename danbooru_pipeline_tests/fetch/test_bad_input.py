"""Hostile and broken input, all in one bucket: each gets one reason, nothing is half-written, the rest is done."""

import contextlib
import hashlib
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull
from danbooru_pipeline.fetch import BooruClient, download_file
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import PostRow, RejectedRow, parse_api_record, posts_table, write_posts
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import OriginalsReport, build_originals
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline_tests.support.certificate import certified
from danbooru_pipeline_tests.support.disks import small_disk
from danbooru_pipeline_tests.support.downloads import post_of
from danbooru_pipeline_tests.support.pictures import illustration, jpeg
from danbooru_pipeline_tests.support.raw_server import RawServer, make_answer, serving

CREATED = "2021-06-01T00:00:00.000-04:00"
GOOD = jpeg(illustration())
MD5 = hashlib.md5(GOOD, usedforsecurity=False).hexdigest()


def record(post_id: object, **more: Any) -> dict[str, Any]:
    """A post as the API returns it; its file is GOOD."""
    plain = {"id": post_id, "created_at": CREATED, "md5": MD5, "file_ext": "jpg", "file_size": len(GOOD), "rating": "s"}
    return {**plain, "file_url": f"/{post_id}.jpg", "tag_string": "1girl", **more}


def rows_of(*records: dict[str, Any]) -> list[PostRow]:
    """The rows of records with a usable id; for a repeated id the last one, as a sweep does."""
    parsed = [parse_api_record(one) for one in records]
    rows = {row["id"]: row for row in parsed if not isinstance(row, RejectedRow)}
    return list(rows.values())


def build(server_url: str, root: Path, *records: dict[str, Any], **more: Any) -> tuple[OriginalsReport, Layout]:
    """Build bucket 0000 from these posts."""
    layout = Layout(root)
    slice_ = layout.posts_bucket(2021, "0000")
    slice_.parent.mkdir(parents=True, exist_ok=True)
    layout.posts_report(2021).write_text('{"source": {"max_id": 1}}')
    with slice_.open("wb") as file:
        write_posts(posts_table(rows_of(*records)), file)
    values: dict[str, Any] = {"retry_seconds": 0.5, "workers": 1, "min_free_bytes": 0} | more
    with RunContext(Settings(root=root, api_url=server_url, cdn_url=server_url, **values)) as context:
        return build_originals(context, "0000", 2021), layout


def ledger(layout: Layout) -> dict[int, LedgerRow]:
    """The bucket's ledger rows."""
    return read_ledger(layout.ledger("0000"))


def hidden_in(layout: Layout) -> list[str]:
    """Unfinished files in the bucket's folder."""
    return [path.name for path in layout.original_bucket("0000").iterdir() if path.name.startswith(".")]


def answer(server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
    """What a hostile server does with each file, at the address of its record and at that of its MD5."""
    bomb = b"\x1f\x8b\x08" + bytes(10**6)
    odd = {
        "/2000.jpg": make_answer(GOOD + bytes(10**6)),
        "/3000.jpg": make_answer(bomb, headers={"Content-Encoding": "gzip"}),
        "/4000.jpg": make_answer(status=302, headers={"Location": "/4000.jpg"}),
        "/5000.jpg": make_answer(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
        "/6000.jpg": make_answer(GOOD[: len(GOOD) // 2]),
        "/7000.jpg": make_answer(b""),
        "/8000.jpg": make_answer(status=404),
    }
    target = re.sub(r"/original/00/00/0+([2-8])\.jpg", r"/\g<1>000.jpg", target)
    api = target.startswith("/posts.json")
    connection.sendall(make_answer(status=404) if api else odd.get(target, make_answer(GOOD)))


@pytest.fixture
def server() -> Iterator[RawServer]:
    """A running hostile server."""
    with serving(answer) as running:
        yield running


def test_each_bad_input_costs_one_reason_and_the_rest_is_done(server: RawServer, tmp_path: Path) -> None:
    """With hostile rows and hostile answers side by side, every post gets its row and every good one its file."""
    report, layout = build(
        server.url,
        tmp_path / "root",
        record(1000),
        *(record(n * 1000, md5=f"{n:032}") for n in range(2, 9)),
        record(9000, file_ext="../../etc/passwd", file_url="/good.jpg"),
        record(10000, file_ext="exe", file_url="/good.jpg"),
        record(11000, file_ext="", file_url="/good.jpg"),
        record(12000, file_size=-5, file_url="/good.jpg"),
        record(13000, file_size=2**62, file_url="/good.jpg"),
        record(14000, md5="../" + MD5[3:], file_url="/good.jpg"),
        record(15000, file_url="https://evil.invalid/x.jpg"),
        record("16000", file_size=str(len(GOOD)), file_url="/good.jpg"),
        record(17000, file_url="/good.jpg"),
        record(17000, file_url="/good.jpg"),
        record(18000, file_size=1e400, file_url="/good.jpg"),
    )
    rows = ledger(layout)
    reasons = {row.id // 1000: row.reason for row in rows.values()}
    assert reasons == {
        1: None,
        2: Reason.TOO_LARGE,
        3: Reason.TOO_LARGE,
        4: Reason.REDIRECTED,
        5: Reason.REDIRECTED,
        6: Reason.MD5_MISMATCH,
        7: Reason.EMPTY,
        8: Reason.GONE,
        9: Reason.BAD_ROW,
        10: Reason.BAD_ROW,
        11: Reason.BAD_ROW,
        12: Reason.BAD_ROW,
        13: Reason.BAD_ROW,
        14: Reason.BAD_ROW,
        15: None,
        16: None,
        17: None,
        18: None,
    }
    good = {row.id for row in rows.values() if row.status is Status.OK}
    assert set(list_files(layout.original_bucket("0000"))) == {f"{post_id}.jpg" for post_id in good}
    assert report.posts == len(rows)
    assert hidden_in(layout) == []
    assert not (tmp_path / "etc").exists()
    assert f"/original/{MD5[:2]}/{MD5[2:4]}/{MD5}.jpg" in [target for target, _ in server.requests]


@pytest.mark.parametrize("bad", [None, 0, -1, "x", 1.5, True, 2**70, [1]])
def test_row_without_a_usable_id_is_rejected_and_not_built(server: RawServer, tmp_path: Path, bad: object) -> None:
    """A row whose id is not valid is rejected; the others are built."""
    assert isinstance(parse_api_record(record(bad)), RejectedRow)
    _, layout = build(server.url, tmp_path / "root", record(bad), record(1000))
    assert list(ledger(layout)) == [1000]


def test_two_posts_with_one_md5_each_get_their_file(server: RawServer, tmp_path: Path) -> None:
    """Posts that share an MD5 do not share a file."""
    _, layout = build(server.url, tmp_path / "root", record(1000, file_url="/a.jpg"), record(17000, file_url="/a.jpg"))
    assert [row.reason for row in ledger(layout).values()] == [None, None]
    assert set(list_files(layout.original_bucket("0000"))) == {"1000.jpg", "17000.jpg"}


def test_unresolvable_host_is_no_answer(tmp_path: Path) -> None:
    """A host that does not resolve gives each file a transient reason until the run is stopped; no post is gone."""
    host = "https://cdn.invalid"
    settings = Settings(root=tmp_path, api_url=host, cdn_url=host, contact="test@example.org", retry_seconds=0.001)
    with BooruClient(settings) as client:
        got = download_file(client, post_of(GOOD, ext="jpg"), tmp_path / "0007" / "7.jpg")
    assert (got.reason, got.http_status) == (Reason.RETRY_EXHAUSTED, None)
    assert list((tmp_path / "0007").iterdir()) == []


@contextlib.contextmanager
def speaking_tls(folder: Path) -> Iterator[int]:
    """A port that presents a self-signed certificate."""
    context = certified(folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.needs("openssl")
def test_self_signed_certificate_is_no_answer(tmp_path: Path) -> None:
    """Nothing is accepted from a host that cannot prove who it is."""
    with speaking_tls(tmp_path) as port:
        url = f"https://127.0.0.1:{port}"
        with BooruClient(Settings(root=tmp_path, api_url=url, cdn_url=url, retry_seconds=0.001)) as client:
            got = download_file(client, post_of(GOOD, ext="jpg"), tmp_path / "0007" / "7.jpg")
    assert (got.reason, got.http_status) == (Reason.RETRY_EXHAUSTED, None)
    assert list((tmp_path / "0007").iterdir()) == []


def records_of(files: dict[int, bytes]) -> list[dict[str, Any]]:
    """Posts with these ids and files, rated so that no 512px image is made."""
    return [
        record(i, md5=hashlib.md5(data, usedforsecurity=False).hexdigest(), file_size=len(data), rating="e")
        for i, data in files.items()
    ]


@contextlib.contextmanager
def serving_files(files: dict[int, bytes]) -> Iterator[tuple[str, list[str]]]:
    """A server of files by post id; yields its address and the targets requested."""
    by_target = {f"/{i}.jpg": data for i, data in files.items()}
    asked: list[str] = []

    def give(_server: RawServer, connection: socket.socket, target: str, _headers: dict[str, str]) -> None:
        asked.append(target)
        data = by_target.get(target)
        connection.sendall(make_answer(data) if data else make_answer(status=404))

    with serving(give) as server:
        yield server.url, asked


@pytest.mark.parametrize(
    ("options", "said"), [("size=400k", "disk|free"), ("nr_inodes=30", "disk|inodes")], ids=["bytes", "inodes"]
)
def test_full_disk_stops_the_bucket_and_more_room_finishes_it(
    server: RawServer, tmp_path: Path, options: str, said: str
) -> None:
    """A full disk is one clear error and leaves only whole files, which are not requested again once there is room."""
    big = {n * 1000: GOOD + bytes(16_000) + str(n).encode() for n in range(1, 41)}
    with serving_files(big) as (url, asked), small_disk(tmp_path / "disk", options) as disk:
        with pytest.raises(DiskFull, match=said):
            build(url, disk, *records_of(big))
        folder = Layout(disk).original_bucket("0000")
        for name in list_files(folder):
            assert (folder / name).stat().st_size > 0
        whole = len(list_files(folder))
        assert 0 < whole < len(big)
        subprocess.run(
            ["mount", "-o", "remount,size=50m,nr_inodes=1000", str(disk)], check=True, timeout=30, capture_output=True
        )
        before = len(asked)
        report, layout = build(url, disk, *records_of(big))
        assert report.files == len(big)
        assert report.pending == 0
        assert len(asked) - before <= len(big) - whole
        assert hidden_in(layout) == []


def test_files_that_fit_a_nearly_full_disk_are_fetched(tmp_path: Path) -> None:
    """Files too large for the free space get that reason without a request; the rest of the bucket is done."""
    sizes = {n * 1000: 900_000 if n <= 6 else 16_000 for n in range(1, 15)}
    files = {i: GOOD + bytes(size) + str(i).encode() for i, size in sizes.items()}
    with serving_files(files) as (url, asked), small_disk(tmp_path / "disk", "size=5m") as disk:
        with pytest.raises(DiskFull, match="DANBOORU_MIN_FREE_BYTES"):
            build(url, disk, *records_of(files), min_free_bytes=2**20, downloads_parallel=1)
        layout = Layout(disk)
        reasons = {i: row.reason for i, row in ledger(layout).items()}
        large = [i for i, reason in reasons.items() if reason is Reason.DISK_FULL]
        assert large
        assert set(large) < {i for i, size in sizes.items() if size == 900_000}
        assert all(reasons[i] is None for i in files if i not in large)
        targets = [target for target in asked if target.endswith(".jpg")]
        assert sorted(targets) == sorted(f"/{i}.jpg" for i in files if i not in large)
        assert hidden_in(layout) == []
