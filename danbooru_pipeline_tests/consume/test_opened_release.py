"""A release opened in Python: tables with the right rows, columns and dtypes, in bounded memory, and clear mistakes."""

import pickle
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline import OpenedRelease, open_release
from danbooru_pipeline.consume import BadQuery, UnknownName
from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release


@pytest.fixture
def release(releases: Layout) -> OpenedRelease:
    """Danbooru2022 of the small world."""
    return open_release(releases.current)


@pytest.fixture
def tables_only(releases: Layout, tmp_path: Path) -> Path:
    """A copy of that release without images, whose files may be changed."""
    folder = tmp_path / "danbooru2022"
    for name in ("parquet", "manifest"):
        shutil.copytree(releases.current / name, folder / name)
    shutil.copy(releases.current / "RELEASE.json", folder)
    for path in folder.rglob("*"):
        path.chmod(0o755)
    return folder


def rows_of(release: Path, pattern: str) -> list[dict[str, Any]]:
    """Rows of a table, read without the code under test."""
    return [row for path in sorted(release.glob(pattern)) for row in pq.ParquetFile(path).read().to_pylist()]


def test_package_imports_nothing_until_the_api_is_used() -> None:
    """``import danbooru_pipeline`` loads no other module of it, and no pandas, pyarrow or dagster."""
    program = (
        "import sys, danbooru_pipeline\n"
        "print(*[m for m in sys.modules if m.startswith(('danbooru_pipeline.', 'pandas', 'pyarrow', 'dagster'))])\n"
        "danbooru_pipeline.open_release\n"
        "assert 'pandas' in sys.modules and 'dagster' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_release_knows_itself(releases: Layout, release: OpenedRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, year, version and the rest of RELEASE.json are there, whatever way its folder was written."""
    assert (release.name, release.year, release.version) == ("danbooru2022", 2022, "2022.0")
    assert release.info == read_release(releases.release(2022))
    monkeypatch.chdir(releases.releases)
    monkeypatch.setenv("HOME", str(releases.root))
    for path in ("current", "danbooru2022/", Path("current"), "~/releases/current"):
        assert open_release(path) == release
    assert pickle.loads(pickle.dumps(release)) == release
    assert len({release, open_release(releases.release(2021))}) == 2


def test_link_is_followed_once(releases: Layout, tmp_path: Path) -> None:
    """A release that was opened through a link stays the same when the link moves on."""
    link = tmp_path / "current"
    link.symlink_to(releases.release(2021))
    release = open_release(link)
    link.unlink()
    link.symlink_to(releases.release(2022))
    assert release.path == releases.release(2021).resolve()
    assert len(release.posts(["id"])) == release.info.counts.posts


def test_other_folders_are_not_releases(releases: Layout, tmp_path: Path) -> None:
    """What is not a release is refused, and the message names the release close by."""
    with pytest.raises(NotARelease, match="give the folder of a finished release"):
        open_release(tmp_path / "nowhere")
    for path in (releases.root, releases.releases):
        with pytest.raises(NotARelease, match=r"is not a release; open .*/current$"):
            open_release(path)
    for name in ("512px", "RELEASE.json"):
        with pytest.raises(NotARelease, match=r"is not a release; open .*/danbooru2022$"):
            open_release(releases.current / name)


def test_tables_are_those_on_disk(releases: Layout, release: OpenedRelease) -> None:
    """Every table has the rows of its Parquet files, and the manifest has only those of its own release."""
    others = ("duplicates", "pools", "post_vectors", "tag_counts", "tag_vectors", "tags")
    assert release.tables == tuple(sorted(("files", "posts", *others)))
    for name in release.tables:
        pattern = "manifest/files-*.parquet" if name == "files" else f"parquet/{name}-0*.parquet"
        assert release.table(name, arrow=True).to_pylist() == rows_of(releases.current, pattern)
    assert (releases.current / "earlier/2021").is_dir()
    assert release.files()["id"].tolist() == release.posts()["id"].tolist()
    assert release.tags().equals(release.table("tags"))


def test_dtypes_follow_from_the_schema(release: OpenedRelease) -> None:
    """Integers, booleans, text, times and lists keep their kind, with missing values or in a frame without rows."""
    every, none = release.posts(), release.posts(where=[("id", "<", 0)])
    assert len(none) == 0
    assert every.dtypes.equals(none.dtypes)
    expected = {"id": "Int64", "parent_id": "Int64", "is_deleted": "boolean", "tag_string": "string"}
    assert {name: str(every[name].dtype) for name in expected} == expected
    assert every["parent_id"].isna().any()
    assert str(every["created_at"].dtype) == "datetime64[us, UTC]"
    assert str(every["pools"].dtype) == "list<element: int64>[pyarrow]"
    files = release.files(["width", "orientation", "first_release", "alpha"])
    assert [str(dtype) for dtype in files.dtypes] == ["Int32", "Int8", "Int16", "boolean"]


def test_frames_do_what_researchers_do(release: OpenedRelease) -> None:
    """Merge, query, string methods, grouping by year, exploding lists and NumPy arrays work as with any frame."""
    posts = release.posts()
    solo = posts["tag_string"].str.split().map(lambda tags: "solo" in tags)
    assert posts[solo]["id"].tolist() == posts[posts["tag_string"].str.contains(r"(?:^| )solo(?: |$)")]["id"].tolist()
    merged = posts.merge(release.files(["id", "status"]), on="id")
    assert len(merged) == len(posts)
    assert len(posts.merge(pd.DataFrame({"id": np.array([1, 2, 10**9]), "mine": ["a", "b", "c"]}), on="id")) == 2
    parents = posts.merge(posts[["id", "rating"]], left_on="parent_id", right_on="id", suffixes=("", "_of_parent"))
    assert len(parents) == posts["parent_id"].isin(posts["id"]).sum() > 0
    assert posts.query("rating == 'g' and score > 5")["rating"].eq("g").all()
    assert (posts["created_at"] >= "2020-01-01").sum() == len(
        release.posts(["id"], [("created_at", ">=", datetime(2020, 1, 1, tzinfo=UTC))])
    )
    assert posts.groupby(posts["created_at"].dt.year)["id"].count().sum() == len(posts)
    assert posts.set_index("created_at").resample("YE")["score"].sum().sum() == posts["score"].sum()
    assert posts["id"].to_numpy().dtype == np.int64
    pools = release.table("pools")
    assert len(pools.explode("post_ids")) == pools["post_ids"].list.len().sum()


def test_where_equals_a_loop(releases: Layout, release: OpenedRelease) -> None:
    """Conditions, alternatives and missing values select the rows that a loop in Python selects."""
    rows = rows_of(releases.current, "parquet/posts-*.parquet")
    instant = datetime(2015, 6, 1, tzinfo=UTC)
    cases: list[tuple[Any, Any]] = [
        (None, lambda _: True),
        ([], lambda _: True),
        ([("score", ">=", 5), ("rating", "=", "g")], lambda r: r["score"] >= 5 and r["rating"] == "g"),
        ([[("score", "<", 3)], [("rating", "==", "e")]], lambda r: r["score"] < 3 or r["rating"] == "e"),
        ([("rating", "in", {"g", "s"})], lambda r: r["rating"] in {"g", "s"}),
        ([("id", "in", np.array([3, 5]))], lambda r: r["id"] in {3, 5}),
        ([("id", "in", pd.Series([3, 5], dtype="Int64"))], lambda r: r["id"] in {3, 5}),
        ([("id", "in", range(5))], lambda r: r["id"] < 5),
        ([("id", "in", [])], lambda _: False),
        ([("parent_id", "==", None)], lambda r: r["parent_id"] is None),
        ([("parent_id", "==", pd.NA)], lambda r: r["parent_id"] is None),
        ([("parent_id", "!=", None)], lambda r: r["parent_id"] is not None),
        ([("parent_id", "!=", 3)], lambda r: r["parent_id"] != 3),
        ([("parent_id", "not in", [3, 4])], lambda r: r["parent_id"] not in {3, 4}),
        ([("parent_id", ">", 0)], lambda r: r["parent_id"] is not None),
        ([("created_at", "<=", instant)], lambda r: r["created_at"] <= instant),
        ([("created_at", "<=", pd.Timestamp(instant))], lambda r: r["created_at"] <= instant),
        ([("created_at", "<=", instant.replace(tzinfo=None))], lambda r: r["created_at"] <= instant),
        (pc.field("score") > pc.field("fav_count"), lambda r: r["score"] > r["fav_count"]),
    ]
    for where, expected in cases:
        ids = [row["id"] for row in rows if expected(row)]
        assert release.posts(["id"], where)["id"].tolist() == ids, where
        batches = release.batches("posts", ["id"], where, rows=7)
        assert [id_ for batch in batches for id_ in batch["id"].to_pylist()] == ids, where


def test_only_wanted_columns_are_read(tables_only: Path) -> None:
    """Columns come alone and in the order asked for; bytes of the others are not even looked at."""
    (path,) = tables_only.glob("parquet/posts-*.parquet")
    group = pq.read_metadata(path).row_group(0)
    data = bytearray(path.read_bytes())
    wanted = {"id", "rating", "score"}
    for number in range(group.num_columns):
        column = group.column(number)
        if column.path_in_schema not in wanted:
            start = column.dictionary_page_offset or column.data_page_offset
            data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    release = open_release(tables_only)
    table = release.posts(["score", "id"], [("rating", "==", "g")], arrow=True)
    assert table.schema.names == ["score", "id"]
    assert table.num_rows > 0
    with pytest.raises(ReleaseError, match="verify the release"):
        release.posts(["tag_string"])
    with pytest.raises(ReleaseError, match="verify the release"):
        list(release.batches("posts", ["tag_string"]))


def test_row_groups_that_cannot_match_are_not_read(tables_only: Path) -> None:
    """A condition on ids skips row groups by their statistics: damage in them goes unnoticed."""
    (path,) = tables_only.glob("parquet/posts-*.parquet")
    pq.write_table(pq.ParquetFile(path).read(), path, row_group_size=20)
    group = pq.read_metadata(path).row_group(1)
    data = bytearray(path.read_bytes())
    for number in range(group.num_columns):
        column = group.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    release = open_release(tables_only)
    assert release.posts(where=[("id", "<=", 5)])["id"].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(ReleaseError):
        release.posts(["id"])


PEAK = """
import sys
import pyarrow as pa
from danbooru_pipeline import open_release
release = open_release(sys.argv[1])
rows = sum(b.num_rows for b in release.batches("posts", ["id", "tag_string"], [("score", ">=", 0)], rows=5_000))
print(rows, pa.default_memory_pool().max_memory())
"""


def test_batches_take_the_same_memory_at_any_size(tables_only: Path) -> None:
    """Reading eight shards in batches takes no more memory than reading one, though they hold eight times the rows."""
    (path,) = tables_only.glob("parquet/posts-*.parquet")
    posts = pq.ParquetFile(path).read()
    rows = posts.take(pa.array(np.arange(20_000) % posts.num_rows))
    rows = rows.set_column(0, posts.schema.field(0), pa.array(np.arange(1, 20_001)))
    path.unlink()
    peaks: list[int] = []
    for shards in (1, 8):
        for old in tables_only.glob("parquet/posts-*"):
            old.unlink()
        first = tables_only / f"parquet/posts-00000-of-{shards:05d}.parquet"
        pq.write_table(rows, first, row_group_size=10_000, compression="zstd")
        for number in range(1, shards):
            shutil.copy(first, tables_only / f"parquet/posts-{number:05d}-of-{shards:05d}.parquet")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(tables_only)], check=True, capture_output=True, text=True
        )
        read, peak = map(int, done.stdout.split())
        assert read == pc.sum(pc.greater_equal(rows["score"], 0)).as_py() * shards
        peaks.append(peak)
    # Whether the next row group is read while one is handed out depends on threads, so a peak is one of two values.
    assert peaks[1] < 2 * peaks[0]


