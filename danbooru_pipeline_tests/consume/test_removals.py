"""A feed of removals, and what it takes out of exports and copies of a release."""

import contextlib
import errno
import io
import json
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from danbooru_pipeline.consume import Selection
from danbooru_pipeline.consume.exports import EXPORTS, export
from danbooru_pipeline.consume.exports.classification import Options as ClassificationOptions
from danbooru_pipeline.consume.exports.faces import Options as FacesOptions
from danbooru_pipeline.consume.removals import apply_removals, plan_removals, read_feed
from danbooru_pipeline.errors import ReleaseError, ReleaseRefused, SettingsError
from danbooru_pipeline.images.detect import DetectorSettings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, plan_takedown, read_release, verify_release
from danbooru_pipeline.release.removal_feed import feed_lines, parse_feed
from danbooru_pipeline_tests.support.tiny_detector import tiny_detector
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.trees import contents
from danbooru_pipeline_tests.support.yard import NOW, Yard, next_year, tree_state

GONE = 1002
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feed that names one post of it, and one that nobody has."""
    path = tmp_path_factory.mktemp("feed") / "removals.jsonl"
    path.write_bytes(feed_lines([GONE, 999_999], {}, version="2021.1"))
    return path


def options_of(form: str, tmp_path: Path) -> dict[str, object]:
    """Options with which a form writes something about the post."""
    if form == "faces":
        return {"options": FacesOptions(detector=DetectorSettings(model=tiny_detector(tmp_path / "tiny.onnx")))}
    return {"options": ClassificationOptions(classes=("blue_hair",))} if form == "classification" else {}


def said_of(path: Path, data: bytes | None = None) -> bytes:
    """Everything that a file says, unpacked: names and contents of archives, rows of tables and databases."""
    name, data = path.name.encode(), path.read_bytes() if data is None else data
    if path.suffix == ".parquet":
        return name + json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
    if path.suffix == ".tar":
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return b"\n".join([name, *tar_texts(tar)])
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return b"\n".join([name, *(each.encode() + archive.read(each) for each in archive.namelist())])
    if data.startswith(b"SQLite"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            return name + "\n".join(database.iterdump()).encode()
    if data[8:12] == b"DUCK":
        with duckdb.connect(str(path), read_only=True) as base:
            tables = [row[0] for row in base.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
            rows = {table: base.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
            return name + str(rows).encode()
    return name + b"\n" + data


def tar_texts(tar: tarfile.TarFile) -> list[bytes]:
    """Names and contents of the members."""
    return [member.name.encode() + (tar.extractfile(member) or io.BytesIO()).read() for member in tar]


def files_of(target: Path) -> list[Path]:
    """The files of an export, but its README, which names no post."""
    found = [target] if target.is_file() else sorted(path for path in target.rglob("*") if path.is_file())
    return [path for path in found if not path.name.endswith("README.md")]


@pytest.mark.parametrize("form", EXPORTS)
def test_every_form_of_export_loses_the_post(form: str, odd: Path, feed: Path, tmp_path: Path) -> None:
    """No file, row, member or byte of the post is left, the others are untouched, and a second run finds nothing."""
    target = tmp_path / ("x.csv" if form == "tags-csv" else "x")
    export(form, odd, target, Selection(), **options_of(form, tmp_path))
    posts = pq.read_table(next(odd.glob("parquet/posts-*"))).to_pylist()
    md5 = next(row["md5"] for row in posts if row["id"] == GONE).encode()
    before = {path: said_of(path) for path in files_of(target)}
    traced = f"{GONE}".encode()
    plan = plan_removals(target, read_feed(feed))
    assert not plan.unknown, plan.unknown
    assert {path: said_of(path) for path in files_of(target)} == before
    apply_removals(plan, created_at=WHEN)
    for path in files_of(target):
        text = said_of(path)
        assert traced not in text.replace(f"data-{1000 + GONE % 1000}".encode(), b""), (path, text[:500])
        assert md5 not in path.read_bytes()
        if traced not in before[path] and not path.name.endswith((".sqlite", ".db")):
            assert text == before[path]
    assert not plan_removals(target, read_feed(feed)).changes
    assert any(traced in text for text in before.values()) or form == "tags-csv"


def test_index_of_a_shard_is_right_after_a_removal(odd: Path, feed: Path, tmp_path: Path) -> None:
    """Offsets, sizes and digests are those of the new tar; one that was killed before its index is finished."""
    export("webdataset", odd, tmp_path / "x", Selection())
    shutil.copytree(tmp_path / "x", tmp_path / "killed")
    apply_removals(plan_removals(tmp_path / "x", read_feed(feed)), created_at=WHEN)
    index = json.loads((tmp_path / "x/wds-index/512px-0002.json").read_bytes())
    data = (tmp_path / "x/wds/512px-0002.tar").read_bytes()
    assert sorted(index["files"]) == ["2.jpg", "2.json"]
    place = index["files"]["2.jpg"]
    assert data[place["offset"] : place["offset"] + place["size"]] == (odd / "512px/0002/2.jpg").read_bytes()
    killed = tmp_path / "killed"
    shutil.copy(tmp_path / "x/wds/512px-0002.tar", killed / "wds/512px-0002.tar")
    (killed / "wds-index/512px-0002.json").unlink()
    apply_removals(plan_removals(killed, read_feed(feed)), created_at=WHEN)
    assert json.loads((killed / "wds-index/512px-0002.json").read_bytes()) == index


def test_index_beside_its_shard_is_no_file_of_the_post_with_its_number(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``0002.json`` beside ``0002.tar`` follows its tar when post 2 is gone, also when a run is killed in between."""
    export("webdataset", odd, tmp_path / "x", Selection())
    (tmp_path / "shards").mkdir()
    tar, index = tmp_path / "shards/0002.tar", tmp_path / "shards/0002.json"
    shutil.copy(tmp_path / "x/wds/512px-0002.tar", tar)
    shutil.copy(tmp_path / "x/wds-index/512px-0002.json", index)
    plan = plan_removals(tar.parent, {2})
    assert [change.path for change in plan.changes] == [tar]

    def killed(path: Path, target: Path) -> Path:
        if target == tar:
            raise KeyboardInterrupt
        return path.rename(target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        apply_removals(plan, created_at=WHEN)
    apply_removals(plan_removals(tar.parent, {2}), created_at=WHEN)
    files = json.loads(index.read_bytes())["files"]
    assert sorted(files) == ["1002.jpg", "1002.json"]
    place = files["1002.jpg"]
    assert tar.read_bytes()[place["offset"] :][: place["size"]] == (odd / "512px/0002/1002.jpg").read_bytes()
    assert not plan_removals(tar.parent, {2}).changes


def test_file_that_cannot_be_read_is_named_and_the_rest_is_done(
    odd: Path, feed: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """A broken tar is one line and exit code 1; all else loses the post; kinds that nobody knows are said."""
    target = tmp_path / "x"
    export("captions", odd, target, Selection())
    (target / "mine.tar").write_bytes(b"no tar")
    (target / "mine.lmdb").write_bytes(b"?")
    done = run("apply-removals", target, "--feed", feed)
    assert done.exit_code == 1
    assert "mine.tar" in done.output
    assert "1 of .lmdb" in done.output
    assert not list(target.rglob(f"{GONE}.*"))


@pytest.mark.parametrize(
    "text", ['{"id":1}\n', "[]\n", '{"id":2,"gone_from":"2021.1"}\n{"id":1,"gone_from":"2021.1"}\n', "x"]
)
def test_damaged_feed_removes_nothing(text: str, odd: Path, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A feed of which a line is no removal is one error, and exit code 2."""
    export("captions", odd, tmp_path / "x", Selection())
    (tmp_path / "feed").write_text(text)
    before = files_of(tmp_path / "x")
    assert run("apply-removals", tmp_path / "x", "--feed", tmp_path / "feed").exit_code == 2
    assert files_of(tmp_path / "x") == before


def test_feed_of_a_release_is_the_one_that_it_lists(copy: Path) -> None:
    """A feed that was changed beside its SHA256SUMS is refused; so is an unsigned release when signers are given."""
    assert read_feed(copy / "removals.jsonl") == frozenset()
    (copy / "removals.jsonl").write_bytes(feed_lines([1001], {}, version="2021.0"))
    with pytest.raises(ReleaseError, match="SHA256SUMS"):
        read_feed(copy / "removals.jsonl")
    with pytest.raises(ReleaseError, match="signed"):
        read_feed(copy / "removals.jsonl", signers=copy / "README.md")
    with pytest.raises(SettingsError):
        read_feed(copy / "nothing")


def test_copy_of_a_release_is_made_again_without_the_post(
    copy: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """It verifies in full, names the post nowhere, and lists it as gone; a second run changes nothing, and says so."""
    (tmp_path / "removed.txt").write_text("4001\n")
    made = "again without the 1 of these posts that it named: danbooru2021 2021.1, without a signature"
    for said in (f"made {copy} {made}", f"{copy} names none of these posts; nothing was changed"):
        done = run("apply-removals", copy, "--feed", tmp_path / "removed.txt")
        assert (done.exit_code, done.output.splitlines()[-1]) == (0, said)
        assert traces(copy, {4001}) == []
        assert verify_release(copy, full=True).ok
    assert read_release(copy).version == "2021.1"
    assert parse_feed((copy / "removals.jsonl").read_bytes()) == {4001: "2021.1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["removed.txt", "somewhere else"]


def test_what_was_removed_from_an_export_is_said(tmp_path: Path, run: Callable[..., Result]) -> None:
    """After the plan comes what was done, and a second run says that it removed nothing."""
    export, feed = tmp_path / "export", tmp_path / "removed.txt"
    export.mkdir()
    (export / "4001.txt").write_text("1girl")
    (export / "rows.jsonl").write_text('{"id": 4001}\n{"id": 8001}\n')
    feed.write_text("4001\n")
    counts = "1 file, and 1 row or member of 1 file"
    done = run("apply-removals", export, "--feed", feed)
    assert done.output.splitlines() == [f"remove {counts}, by a feed of 1 post", f"removed {counts}"]
    again = run("apply-removals", export, "--feed", feed)
    assert again.output.splitlines()[-1] == "removed 0 files, and 0 rows and members of 0 files"


def test_part_of_a_release_is_refused(copy: Path, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A folder inside a release is not searched as an export would be, and nothing in it changes."""
    (tmp_path / "removed.txt").write_text("4001\n")
    before = contents(copy)
    for part in (copy / "parquet", copy / "512px/0001"):
        done = run("apply-removals", part, "--feed", tmp_path / "removed.txt")
        assert (done.exit_code, done.output.count("give the whole release")) == (2, 1)
    assert contents(copy) == before


def test_copy_that_lacks_files_is_named(copy: Path) -> None:
    """A copy that cannot be made again stays as it was, and the error says what to do."""
    shutil.rmtree(copy / "512px/0001")
    before = sorted(copy.rglob("*"))
    with pytest.raises(ReleaseRefused, match="newest version"):
        apply_removals(plan_removals(copy, {4001}), created_at=WHEN)
    assert sorted(copy.rglob("*")) == before


def test_swap_that_was_killed_is_finished(copy: Path) -> None:
    """Between its two renames a copy has neither; the next run gives it one."""
    work = copy.with_name(f".{copy.name}.removals.part")
    work.mkdir()
    copy.rename(work / "before")
    assert plan_removals(copy, {4001}).is_release
    assert not work.exists()


def test_what_a_root_publishes_is_left_to_takedowns(
    root: Layout, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release of a root, by any name, and a folder of such are refused with what to run instead; a copy is free."""
    monkeypatch.setenv("DANBOORU_ROOT", str(root.root))
    (tmp_path / "removed.txt").write_text("4001\n")
    (tmp_path / "link").symlink_to(root.release(2021))
    before = tree_state(root.root)
    for target in (root.release(2021), tmp_path / "link", root.releases / "export", root.releases, root.root):
        done = run("apply-removals", target, "--feed", tmp_path / "removed.txt")
        assert (done.exit_code, "run danbooru-pipeline takedown ID..." in done.output) == (2, True), done.output
    assert tree_state(root.root) == before
    other = shutil.copytree(root.release(2021), tmp_path / "releases/danbooru2021")
    assert run("apply-removals", other, "--feed", tmp_path / "removed.txt").exit_code == 0
    assert traces(other, {4001}) == []


@pytest.mark.parametrize("stage", ["links", "archive"])
def test_error_of_any_kind_leaves_no_part(copy: Path, stage: str) -> None:
    """A part would keep a full disk full, and has the very posts that must go; the copy is as it was."""

    def progress(what: str, _done: int, _total: int) -> None:
        if what == stage:
            raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(copy)
    with pytest.raises(OSError, match="No space left"):
        apply_removals(plan_removals(copy, {4001}), created_at=WHEN, progress=progress)
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    assert contents(copy) == before


def test_part_of_a_killed_run_goes_with_the_next(copy: Path) -> None:
    """Also where the next one finds that the copy names none of the posts."""
    part = copy.with_name(f".{copy.name}.removals.part")
    shutil.copytree(copy, part / "releases/danbooru2021")
    assert "nothing was changed" in apply_removals(plan_removals(copy, {999_999}), created_at=WHEN)
    assert not part.exists()


def test_feed_is_cumulative_and_keeps_the_first_version(yard: Yard) -> None:
    """Each release says from which version on a post is gone, and later years carry that along."""
    yard.release()
    for id_ in (4001, 8001):
        apply_takedown(plan_takedown(yard.layout, [id_]), created_at=NOW, threads=1)
    assert parse_feed((yard.layout.release(2021) / "removals.jsonl").read_bytes()) == {4001: "2021.1", 8001: "2021.2"}
    later = next_year(yard)
    for id_ in (4001, 8001):
        del later.rows[id_], later.ledger[id_]
    folder = later.release()
    assert parse_feed((folder / "removals.jsonl").read_bytes()) == {4001: "2021.1", 8001: "2021.2"}
    assert verify_release(folder, full=True).ok


def test_feed_that_disagrees_with_the_tombstones_does_not_verify(copy: Path) -> None:
    """`verify` names the post."""
    (copy / "removals.jsonl").write_bytes(feed_lines([77], {}, version="2021.0"))
    found = verify_release(copy).lines()
    assert any("removals.jsonl: disagrees with removed.txt about post 77" in line for line in found), found
