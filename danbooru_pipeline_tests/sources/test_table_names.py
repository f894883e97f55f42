"""Every file that looks like a table of a dump or an archive is read whole, or refused by its name."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.sources import export_side_tables
from danbooru_pipeline.sources.files import ArchiveSource, DumpSource
from danbooru_pipeline_tests.support.dumps import bring_2021, lines_of_2021, shard, tar_of, write_files
from danbooru_pipeline_tests.support.imported import as_another_user

POSTS = lines_of_2021(range(1, 41))
#: The same 40 posts in four shards of an archive, and of a dump.
SHARDS = {shard(k): lines_of_2021(range(1 + k, 41, 4)) for k in range(4)}
FLAT = {Path(name).name: data for name, data in SHARDS.items()}
LAST = shard(3)
TAGS = "2021/tags000000000000.json"
ONE_TAG, TWO_TAGS = b'{"id":"1"}\n', b'{"id":"1"}\n{"id":"2"}\n'
#: A post that was not meant.
OTHER = lines_of_2021(range(1, 61), created_at="2020-06-01 00:00:00 UTC", tag_string="other")


def dump(folder: Path) -> DumpSource:
    """A source of dumps."""
    return DumpSource(str(folder), user_agent="tests")


def archive(path: Path) -> ArchiveSource:
    """A source of an archive."""
    return ArchiveSource(path, cdn_url="https://cdn.donmai.us")


def rows_of(source: Any, layout: Layout) -> int:
    """How many posts come."""
    return bring_2021(source, layout).rows


def refusal_of(source: Any, layout: Layout, *, table: str = "posts") -> str:
    """The line with which a table is refused; of posts none may be written."""
    with pytest.raises(SourceUnusable) as caught:
        if table == "posts":
            bring_2021(source, layout)
        else:
            source.open_table(table, 2021)
    assert "\n" not in str(caught.value)
    assert not layout.posts(2021).exists()
    return str(caught.value)


def tags_of(source: Any, layout: Layout) -> bytes:
    """The tags as they come."""
    assert export_side_tables(source, layout, 2021, progress=lambda _line: None)["tags"].status == "ok"
    return layout.side_table(2021, "tags").read_bytes()


Link = tuple[str, str, bytes]


def hard(name: str, target: str) -> Link:
    """A member that is a hard link."""
    return name, target, tarfile.LNKTYPE


def symbolic(name: str, target: str) -> Link:
    """A member that is a symbolic link."""
    return name, target, tarfile.SYMTYPE


def tar_with(path: Path, members: Iterable[tuple[str, bytes] | Link]) -> ArchiveSource:
    """An archive of members in this order."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        for name, content, *kind in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = kind[0], content
                file.addfile(info)
            else:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    path.write_bytes(packed.getvalue())
    return archive(path)


def test_a_table_is_one_file_or_shards(layout: Layout, tmp_path: Path) -> None:
    """Posts that are there as one file and in shards are refused, in a dump and in an archive: nobody knows which."""
    flat = write_files(tmp_path / "d", FLAT | {"posts.json": lines_of_2021(range(1, 21))})
    assert "has posts twice, as posts.json and as posts000000000000.json; take" in refusal_of(dump(flat), layout)
    deep = write_files(tmp_path / "a", SHARDS | {"2021/posts.json": lines_of_2021(range(1, 21))})
    assert "as 2021/posts.json and as 2021/posts000000000000.json" in refusal_of(archive(deep), layout)


@pytest.mark.parametrize(
    "name",
    [
        *("posts.ndjson", "posts.jsonl.gz", "POSTS.JSON", "posts.json.GZ", "posts.parquet", "posts.csv", "posts"),
        *("posts-00000-of-00002.json", "posts0.json", "posts (1).json", "posts_0001.json", "posts.json.zip"),
        *("posts.json.bak", "posts0000000000000.json"),
    ],
)
def test_what_is_not_named_as_a_table_is_refused_by_its_name(layout: Layout, tmp_path: Path, name: str) -> None:
    """Posts under any other name or ending are named with what to do, alone and beside posts that would be read."""
    for more in ({}, FLAT):
        line = refusal_of(dump(write_files(tmp_path / str(len(more)), {name: POSTS} | more)), layout)
        assert f"has {name}, which looks like a file of posts and would be passed over; name it, or write it as" in line