def test_shards_come_in_order(tables_only: Path) -> None:
    """A table of several files is read in the order of their numbers."""
    (path,) = tables_only.glob("parquet/posts-*.parquet")
    posts = pq.ParquetFile(path).read()
    path.unlink()
    for number in range(3):
        pq.write_table(posts.slice(number * 50, 50), tables_only / f"parquet/posts-{number:05d}-of-00003.parquet")
    release = open_release(tables_only)
    assert release.posts(arrow=True).equals(posts)
    assert pa.Table.from_batches(release.batches(rows=13)).equals(posts)
    (tables_only / "parquet/posts-00001-of-00003.parquet").unlink()
    for ask in (release.posts, release.batches, lambda: release.compare(release)):
        with pytest.raises(ReleaseError, match="has 2 files of the table posts, which are not all 3"):
            ask()


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"columns": ["ratng"]}, KeyError, "the table posts of danbooru2022 has no column 'ratng' (did you mean rating?)"),
    ({"columns": ["scor", "tag_strin"]}, KeyError, "'tag_strin' (did you mean tag_string"),
    ({"where": [("raiting", "==", "g")]}, KeyError, "'raiting' (did you mean rating?)"),
    ({"where": pc.field("raiting") == "g"}, KeyError, "'raiting' (did you mean rating?)"),
    ({"columns": "id"}, ValueError, "give ['id']"),
    ({"columns": [1]}, ValueError, "give names"),
    ({"where": ("id", "==", 3)}, ValueError, "give conditions in a list"),
    ({"where": "id == 3"}, ValueError, "give conditions in a list"),
    ({"where": [("id", 3)]}, ValueError, "each condition is (column, operator, value)"),
    ({"where": [[("id", "==", 3)], []]}, ValueError, "leave it out"),
    ({"where": [("id", "~", 3)]}, ValueError, "use one of ==, =, !="),
    ({"where": [("id", "==", "abc")]}, ValueError, "id is int64"),
    ({"where": [("id", "==", 2**70)]}, ValueError, "id is int64"),
    ({"where": [("rating", "in", "gs")]}, ValueError, "takes a list of values"),
    ({"where": [("id", "in", 3)]}, ValueError, "takes a list of values"),
    ({"where": [("created_at", ">", "2020-01-01")]}, ValueError, "created_at is timestamp[us, tz=UTC]"),
    ({"where": [("parent_id", ">", None)]}, ValueError, "only be compared with == and !="),
    ({"where": pc.field("id") == "abc"}, ValueError, "does not fit"),
    ({"where": pc.field("id") + 1}, ValueError, "does not fit"),
]


