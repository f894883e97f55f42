"""Verification finds each kind of damage, by name, and is never stopped by one."""

import contextlib
import hashlib
import json
import lzma
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import NotARelease
from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.verify.run import verify_tree

MANIFEST = "manifest/files-00000-of-00001.parquet"
POSTS = "parquet/posts-00000-of-00001.parquet"
IMAGE_ROWS = "512px/metadata.parquet"
TAGS = "parquet/tags-00000-of-00001.parquet"
LINES = "metadata/2021/posts000000000000.json"


def alter(path: Path) -> None:
    """Change one byte, keep the size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def append(path: Path) -> None:
    """Make a file longer."""
    path.write_bytes(path.read_bytes() + b"x")


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(one: Path, other: Path) -> None:
    """Exchange the contents of two files."""
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def edit_release(folder: Path, **changes: Any) -> None:
    """Change RELEASE.json; `counts` is merged."""
    path = folder / "RELEASE.json"
    release = json.loads(path.read_bytes())
    changes["counts"] = release["counts"] | changes.get("counts", {})
    path.write_text(json.dumps(release | changes))


def resign(folder: Path) -> None:
    """Correct the checksums, as somebody who damages a release on purpose would."""
    sums = folder / "SHA256SUMS"
    names = [line[66:] for line in sums.read_text().splitlines()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    sums.write_text("".join(lines))
    edit_release(folder, sha256sums_sha256=hashlib.sha256(sums.read_bytes()).hexdigest())


def and_resign(damage: Callable[[Path], object]) -> Callable[[Path], None]:
    """Damage a release and correct the checksums."""

    def both(folder: Path) -> None:
        damage(folder)
        resign(folder)

    return both


def edit_table(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of a Parquet file."""
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)


def edit_manifest(folder: Path, post_id: int, **changes: Any) -> None:
    """Change a manifest row and correct the checksums."""
    table = pq.read_table(folder / MANIFEST)
    rows = table.to_pylist()
    for row in rows:
        if row["id"] == post_id:
            row.update(changes)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / MANIFEST)
    resign(folder)


def drop_sums_line(folder: Path, name: str) -> None:
    """Remove a document from SHA256SUMS."""
    sums = folder / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")))


def link_out(folder: Path) -> None:
    """Replace an image by a symbolic link."""
    path = folder / "original/0002/1002.jpg"
    secret = folder.parent / "secret"
    path.rename(secret)
    path.symlink_to(secret)


def name_outside(folder: Path) -> None:
    """List a file outside the release in the checksums, as an attacker would."""
    (folder.parent / "outside").write_bytes(b"")
    with (folder / "SHA256SUMS").open("a") as sums:
        empty = hashlib.sha256(b"").hexdigest()
        sums.write(f"{empty}  ../outside\n{empty}  /etc/hostname\nno sum\n")


ONE = "original/0002/1002.jpg"