@pytest.mark.parametrize("name", ["posts000000000003.json.part", "posts.json.aria2", ".posts000000000003.json.Zk3x0q"])
def test_an_unfinished_download_is_no_shard(layout: Layout, tmp_path: Path, name: str) -> None:
    """What curl, aria2 or rsync left of the last shard is refused as that, not read as a short shard or passed over."""
    shards = {each: data for each, data in FLAT.items() if "3.json" not in each}
    folder = write_files(tmp_path / "d", shards | {name: FLAT[Path(LAST).name].split(b"\n")[0] + b"\n"})
    assert f"has {name}, which looks like a file of posts and is what an unfinished" in refusal_of(dump(folder), layout)


@pytest.mark.parametrize("name", ["posts.json.md5", "posts.json.sha256", "posts.json.asc", "posts_by_bucket", "README"])
def test_what_is_no_table_is_passed_over(layout: Layout, tmp_path: Path, name: str) -> None:
    """Checksums, signatures, and what has another name than a table do not matter."""
    folder = write_files(
        tmp_path / "d", {"posts.json": POSTS, name: b"x", "post_votes.json": b"x", "._posts.json": b"x"}
    )
    assert rows_of(dump(folder), layout) == 40


def test_tables_that_are_no_files_are_refused_by_their_names(layout: Layout, tmp_path: Path) -> None:
    """A broken link, a folder, a pipe, and a table of another ending are no absent tables; the other tables come."""
    folder = write_files(tmp_path / "d", {"tags.jsonl": ONE_TAG, "pools.JSON": ONE_TAG, "comments.json": ONE_TAG})
    (folder / "artists.json").symlink_to("/nowhere/artists.json")
    (folder / "notes.json").mkdir()
    os.mkfifo(folder / "wiki_pages.json")
    for table, what in {
        "tags": "tags.jsonl, which looks like a file of tags and would be passed over",
        "pools": "pools.JSON, which looks like a file of pools and would be passed over",
        "artists": "artists.json, which looks like a file of artists and is a link to /nowhere/artists.json, which",
        "notes": "notes.json, which looks like a file of notes and is a folder; put the file itself there",
        "wiki_pages": "wiki_pages.json, which looks like a file of wiki_pages and is no regular file",
    }.items():
        assert what in refusal_of(dump(folder), layout, table=table)
    with pytest.raises(SourceUnusable, match=r"5 side table\(s\) could not be read"):
        export_side_tables(dump(folder), layout, 2021, progress=lambda _line: None)
    assert layout.side_table(2021, "comments").exists()


def test_links_to_files_and_years_are_followed(layout: Layout, tmp_path: Path) -> None:
    """A shard may be a link, and so may the folder of a year, an earlier one included; loops do not matter."""
    write_files(tmp_path, {"pool/x": SHARDS[LAST], **{f"real/{name}": SHARDS[name] for name in list(SHARDS)[:3]}})
    write_files(tmp_path / "v1", {"2020000000000000.json": b"old"})
    (tmp_path / "real" / LAST).symlink_to(tmp_path / "pool/x")
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    (metadata / "2021").symlink_to("../real/2021")
    (metadata / "2020").symlink_to("../v1")
    (metadata / "latest").symlink_to("2021")
    (metadata / "loop").symlink_to("..")
    assert rows_of(archive(metadata), layout) == 40
    assert (layout.carried(2021) / "2020/2020000000000000.json").read_bytes() == b"old"
    (metadata / "2019").symlink_to("nowhere")
    with pytest.raises(SourceUnusable, match=r"has 2019, which is a link to nowhere, which cannot be followed .*put"):
        rows_of(archive(metadata), layout)


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    """An earlier year, or a folder of tables, without permission is no empty folder."""
    write_files(tmp_path / "a", {LAST.replace("3.json", "0.json"): POSTS, "2020/posts000000000000.json": OTHER})
    (tmp_path / "a/2020").chmod(0)

    def look() -> bool:
        with pytest.raises(
            SourceUnusable, match=r"a/2020 cannot be listed \(Permission denied\).*let this user read it"
        ):
            archive(Path("a")).open_table("posts", 2021)
        return True

    assert as_another_user(tmp_path, look)
    (tmp_path / "a/2020").chmod(0o700)


def test_the_year_is_that_of_the_folder_itself(layout: Layout, tmp_path: Path) -> None:
    """In the metadata of a release of 2021, which is below a folder 2021, the year 2020 is an earlier year."""
    files = {f"2021/metadata/{name}": data for name, data in SHARDS.items()}
    files["2021/metadata/2020/posts000000000000.json"] = OTHER
    packed = tmp_path / "metadata.tar"
    packed.write_bytes(tar_of(files))
    for path in (write_files(tmp_path / "a", files), packed):
        assert rows_of(archive(path), layout) == 40
        assert set(pq.read_table(layout.posts(2021))["tag_string"].to_pylist()) == {"1girl solo"}
        assert (layout.carried(2021) / "2020/posts000000000000.json").read_bytes() == OTHER


