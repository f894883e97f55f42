"""Damages that were tried from outside, under their names there: each is named, and none ends in a traceback."""

import hashlib
import lzma
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from danbooru_pipeline.errors import NotARelease
from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.release_json import CONTENT
from danbooru_pipeline.release_paths import SHA256SUMS, SIGNATURE
from danbooru_pipeline_tests.support.damage import (
    digest,
    edit_json,
    edit_lines,
    edit_table,
    flip,
    lines_of,
    original,
    pack_again,
    put,
    resum,
    small,
    with_column,
)
from danbooru_pipeline_tests.support.keys import SIGNATURES_WITH_MORE

Damage = Callable[[Path], object]
K = Kind
RELEASE = "RELEASE.json"


def first(folder: Path, pattern: str) -> Path:
    """The first file that matches."""
    return min(folder.glob(pattern))


def append(path: Path, data: bytes) -> None:
    """Make a file longer."""
    put(path, path.read_bytes() + data)


def summed(damage: Damage) -> Damage:
    """A damage whose sums are made again."""

    def both(folder: Path) -> None:
        damage(folder)
        resum(folder)

    return both


def packed(damage: Damage) -> Damage:
    """The same, with the archive of the metadata made again, too."""

    def both(folder: Path) -> None:
        damage(folder)
        pack_again(folder)
        resum(folder)

    return both


def edited(change: Callable[[dict[str, Any]], object]) -> Damage:
    """RELEASE.json says something else."""
    return lambda folder: edit_json(folder / RELEASE, change)


def away(folder: Path, name: str) -> None:
    """Move something out of the release, and link to it."""
    target = folder.parent / "away"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)


def pipe(folder: Path, name: str) -> None:
    """Put a pipe in place of a file."""
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)


def link(path: Path) -> None:
    """A file is a link to one of the system."""
    path.unlink()
    path.symlink_to("/etc/passwd")


def with_mode(path: Path, mode: int) -> None:
    """A file has another mode, and its content."""
    put(path, path.read_bytes())
    path.chmod(mode)


def swap(folder: Path) -> None:
    """Exchange two originals."""
    one, other = original(folder, 3), original(folder, 4)
    one.rename(folder.parent / "one")
    other.rename(one)
    (folder.parent / "one").rename(other)


def overwrite_by_other(folder: Path) -> None:
    """A 512px image has the bytes of another, and its own size."""
    size = small(folder).stat().st_size
    put(small(folder), small(folder, 1).read_bytes().ljust(size, b"\0")[:size])


def hard_link(folder: Path) -> None:
    """Two posts have one file."""
    one, other = original(folder, 3), original(folder, 4)
    other.unlink()
    other.hardlink_to(one)


def edit_post(line: bytes) -> bytes:
    """Another tag in a line."""
    return line.replace(b'"tag_string":"1girl', b'"tag_string":"edited')


def sums_of(change: Callable[[bytes], bytes]) -> Damage:
    """SHA256SUMS is another one, and RELEASE.json names it."""

    def damage(folder: Path) -> None:
        data = change((folder / SHA256SUMS).read_bytes())
        put(folder / SHA256SUMS, data)
        edit_json(folder / RELEASE, lambda r: r.update(sha256sums_sha256=hashlib.sha256(data).hexdigest()))

    return damage


def bomb_archive(folder: Path) -> None:
    """An archive of a gigabyte of zeros, which takes some kilobytes."""
    info = tarfile.TarInfo("metadata/bomb")
    info.size = 2**30
    packer = lzma.LZMACompressor(preset=0)
    zeros = bytes(2**24)
    parts = [packer.compress(info.tobuf()), *(packer.compress(zeros) for _ in range(8)), packer.flush()]
    put(folder / "metadata.json.tar.xz", b"".join(parts))