@pytest.mark.parametrize(("arguments", "kind", "text"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistake_is_one_line_that_says_what_to_do(
    release: OpenedRelease, arguments: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """A wrong column, condition or value is one error, raised by the call itself, of the built-in kind for it."""
    for call in (release.posts, release.batches):
        with pytest.raises(ReleaseError) as caught:
            call(**arguments)
        assert isinstance(caught.value, kind)
        assert text in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unknown_tables_and_empty_batches_are_mistakes(release: OpenedRelease) -> None:
    """A table that does not exist names close ones; a batch has at least one row."""
    with pytest.raises(
        UnknownName, match=r"no table 'tag' \(did you mean tags\?\); it has duplicates, files, pools, post_vectors"
    ):
        release.table("tag")
    with pytest.raises(UnknownName, match=r"no table '\.\./secrets'"):
        release.schema("../secrets")
    with pytest.raises(BadQuery, match="give one above 0"):
        release.batches(rows=0)


def test_compare_says_what_the_release_itself_says(releases: Layout, release: OpenedRelease) -> None:
    """The changes between two years are those of the newer one's own ``changes/*.parquet``, row for row."""
    expected = pq.ParquetFile(releases.current / "changes/2022-from-2021.parquet").read()
    old = open_release(releases.release(2021))
    for other in (old, releases.release(2021), str(old.path)):
        assert release.compare(other, arrow=True).equals(expected)
    frame = release.compare(old)
    assert frame["kind"].value_counts()["post_added"] == len(set(release.posts()["id"]) - set(old.posts()["id"]))
    back = old.compare(release)["kind"].value_counts()
    assert back["post_removed"] == frame["kind"].value_counts()["post_added"]
    assert release.compare(release, arrow=True).equals(expected.slice(0, 0))
    with pytest.raises(NotARelease):
        release.compare(releases.store)


def test_compare_says_nothing_of_posts_that_were_taken_down(releases: Layout, tables_only: Path) -> None:
    """Ids in ``removed.txt`` appear as removed, without their rating and checksums; a malformed list is refused."""
    path = tables_only / "manifest/files-00000-of-00001.parquet"
    files = pq.ParquetFile(path).read()
    pq.write_table(files.filter(pc.not_equal(files["id"], 1)), path)
    (tables_only / "removed.txt").write_bytes(b"1\n")
    changes = open_release(tables_only).compare(releases.current)
    assert changes[["id", "kind", "old_path"]].to_numpy(na_value=None).tolist() == [
        [1, "file_removed", "512px/0001/1.jpg"],
        [1, "file_removed", "original/0001/1.png"],
        [1, "post_removed", None],
    ]
    assert changes[["old_rating", "old_sha256"]].isna().all(axis=None)
    (tables_only / "removed.txt").write_text("one\n")
    with pytest.raises(ReleaseError, match=r"removed.txt cannot be read .* verify the release"):
        open_release(tables_only).compare(releases.current)