def test_a_release_is_read_by_its_metadata(layout: Layout, tmp_path: Path) -> None:
    """The folder of a release may be given as well; its Parquet tables of the same names do not matter."""
    folder = write_files(tmp_path / "r", {f"metadata/{name}": data for name, data in SHARDS.items()})
    write_files(folder, {"RELEASE.json": b"{}", "parquet/tags-00000-of-00001.parquet": b"PAR1"})
    assert rows_of(archive(folder), layout) == 40
    assert archive(folder).open_table("tags", 2021) is None


def test_posts_beside_the_older_dialect_are_taken(layout: Layout, tmp_path: Path) -> None:
    """Danbooru2021 has its posts flat, and in the older dialect in 2021-old: the former are read, in full."""
    flat = write_files(tmp_path / "metadata", {**FLAT, "2021-old/2021000000000000.json": b"x", "tags.json": TWO_TAGS})
    assert rows_of(archive(flat), layout) == 40
    assert tags_of(archive(flat), layout).count(b"\n") == 2


@pytest.mark.parametrize("other", ["backup/2021/posts000000000000.json", "old/posts000000000004.json"])
def test_a_table_is_in_one_folder(layout: Layout, tmp_path: Path, other: str) -> None:
    """A backup beside the posts is refused by its name: its rows would win, and hide a gap between the shards."""
    shards = {name: data for name, data in SHARDS.items() if name != shard(1)}
    packed = tmp_path / "metadata.tar"
    packed.write_bytes(tar_of(shards | {other: OTHER}))
    for path in (write_files(tmp_path / "a", shards | {other: OTHER}), packed):
        assert f"has posts twice, as 2021/posts000000000000.json and as {other}" in refusal_of(archive(path), layout)


def test_earlier_years_that_are_packed_are_carried(layout: Layout, tmp_path: Path) -> None:
    """A packed file of an earlier year comes unpacked, byte for byte, in which a takedown finds its lines."""
    files = {**SHARDS, "2020/posts000000000000.json.gz": gzip.compress(OTHER), "2020/votes.json.xz": b"plain"}
    packed = tmp_path / "metadata.tar"
    packed.write_bytes(tar_of(files))
    for path in (write_files(tmp_path / "a", files), packed):
        assert rows_of(archive(path), layout) == 40
        carried = {each.name: each.read_bytes() for each in (layout.carried(2021) / "2020").iterdir()}
        assert carried == {"posts000000000000.json": OTHER, "votes.json": b"plain"}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("2020/posts.parquet", "has 2020/posts.parquet, which looks like metadata of 2020 and would be passed over"),
        ("2020/TAGS.json", "has 2020/TAGS.json, which looks like metadata of 2020 and would be passed over"),
        (
            "2020/2020000000000001.json.part",
            "2020000000000001.json.part, which looks like metadata of 2020 and is what an",
        ),
        (
            "2020/posts000000000000.json.gz",
            "has 2020/posts000000000000.json and 2020/posts000000000000.json.gz; remove",
        ),
        ("old/2020/tags.json", "has 2020/posts000000000000.json and old/2020/tags.json; remove all but the one"),
    ],
)
def test_earlier_years_that_cannot_be_carried_are_named(layout: Layout, tmp_path: Path, name: str, what: str) -> None:
    """What looks like metadata of an earlier year and is not carried, or is there twice, is refused before posts."""
    folder = write_files(tmp_path / "a", SHARDS | {"2020/posts000000000000.json": OTHER, name: b"x"})
    assert what in refusal_of(archive(folder), layout)


@pytest.mark.parametrize(
    "links",
    [
        [hard(LAST, "pool/x")],
        [symbolic(LAST, "../pool/x")],
        [symbolic("pool/y", "x"), symbolic(LAST, "../pool/y")],
        [symbolic("pool/y", "x"), hard(LAST, "./pool/y")],
    ],
)
def test_links_in_a_tar_file_are_resolved(layout: Layout, tmp_path: Path, links: list[Link]) -> None:
    """A shard that is a link has the bytes of its target, as after unpacking; so have two links to one file."""
    files = [(name, SHARDS[name]) for name in list(SHARDS)[:3]]
    tables: list[tuple[str, bytes] | Link] = [
        ("pool/t", ONE_TAG),
        hard(TAGS, "pool/t"),
        hard("2020/tags.json", "pool/t"),
        hard("2019/tags.json", "pool/t"),
    ]
    source = tar_with(tmp_path / "m.tar", [*files, ("pool/x", SHARDS[LAST]), *links, *tables])
    assert rows_of(source, layout) == 40
    assert tags_of(source, layout) == ONE_TAG
    assert all((layout.carried(2021) / f"{year}/tags.json").read_bytes() == ONE_TAG for year in (2019, 2020))


