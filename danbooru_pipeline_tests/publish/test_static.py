"""Releases on static hosting: an object store that speaks S3, and a folder."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from danbooru_pipeline.errors import PublishError, ReleaseRefused
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.publish import apply_publication, plan_publication
from danbooru_pipeline.publish.static import StaticPlace
from danbooru_pipeline.release import apply_takedown, plan_takedown, verify_release
from danbooru_pipeline_tests.support import publishing
from danbooru_pipeline_tests.support.forked import run_module
from danbooru_pipeline_tests.support.yard import NOW

BUCKET = "s3://danbooru/releases"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[fsspec.AbstractFileSystem]:
    """An empty store that speaks S3, and a client of it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    if files.exists("danbooru"):
        files.rm("danbooru/releases", recursive=True)
    else:
        files.mkdir("danbooru")
    yield files
    server.stop()


def digests(files: fsspec.AbstractFileSystem, folder: str) -> dict[str, str]:
    """Path -> SHA-256 of everything below a folder."""
    return {
        path.partition(f"{folder}/")[2]: hashlib.sha256(files.cat_file(path)).hexdigest() for path in files.find(folder)
    }


def local(folder: Path) -> dict[str, str]:
    """The same of a release."""
    return digests(fsspec.filesystem("file"), str(folder))


def publish(root: Layout, address: str) -> None:
    """Publish with nothing going wrong."""
    apply_publication(plan_publication(root, 2021, StaticPlace(address)))


@pytest.mark.slow(25)
def test_release_that_was_killed_ten_times_is_there_once(
    root: Layout, store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    """Killed at ten random moments, nothing is sent twice, RELEASE.json comes last, and every digest is right."""
    log = tmp_path / "log"
    ended = json.loads(run_module(publishing.__name__, root.root, 2021, BUCKET, 7, 10, log, timeout=280))
    assert ended.count(-9) >= 8
    assert ended[-1] == 0
    sent = log.read_text().splitlines()
    assert Counter(sent).most_common(1)[0][1] == 1
    assert sent[-1] == "RELEASE.json"
    first = min(map(sent.index, ("README.md", "parquet/posts-00000-of-00001.parquet", "SHA256SUMS")))
    assert all(sent.index(path) < first for path in sent if path.startswith(("original/0", "512px/0")))
    assert digests(store, "danbooru/releases/danbooru2021") == local(root.release(2021))
    assert store.cat_file("danbooru/releases/current") == b"danbooru2021\n"
    there = pq.read_table("danbooru/releases/danbooru2021/manifest", filesystem=store)
    assert there.equals(pq.read_table(root.release(2021) / "manifest"))


def test_takedown_reaches_the_store_and_only_changes_are_sent(root: Layout, store: fsspec.AbstractFileSystem) -> None:
    """The post's files go, its bucket too if it is empty; a second publication sends nothing."""
    publish(root, BUCKET)
    assert plan_publication(root, 2021, StaticPlace(BUCKET)).lines() == [f"{BUCKET} has danbooru2021 2021.0 already"]
    before = digests(store, "danbooru/releases/danbooru2021")
    apply_takedown(plan_takedown(root, [4001, 20_004]), created_at=NOW, threads=1)
    plan = plan_publication(root, 2021, StaticPlace(BUCKET))
    assert plan.dropped >= 2
    apply_publication(plan)
    after = digests(store, "danbooru/releases/danbooru2021")
    assert after == local(root.release(2021))
    assert {path for path in before if "/4001." in path}
    assert not {path for path in after if "/4001." in path}


def test_lost_journal_costs_no_upload(root: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there is read instead; what nobody knows goes, and the rest of the place is left alone."""
    there = tmp_path / "there"
    address = f"file://{there}"
    publish(root, address)
    shutil.rmtree(root.publications)
    strange = [
        there / "danbooru2021" / name for name in ("original/0001/77.jpg", "512px/0777/777.jpg", "old.md", "x/y")
    ]
    for path in (*strange, there / "danbooru2020/README.md"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("?")
    (there / "danbooru2021/README.md").write_text("damaged")
    sent: list[str] = []
    monkeypatch.setattr(StaticPlace, "put", _noting(sent))
    publish(root, address)
    assert sorted(sent) == ["README.md", "RELEASE.json"]
    assert local(there / "danbooru2021") == local(root.release(2021))
    assert (there / "danbooru2020/README.md").exists()
    assert verify_release(there / "danbooru2021", full=True).ok


@pytest.mark.parametrize("damage", ["lost", "torn", "cut"])
@pytest.mark.parametrize("name", ["original-0001", "512px-0001", "documents", "indexes", "release"])
def test_damaged_journal_leaves_no_removed_post(root: Layout, tmp_path: Path, name: str, damage: str) -> None:
    """One journal is lost, or has lost a line: the place is asked, and has after a takedown what the release has."""
    there = tmp_path / "there"
    publish(root, f"file://{there}")
    (journal,) = root.publications.glob(f"*/danbooru2021/{name}.jsonl")
    data = journal.read_bytes()
    middle = data.rindex(b"\n{")
    if damage == "lost":
        journal.unlink()
    elif damage == "torn":
        journal.write_bytes(data[: middle + 9] + b"\n" + data[:middle])
    else:
        journal.write_bytes(data[:-9])
    (there / "danbooru2021/parquet/strange.parquet").write_text("of an older version")
    apply_takedown(plan_takedown(root, ids_in(root.release(2021) / "original")), created_at=NOW, threads=1)
    publish(root, f"file://{there}")
    left = local(there / "danbooru2021").keys() - local(root.release(2021)).keys()
    assert left <= ({"parquet/strange.parquet"} if name.endswith("-0001") else set())
    assert local(root.release(2021)).items() <= local(there / "danbooru2021").items()


def ids_in(tree: Path) -> set[int]:
    """Ids of the posts of bucket 0001 that a tree has files of."""
    return {int(path.stem) for path in tree.glob("0001/*")}


def _noting(sent: list[str]) -> object:
    real = StaticPlace.put

    def put(self: StaticPlace, files: dict[str, Path]) -> None:
        sent.extend(files)
        real(self, files)

    return put


def test_nothing_is_published_that_should_not_be(root: Layout, tmp_path: Path) -> None:
    """An unfinished takedown and a release that does not verify are refused, and nothing is sent."""
    place = StaticPlace(f"file://{tmp_path}/there")
    damaged = root.release(2021) / "README.md"
    damaged.chmod(0o644)
    text = damaged.read_bytes()
    damaged.write_text("?")
    with pytest.raises(ReleaseRefused, match="does not verify"):
        apply_publication(plan_publication(root, 2021, place))
    damaged.write_bytes(text)
    root.takedowns.write_text('{"posts": {}, "unfinished": true}')
    with pytest.raises(ReleaseRefused, match="takedown"):
        plan_publication(root, 2021, place)
    assert not (tmp_path / "there").exists()


def test_place_that_cannot_be_used_is_one_error(root: Layout, tmp_path: Path) -> None:
    """An address of no kind, and a folder that cannot be made."""
    with pytest.raises(PublishError, match="nothing"):
        StaticPlace("nothing://x")
    (tmp_path / "file").write_text("")
    with pytest.raises(PublishError, match="cannot be used"):
        publish(root, f"file://{tmp_path}/file")