def nested(folder: Path) -> None:
    """RELEASE.json has a list in a list, and so on."""
    text = (folder / RELEASE).read_bytes()
    put(
        folder / RELEASE,
        text.replace(b'"sources": [', b'"sources": [{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"},", 1),
    )


def careful_swap(folder: Path) -> None:
    """An image is replaced, and its SHA-256 wherever that stands."""
    path = small(folder)
    old = digest(path)
    flip(path)
    new = digest(path)
    lists = folder / f"checksums/512px/{path.parent.name}.sha256"
    put(lists, lists.read_bytes().replace(old.encode(), new.encode()))
    for table, column in (("manifest/files-*", "px512_sha256"), ("512px/metadata.parquet", "sha256")):
        edit_table(folder, table, with_column(column, lambda sums: [new if sum_ == old else sum_ for sum_ in sums]))


def path_of_two(column: str, path: str) -> Damage:
    """The manifest names another path in its third row."""
    change = with_column(column, lambda paths: [path if number == 2 else old for number, old in enumerate(paths)])
    return summed(lambda folder: edit_table(folder, "manifest/files-*", change))


def repeated(value: Any) -> Callable[[list[Any]], list[Any]]:
    """A column of one value."""
    return lambda values: [value] * len(values)


def raised(values: list[Any]) -> list[Any]:
    """A column of numbers, each larger by one."""
    return [(value or 0) + 1 for value in values]


def statistics(release: dict[str, Any]) -> None:
    """All totals of tags are one more."""
    release["tag_statistics"] |= {k: v + 1 for k, v in release["tag_statistics"].items() if isinstance(v, int)}


def without_row(number: int) -> Callable[[pa.Table], pa.Table]:
    """A table without a row."""
    return lambda table: pa.concat_tables([table.slice(0, number), table.slice(number + 1)])


def twice(table: pa.Table) -> pa.Table:
    """A table with a row twice."""
    return pa.concat_tables([table.slice(0, 5), table.slice(4)])


PREVIOUS = {"name": "danbooru1999", "version": "1999.0", "sha256sums_sha256": "0" * 64}

#: Case -> the damage, and what it must be called.
CASES: dict[str, tuple[Damage, set[Kind]]] = {
    "flip-original": (lambda f: flip(original(f)), {K.IMAGE_ALTERED}),
    "flip-512": (lambda f: flip(small(f)), {K.IMAGE_ALTERED}),
    "flip-jsonl": (lambda f: flip(lines_of(f)), {K.PAPER_ALTERED}),
    "flip-parquet": (lambda f: flip(first(f, "parquet/posts-*")), {K.PAPER_ALTERED}),
    "flip-parquet-footer": (lambda f: flip(first(f, "parquet/posts-*"), -6), {K.PAPER_ALTERED}),
    "flip-tarxz": (lambda f: flip(f / "metadata.json.tar.xz"), {K.PAPER_ALTERED}),
    "flip-release-json": (edited(lambda r: r.update(last_id=1)), {K.RELEASE_NUMBERS}),
    "flip-checksum-list": (lambda f: flip(first(f, "checksums/original/*"), 3), {K.PAPER_ALTERED, K.CHECKSUMS_DIFFER}),
    "flip-manifest": (lambda f: flip(first(f, "manifest/files-*")), {K.PAPER_ALTERED}),
    "flip-sha256sums": (lambda f: flip(f / SHA256SUMS, 5), {K.SUMS_DIFFER, K.SIGNATURE}),
    "flip-carried-metadata": (lambda f: flip(first(f, "metadata/*/posts*")), {K.PAPER_ALTERED}),
    "flip-image-rows": (lambda f: flip(f / "512px/metadata.parquet"), {K.PAPER_ALTERED}),
    "flip-filelist": (lambda f: flip(f / "filelist.txt.xz"), {K.PAPER_ALTERED}),
    "rm-original": (lambda f: original(f).unlink(), {K.IMAGE_MISSING}),
    "rm-512": (lambda f: small(f).unlink(), {K.IMAGE_MISSING}),
    "rm-paper": (lambda f: (f / "NOTICE.md").unlink(), {K.PAPER_MISSING}),
    "rm-manifest": (lambda f: first(f, "manifest/files-*").unlink(), {K.MANIFEST_UNREADABLE, K.PAPER_MISSING}),
    "rm-sums": (lambda f: (f / SHA256SUMS).unlink(), {K.SUMS_MISSING}),
    "rm-bucket-folder": (lambda f: shutil.rmtree(original(f).parent), {K.IMAGE_MISSING}),
    "rm-tree": (lambda f: shutil.rmtree(f / "original"), {K.IMAGE_MISSING}),
    "add-original": (lambda f: put(original(f).with_name("999" + original(f).name), b"x"), {K.IMAGE_EXTRA}),
    "add-paper": (lambda f: put(f / "EXTRA.md", b"x"), {K.PAPER_UNLISTED}),
    "rename-to-other-id": (
        lambda f: original(f).rename(original(f).with_name("10" + original(f).name)),
        {K.IMAGE_MISSING, K.IMAGE_EXTRA},
    ),
    "swap-two-ids": (swap, {K.IMAGE_SIZE}),
    "swap-same-size": (overwrite_by_other, {K.IMAGE_ALTERED}),
    "empty-original": (lambda f: put(original(f), b""), {K.IMAGE_SIZE}),
    "symlink-original": (lambda f: away(f, str(original(f).relative_to(f))), {K.NOT_A_FILE}),
    "symlink-paper-outside": (
        lambda f: link(f / "README.md"),
        {K.NOT_A_FILE, K.PAPER_MISSING},
    ),
    "symlink-bucket": (lambda f: away(f, str(original(f).parent.relative_to(f))), {K.NOT_A_FILE, K.IMAGE_MISSING}),
    "symlink-checksums-folder": (lambda f: away(f, "checksums"), {K.NOT_A_FILE, K.CHECKSUMS_DIFFER}),
    "hardlink-two-ids": (hard_link, {K.IMAGE_SIZE}),
    "hardlink-extra-name": (lambda f: os.link(original(f), original(f).with_name("77777.png")), {K.WRONG_BUCKET}),
    "jsonl-row-removed": (summed(lambda f: edit_lines(f, lambda x: x[:5] + x[6:])), {K.METADATA_DIFFERS, K.SIGNATURE}),
    "jsonl-row-removed-retar": (packed(lambda f: edit_lines(f, lambda x: x[:5] + x[6:])), {K.METADATA_DIFFERS}),
    "jsonl-row-duplicated-retar": (packed(lambda f: edit_lines(f, lambda x: x[:5] + x[4:])), {K.METADATA_DIFFERS}),
    "jsonl-edited-only": (lambda f: edit_lines(f, lambda x: [*map(edit_post, x)]), {K.PAPER_ALTERED}),
    "jsonl-edited-resum-retar": (
        packed(lambda f: edit_lines(f, lambda x: [*map(edit_post, x)])),
        {K.METADATA_DIFFERS},
    ),
    "parquet-tags-edited-resum": (
        summed(lambda f: edit_table(f, "parquet/posts-*", with_column("score", raised))),
        {K.METADATA_DIFFERS, K.IMAGE_ROWS_DIFFER},
    ),
    "parquet-md5-edited-resum": (
        summed(lambda f: edit_table(f, "parquet/posts-*", with_column("md5", repeated("0" * 32)))),
        {K.POSTS_DIFFER},
    ),
    "parquet-row-removed-resum": (summed(lambda f: edit_table(f, "parquet/posts-*", without_row(5))), {K.POSTS_DIFFER}),
    "parquet-row-duplicated-resum": (summed(lambda f: edit_table(f, "parquet/posts-*", twice)), {K.POSTS_DIFFER}),
    "image-rows-tags-edited-resum": (
        summed(lambda f: edit_table(f, "512px/metadata.parquet", with_column("tags", repeated(["wrong_tag"])))),
        {K.IMAGE_ROWS_DIFFER},
    ),
    "side-table-content-edited-resum": (
        summed(lambda f: edit_table(f, "parquet/tags-*", with_column("post_count", repeated(1)))),
        {K.TABLES_DIFFER},
    ),
    "tag-counts-edited-resum": (
        summed(lambda f: edit_table(f, "parquet/tag_counts-*", without_row(0))),
        {K.TAG_COUNTS_DIFFER},
    ),
    "careful-image-swap": (summed(careful_swap), {K.SIGNATURE}),
    "papers-numbers-edited-resum": (summed(lambda f: flip(f / "README.md")), {K.SIGNATURE}),
    "extra-folder-in-tree": (lambda f: (f / "original/1000").mkdir(), {K.IMAGE_EXTRA}),
    "extra-empty-folder-in-bucket": (lambda f: (original(f).parent / "d").mkdir(), {K.NOT_A_FILE}),
    "hidden-file-bucket": (lambda f: put(original(f).with_name(".hidden"), b"x"), {K.IMAGE_EXTRA}),
    "hidden-file-top": (lambda f: put(f / ".DS_Store", b"x"), {K.PAPER_UNLISTED}),
    "fifo-paper": (lambda f: pipe(f, "README.md"), {K.NOT_A_FILE, K.PAPER_MISSING}),
    "fifo-filelist": (lambda f: pipe(f, "filelist.txt.xz"), {K.NOT_A_FILE, K.FILELIST_DIFFERS}),
    "fifo-bucket": (lambda f: os.mkfifo(original(f).with_name("1-fifo.png")), {K.NOT_A_FILE}),
    "symlink-archive-outside": (lambda f: away(f, "metadata.json.tar.xz"), {K.NOT_A_FILE, K.ARCHIVE_UNREADABLE}),
    "name-newline": (lambda f: put(original(f).with_name("1\n2.png"), b"x"), {K.IMAGE_EXTRA}),
    "name-nonutf8": (lambda f: put(original(f).with_name(os.fsdecode(b"\xff\xfe.png")), b"x"), {K.IMAGE_EXTRA}),
    "paper-name-newline": (lambda f: put(f / "a\nb", b"x"), {K.PAPER_UNLISTED}),
    "paper-name-nonutf8": (lambda f: put(f / os.fsdecode(b"\xff\xfe"), b"x"), {K.PAPER_UNLISTED}),
    "paper-name-nonutf8-folder": (lambda f: put(f / os.fsdecode(b"\xff/x"), b"x"), {K.PAPER_UNLISTED}),
    "perm-world-writable": (lambda f: with_mode(f / "README.md", 0o666), {K.MODE}),
    "perm-unreadable": (lambda f: with_mode(f / "README.md", 0), {K.MODE}),
    "sums-traversal": (sums_of(lambda data: data + b"0" * 64 + b"  ../../../etc/passwd\n"), {K.UNSAFE_PATH}),
    "sums-absolute": (
        sums_of(lambda data: b"".join(x[:66] + b"/" + x[66:] for x in data.splitlines(keepends=True))),
        {K.UNSAFE_PATH},
    ),
    "checksums-list-traversal": (
        summed(
            lambda f: put(p := first(f, "checksums/original/*"), p.read_bytes() + b"0" * 64 + b"  ../../etc/passwd\n")
        ),
        {K.CHECKSUMS_DIFFER},
    ),
    "manifest-path-traversal": (path_of_two("path", "../../../../etc/passwd"), {K.UNSAFE_PATH}),
    "manifest-path-absolute": (path_of_two("px512_path", "/etc/passwd"), {K.UNSAFE_PATH}),
    "sums-crlf": (sums_of(lambda data: data.replace(b"\n", b"\r\n")), {K.SIGNATURE}),
    "sums-binary-garbage": (lambda f: put(f / SHA256SUMS, random.Random(1).randbytes(200_000)), {K.SUMS_LINE}),
    "sums-empty": (lambda f: put(f / SHA256SUMS, b""), {K.SUMS_DIFFER, K.PAPER_UNLISTED}),
    "bomb-tarxz": (summed(bomb_archive), {K.ARCHIVE_UNREADABLE}),
    "bomb-parquet-string": (
        summed(lambda f: edit_table(f, "parquet/posts-*", with_column("tag_string", repeated("a" * 2**20)))),
        {K.RELEASE_NUMBERS, K.METADATA_DIFFERS},
    ),
    "rj-wrong-counts": (edited(lambda r: r["counts"].update(posts=1)), {K.RELEASE_NUMBERS}),
    "rj-taken-down-count": (edited(lambda r: r.update(taken_down=999)), {K.RELEASE_NUMBERS}),
    "rj-created-at-edited": (edited(lambda r: r.update(created_at="not a date")), {K.RELEASE_NUMBERS}),
    "rj-tag-statistics-edited": (edited(statistics), {K.RELEASE_NUMBERS}),
    "rj-previous-edited": (edited(lambda r: r.update(previous=PREVIOUS)), {K.RELEASE_NUMBERS}),
    "rj-sources-edited": (edited(lambda r: r.update(sources=[{"name": "made up"}])), {K.RELEASE_NUMBERS}),
    "rj-year-string": (edited(lambda r: r.update(year="2022")), {K.RELEASE_UNREADABLE}),
    "rj-year-huge": (edited(lambda r: r.update(year=10**6)), {K.RELEASE_NUMBERS}),
    "rj-name-traversal": (edited(lambda r: r.update(name="../../etc")), {K.RELEASE_NUMBERS}),
    "rj-deep-nesting": (nested, {K.RELEASE_UNREADABLE}),
    "rj-empty": (lambda f: put(f / RELEASE, b""), {K.RELEASE_UNREADABLE}),
    "rj-bom": (lambda f: put(f / RELEASE, b"\xef\xbb\xbf" + (f / RELEASE).read_bytes()), {K.RELEASE_UNREADABLE}),
    "rj-sfw-ratings": (edited(lambda r: r.update(sfw_ratings=["g", "s", "q", "e"])), {K.RELEASE_NUMBERS}),
    "jsonl-truncated-last-line": (
        packed(lambda f: edit_lines(f, lambda x: [*x[:-1], x[-1][:-5]])),
        {K.METADATA_TRUNCATED},
    ),
    "jsonl-null-bytes": (
        packed(lambda f: edit_lines(f, lambda x: [*x[:3], bytes(500) + b"\n", *x[3:]])),
        {K.METADATA_UNREADABLE},
    ),
    "carried-manifest-edited-resum": (
        summed(lambda f: edit_table(f, "*/2021/files-*", lambda table: table.slice(1))),
        {K.CARRIED_DIFFER},
    ),
    "changes-edited-resum": (
        summed(lambda f: append(first(f, "changes/*.remove.txt"), b"../../.ssh/authorized_keys\n")),
        {K.UNSAFE_PATH, K.CHANGES_DIFFER},
    ),
    "removed-txt-edited-resum": (
        summed(lambda f: put(f / "removed.txt", b"1\n2\nnot a number\n")),
        {K.REMOVED_DIFFER, K.RELEASE_NUMBERS},
    ),
    "removed-txt-lists-a-present-post": (
        summed(lambda f: put(f / "removed.txt", f"{original(f).stem}\n".encode())),
        {K.REMOVED_DIFFER},
    ),
    "croissant-edited-resum": (summed(lambda f: put(f / "croissant.json", b"{}")), {K.SIGNATURE}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.needs("ssh-keygen")
def test_damage_is_called_by_its_name(later: Path, signers: Path, name: str) -> None:
    """Each damage that was tried from outside is found under its kind."""
    damage, expected = CASES[name]
    damage(later)
    report = verify_release(later, full=True, signers=signers, threads=1)
    assert expected <= {finding.kind for finding in report.findings}, report.lines()
    assert all("\n" not in line for line in report.lines())


@pytest.mark.parametrize("change", SIGNATURES_WITH_MORE.values(), ids=SIGNATURES_WITH_MORE)
@pytest.mark.needs("ssh-keygen")
def test_signature_with_more_than_itself_is_bad(later: Path, signers: Path, change: Callable[[bytes], bytes]) -> None:
    """What stands before or behind the one armored block is covered by nothing, so nothing may stand there."""
    put(later / SIGNATURE, change((later / SIGNATURE).read_bytes()))
    for keys in (None, signers):
        report = verify_release(later, signers=keys, threads=1)
        assert (report.signature, {finding.kind for finding in report.findings}) == ("bad", {K.SIGNATURE})


@pytest.mark.needs("ssh-keygen")
def test_terabyte_of_zeros_is_not_read(later: Path) -> None:
    """A file that pretends to be enormous keeps neither us nor ssh-keygen busy, whichever it is."""
    documents = [path for path in sorted(later.rglob("*")) if path.is_file() and path.suffix != ".jpg"]
    for start in range(6):
        held = {path: path.read_bytes() for path in documents[start::6] if path.name != RELEASE}
        for path in held:
            put(path, b"")
            os.truncate(path, 2**40)
        assert not verify_release(later, full=bool(start % 2), threads=1).ok
        for path, data in held.items():
            put(path, data)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_device_is_no_file(later: Path) -> None:
    """Case device-bucket: a device beside images is named, and not opened."""
    try:
        os.mknod(original(later).with_name("2.png"), 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("this container makes no devices")
    assert "not_a_file" in verify_release(later, full=True, threads=1).counts


@pytest.mark.parametrize("name", ["rm-release-json", "symlink-release-json", "fifo-release-json"])
def test_tree_without_a_release_json_is_no_release(later: Path, name: str) -> None:
    """A release without RELEASE.json, or with a link or a pipe of its name, is refused at once."""
    damage: Damage = {
        "rm-release-json": lambda f: (f / RELEASE).unlink(),
        "symlink-release-json": lambda f: away(f, RELEASE),
        "fifo-release-json": lambda f: pipe(f, RELEASE),
    }[name]
    damage(later)
    with pytest.raises(NotARelease):
        verify_release(later, full=True)


@pytest.mark.needs("ssh-keygen")
def test_releases_are_well(later: Path, earlier: Path, signers: Path) -> None:
    """Undamaged, both are good under a key that their user keeps, and the signature reaches RELEASE.json."""
    for folder in (later, earlier):
        report = verify_release(folder, full=True, signers=signers)
        assert report.lines()[-1].endswith("all is well"), report.lines()
        assert (report.signature, report.covered) == ("good", True)
    assert CONTENT in (later / SHA256SUMS).read_text()