#: name -> (damage, kinds that must be found, whether only `full` finds them)
DAMAGE: dict[str, tuple[Callable[[Path], object], set[Kind], bool]] = {
    "image deleted": (lambda f: (f / ONE).unlink(), {Kind.IMAGE_MISSING}, False),
    "image altered": (lambda f: alter(f / ONE), {Kind.IMAGE_ALTERED}, True),
    "image appended to": (lambda f: append(f / ONE), {Kind.IMAGE_SIZE}, False),
    "image truncated": (lambda f: truncate(f / ONE), {Kind.IMAGE_SIZE}, False),
    "images swapped": (lambda f: swap(f / ONE, f / "original/0002/5002.jpg"), {Kind.IMAGE_SIZE}, False),
    "extra image": (lambda f: (f / "original/0002/77002.png").write_bytes(b"x"), {Kind.IMAGE_EXTRA}, False),
    "image in wrong bucket": (lambda f: (f / "original/0002/77003.png").write_bytes(b"x"), {Kind.WRONG_BUCKET}, False),
    "folder that is no bucket": (lambda f: (f / "original/1002").mkdir(), {Kind.IMAGE_EXTRA}, False),
    "empty folder": (lambda f: (f / "512px/new").mkdir(), {Kind.IMAGE_EXTRA}, False),
    "row of a 512px image lost": (
        and_resign(lambda f: edit_table(f / IMAGE_ROWS, lambda rows: rows[1:])),
        {Kind.IMAGE_ROWS_DIFFER},
        False,
    ),
    "row of a 512px image of another file": (
        and_resign(lambda f: edit_table(f / IMAGE_ROWS, lambda rows: [rows[0] | {"sha256": "0" * 64}, *rows[1:]])),
        {Kind.IMAGE_ROWS_DIFFER},
        False,
    ),
    "rows of 512px images truncated and resigned": (
        and_resign(lambda f: truncate(f / IMAGE_ROWS)),
        {Kind.PARQUET_UNREADABLE},
        False,
    ),
    "row of a side table lost": (
        and_resign(lambda f: edit_table(f / TAGS, lambda rows: rows[1:])),
        {Kind.TABLES_DIFFER},
        False,
    ),
    "side table deleted": (lambda f: (f / TAGS).unlink(), {Kind.PAPER_MISSING, Kind.TABLES_DIFFER}, False),
    "512px of a rating": (lambda f: (f / "512px/0002/1002.jpg").write_bytes(b"x"), {Kind.NOT_SFW}, False),
    "unfinished image": (lambda f: (f / "original/0002/.1.png.ab.part").write_bytes(b"x"), {Kind.PART_FILE}, False),
    "unfinished paper": (lambda f: (f / ".README.ab.part").write_bytes(b"x"), {Kind.PART_FILE}, False),
    "link in place of an image": (link_out, {Kind.NOT_A_FILE, Kind.IMAGE_MISSING}, False),
    "link to a folder": (lambda f: (f / "metadata/2020").symlink_to(f), {Kind.NOT_A_FILE}, False),
    "lines truncated": (
        lambda f: truncate(f / LINES),
        {Kind.PAPER_ALTERED, Kind.METADATA_TRUNCATED, Kind.METADATA_DIFFERS, Kind.ARCHIVE_DIFFERS},
        False,
    ),
    "lines deleted": (lambda f: (f / LINES).unlink(), {Kind.PAPER_MISSING, Kind.METADATA_DIFFERS}, False),
    "lines not JSON": (
        lambda f: (f / LINES).write_bytes(b"\xff\n" + b"[" * 100_000 + b"\n"),
        {Kind.METADATA_UNREADABLE, Kind.METADATA_DIFFERS},
        False,
    ),
    "posts truncated": (lambda f: truncate(f / POSTS), {Kind.PAPER_ALTERED, Kind.PARQUET_UNREADABLE}, False),
    "posts deleted": (lambda f: (f / POSTS).unlink(), {Kind.PAPER_MISSING, Kind.PARQUET_UNREADABLE}, False),
    "posts truncated and resigned": (
        and_resign(lambda f: truncate(f / POSTS)),
        {Kind.PARQUET_UNREADABLE},
        False,
    ),
    "manifest truncated": (lambda f: truncate(f / MANIFEST), {Kind.PAPER_ALTERED, Kind.MANIFEST_UNREADABLE}, False),
    "manifest truncated and resigned": (
        and_resign(lambda f: truncate(f / MANIFEST)),
        {Kind.MANIFEST_UNREADABLE},
        False,
    ),
    "manifest deleted": (lambda f: (f / MANIFEST).unlink(), {Kind.MANIFEST_UNREADABLE, Kind.PAPER_MISSING}, False),
    "number edited": (lambda f: edit_release(f, counts={"posts": 18}), {Kind.RELEASE_NUMBERS}, False),
    "tags edited": (lambda f: edit_release(f, counts={"tags": 1}), {Kind.RELEASE_NUMBERS}, False),
    "last id edited": (lambda f: edit_release(f, last_id=5), {Kind.RELEASE_NUMBERS}, False),
    "ratings edited": (lambda f: edit_release(f, sfw_ratings=["s", "q"]), {Kind.RELEASE_NUMBERS}, False),
    "year edited": (lambda f: edit_release(f, year=-3), {Kind.RELEASE_NUMBERS}, False),
    "RELEASE.json truncated": (lambda f: truncate(f / "RELEASE.json"), {Kind.RELEASE_UNREADABLE}, False),
    "sums line missing": (lambda f: drop_sums_line(f, POSTS), {Kind.SUMS_DIFFER, Kind.PAPER_UNLISTED}, False),
    "sums name the outside": (name_outside, {Kind.SUMS_DIFFER, Kind.SUMS_LINE, Kind.UNSAFE_PATH}, False),
    "sums deleted": (lambda f: (f / "SHA256SUMS").unlink(), {Kind.SUMS_MISSING}, False),
    "extra paper": (lambda f: (f / "NOTES.txt").write_text("x"), {Kind.PAPER_UNLISTED}, False),
    "checksum list altered": (
        lambda f: alter(f / "checksums/original/0002.sha256"),
        {Kind.PAPER_ALTERED, Kind.CHECKSUMS_DIFFER},
        False,
    ),
    "checksum list deleted": (
        lambda f: (f / "checksums/original/0002.sha256").unlink(),
        {Kind.PAPER_MISSING, Kind.CHECKSUMS_DIFFER},
        False,
    ),
    "filelist truncated": (lambda f: truncate(f / "filelist.txt.xz"), {Kind.FILELIST_DIFFERS}, False),
    "filelist edited": (
        and_resign(lambda f: (f / "filelist.txt.xz").write_bytes(lzma.compress(b"./original/0002/1.png\n"))),
        {Kind.FILELIST_DIFFERS},
        False,
    ),
    "nsfw ids edited": (and_resign(lambda f: append(f / "nsfw-ids.txt")), {Kind.NSFW_IDS_DIFFER}, False),
    "archive truncated": (lambda f: truncate(f / "metadata.json.tar.xz"), {Kind.ARCHIVE_UNREADABLE}, False),
    "archive of something else": (
        and_resign(lambda f: (f / "metadata.json.tar.xz").write_bytes(lzma.compress(bytes(10_240)))),
        {Kind.ARCHIVE_DIFFERS},
        False,
    ),
    "rating edited": (lambda f: edit_manifest(f, 12001, rating="e"), {Kind.NOT_SFW, Kind.POSTS_DIFFER}, False),
    "status edited": (lambda f: edit_manifest(f, 1002, status="missing"), {Kind.MANIFEST_ROW}, False),
    "reason edited": (lambda f: edit_manifest(f, 1002, reason="bad\nreason"), {Kind.MANIFEST_ROW}, False),
    "path edited to the outside": (
        lambda f: edit_manifest(f, 1002, path="original/../../outside"),
        {Kind.UNSAFE_PATH, Kind.IMAGE_EXTRA},
        False,
    ),
    "path edited to another bucket": (
        lambda f: edit_manifest(f, 1002, path="original/0003/1002.jpg"),
        {Kind.WRONG_BUCKET},
        False,
    ),
    "bucket edited": (lambda f: edit_manifest(f, 1002, bucket="0003"), {Kind.WRONG_BUCKET}, False),
    "id edited": (lambda f: edit_manifest(f, 20005, id=20006), {Kind.POSTS_DIFFER, Kind.METADATA_DIFFERS}, False),
    "ids out of order": (lambda f: edit_manifest(f, 1002, id=99_002), {Kind.MANIFEST_UNREADABLE}, False),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_by_name(copy: Path, name: str) -> None:
    """Each damage is found under its kind, and the report says so in words and as JSON."""
    damage, expected, only_full = DAMAGE[name]
    damage(copy)
    quick = verify_release(copy)
    report = verify_release(copy, full=True) if only_full else quick
    assert expected <= {finding.kind for finding in report.findings}
    assert not report.ok
    assert quick.ok == only_full
    assert json.loads(json.dumps(report.as_dict()))["counts"] == report.counts
    assert all("\n" not in line for line in report.lines())


def test_whole_release_is_well(copy: Path) -> None:
    """A copy under another name verifies, by size and in full."""
    quick, full = verify_release(copy), verify_release(copy, full=True)
    assert quick.ok
    assert full.ok
    assert (quick.files, quick.hashed, full.hashed, full.posts) == (17, 0, 17, 17)
    assert full.as_dict()["findings"] == []


def test_files_of_a_known_release_are_not_hashed_again(copy: Path, tmp_path: Path) -> None:
    """Only what is the same file under the same name and sum is known: a copy, or another sum, is hashed."""
    known = tmp_path / "known"
    shutil.copytree(copy, known, copy_function=os.link)
    release = read_release(copy)

    def hashed(*releases: Path) -> int:
        report = verify_tree(copy, release, full=True, known=releases)
        assert report.ok
        return report.hashed

    assert (hashed(), hashed(known), hashed(tmp_path / "nothing"), hashed(tmp_path / "nothing", known)) == (
        17,
        0,
        17,
        0,
    )
    replace_file(known / ONE, (copy / ONE).read_bytes())
    assert hashed(known) == 1
    sums = known / "checksums/original/0003.sha256"
    replace_file(sums, sums.read_bytes().replace(b"0", b"1"))
    assert hashed(known) > 1
    replace_file(copy / ONE, b"x" * (copy / ONE).stat().st_size)
    assert verify_tree(copy, release, full=True, known=[known]).counts == {"image_altered": 1}


def test_known_file_that_a_crash_emptied_is_found(copy: Path, tmp_path: Path) -> None:
    """A name of the same file in a known release is not enough: its size is that of the manifest."""
    known = tmp_path / "known"
    shutil.copytree(copy, known, copy_function=os.link)
    os.truncate(copy / ONE, 0)
    assert verify_tree(copy, read_release(copy), full=True, known=[known]).counts == {"image_size": 1}


def test_numbers_of_files_that_a_folder_makes_up_are_not_believed(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FUSE may list every name with one number; a damaged copy there is hashed, and found."""
    known = tmp_path / "known"
    shutil.copytree(copy, known)
    replace_file(copy / ONE, b"x" * (copy / ONE).stat().st_size)
    scandir = os.scandir

    class Entry:
        """A name of a folder whose file system numbers nothing."""

        def __init__(self, entry: os.DirEntry[str]) -> None:
            self._entry = entry

        def __getattr__(self, name: str) -> Any:
            return getattr(self._entry, name)

        def inode(self) -> int:
            """The same for all."""
            return 2**32 - 1

    @contextlib.contextmanager
    def made_up(folder: int) -> Iterator[Iterator[Entry]]:
        with scandir(folder) as entries:
            yield map(Entry, entries)

    monkeypatch.setattr("danbooru_pipeline.release.verify.images.os.scandir", made_up)
    assert verify_tree(copy, read_release(copy), full=True, known=[known]).counts == {"image_altered": 1}


def replace_file(path: Path, data: bytes) -> None:
    """Another file under the same name."""
    path.unlink()
    path.write_bytes(data)


def test_lines_of_a_table_may_stand_in_several_files(copy: Path) -> None:
    """The rows of a side table are compared with the lines of all its files together."""
    (copy / "metadata/2021/tags000000000001.json").write_bytes(b"")
    assert "tables_differ" not in verify_release(copy).counts


def test_one_bucket_is_checked_by_content_and_the_rest_left_alone(copy: Path) -> None:
    """With a bucket only its own damage is found, by content."""
    alter(copy / ONE)
    (copy / "NOTES.txt").write_text("x")
    (copy / "original/0003/6003.jpg").unlink()
    report = verify_release(copy, bucket="0002")
    assert report.counts == {"image_altered": 1}
    assert report.hashed == 4
    assert verify_release(copy, bucket="0777").ok
    with pytest.raises(ValueError, match="0000 to 0999"):
        verify_release(copy, bucket="../x")


def test_folder_without_release_is_refused(copy: Path, tmp_path: Path) -> None:
    """A tree without RELEASE.json is not a release, nor is a missing folder."""
    (copy / "RELEASE.json").unlink()
    for folder in (copy, tmp_path / "nothing"):
        with pytest.raises(NotARelease, match=r"has no RELEASE\.json"):
            verify_release(folder)


def test_findings_are_kept_up_to_a_limit_and_counted_beyond(copy: Path) -> None:
    """A release without its images does not fill the memory, and the report says how many are missing."""
    for number in range(1100):
        (copy / f"original/0002/{900_002 + number * 1000}.png").write_bytes(b"")
    report = verify_release(copy)
    assert report.counts == {"image_extra": 1100}
    assert len(report.findings) == 1000
    assert "… and 100 more of these kinds" in report.lines()


@pytest.mark.parametrize("seed", range(10))
def test_random_damage_never_raises(copy: Path, seed: int) -> None:
    """Bytes changed anywhere, with checksums corrected or not, always end in a report with findings."""
    dice = random.Random(seed)
    path = dice.choice(sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size))
    data = bytearray(path.read_bytes())
    for _ in range(dice.randint(1, 4)):
        data[dice.randrange(len(data))] ^= dice.randint(1, 255)
    path.write_bytes(data)
    assert not verify_release(copy, full=True).ok