@pytest.mark.parametrize(
    ("link", "what"),
    [
        (
            symbolic(LAST, "/pool/x"),
            f"{LAST}, which looks like a file of posts and is a link to nothing in the archive",
        ),
        (symbolic(LAST, "../2021"), f"{LAST}, which looks like a file of posts and is a link to a folder"),
        (symbolic(LAST, Path(LAST).name), f"{LAST}, which looks like a file of posts and is a link to nothing"),
        (
            hard(LAST, "pool/none"),
            f"{LAST}, which looks like a file of posts and is a hard link to pool/none, which is",
        ),
        ((LAST, "", tarfile.FIFOTYPE), f"{LAST}, which looks like a file of posts and is no regular file"),
        (symbolic("2020", "pool"), "has 2020, which is a link to a folder"),
    ],
)
def test_links_that_lead_nowhere_are_refused(layout: Layout, tmp_path: Path, link: Link, what: str) -> None:
    """A link to nothing in the tar file, or to a folder, is refused by its name."""
    files = [(name, SHARDS[name]) for name in list(SHARDS)[:3]]
    assert what in refusal_of(tar_with(tmp_path / "m.tar", [*files, ("pool/x", POSTS), link]), layout)


def test_of_two_members_the_last_counts(layout: Layout, tmp_path: Path) -> None:
    """A member that was appended again replaces the first, as when tar unpacks; a link keeps what it was made of."""
    files: list[tuple[str, bytes] | Link] = [
        *SHARDS.items(),
        (TAGS, ONE_TAG),
        hard("2021/pools.json", TAGS),
        (f"./{TAGS}", TWO_TAGS),
    ]
    source = tar_with(tmp_path / "m.tar", files)
    assert rows_of(source, layout) == 40
    assert tags_of(source, layout) == TWO_TAGS
    assert layout.side_table(2021, "pools").read_bytes() == ONE_TAG


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html><html>login</html>", "it is a web page or XML; check"),
        (b"PK\x03\x04" + bytes(600), "it is a ZIP archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "it is a 7z archive; unpack it"),
        (b"\x04\x22\x4d\x18" + bytes(600), "it is packed by lz4; pack it by zstandard, or unpack it"),
        (b"id,md5\n1,2\n" * 100, "it is CSV or other text; write it as JSON lines"),
        (POSTS, "it is JSON lines; put it into a folder as posts.json, and set DANBOORU_ARCHIVE to the folder"),
        (gzip.compress(POSTS), "it is JSON lines; put it into a folder"),
        (gzip.compress(gzip.compress(tar_of(SHARDS))), "it is packed twice; unpack it once"),
        (bytes(20480), "it starts with zero bytes, as a download that was cut off leaves them; get it again"),
    ],
)
def test_an_archive_of_another_format_is_named(layout: Layout, tmp_path: Path, data: bytes, what: str) -> None:
    """A file that is not a tar file is refused in one line that says what it is, not as a damaged tar file."""
    path = tmp_path / "metadata.json.tar.xz"
    path.write_bytes(data)
    assert f"metadata.json.tar.xz is not a tar file: {what}" in refusal_of(archive(path), layout)


def test_a_damaged_tar_file_stays_one(layout: Layout, tmp_path: Path) -> None:
    """A tar file whose first header is damaged is not taken for another format."""
    path = tmp_path / "m.tar"
    path.write_bytes(b"2021,x" + tar_of(SHARDS)[6:])
    assert "m.tar is damaged or truncated after its start" in refusal_of(archive(path), layout)


def test_a_table_without_ids_is_none(layout: Layout, tmp_path: Path) -> None:
    """The error of a site is no table of one row; one row without id among others is kept."""
    folder = write_files(
        tmp_path / "d", {"tags.json": b'{"success":false,"error":"x"}\n', "pools.json": b'{}\n{"id":2}\n'}
    )
    with pytest.raises(SourceUnusable, match="tags is no table: none of its 1 rows has an id; get it again"):
        export_side_tables(dump(folder), layout, 2021, progress=lambda _line: None)
    assert not layout.side_table(2021, "tags").exists()
    assert layout.side_table(2021, "pools").read_bytes().count(b"\n") == 2
