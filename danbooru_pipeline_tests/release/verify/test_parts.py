"""A part that is gone, and a file that no such release has, are found though all sums were made again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.release import DocumentOptions, verify_release
from danbooru_pipeline.release.provenance import PROVENANCE
from danbooru_pipeline.release.release_json import CONTENT
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release_paths import INDEX, REMOVALS, REMOVED, TEXTS
from danbooru_pipeline_tests.support.damage import made_by_0_2, put, resum
from danbooru_pipeline_tests.support.yard import Yard

STRAY = Kind.STRAY_FILE
LOST = [*TEXTS, REMOVED, REMOVALS, CONTENT, PROVENANCE, INDEX, "512px/metadata.parquet", "parquet/*_vectors-*"]


def lose(folder: Path, pattern: str) -> None:
    """Remove files or a folder."""
    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@pytest.mark.parametrize("part", LOST)
def test_a_part_that_is_gone_is_missed(copy: Path, part: str) -> None:
    """Whatever every release has is missed by its name, also where no list names it any more."""
    lose(copy, part)
    resum(copy)
    (missed,) = (f.where for f in verify_release(copy).findings if f.kind is Kind.PAPER_MISSING)
    assert missed.startswith(part.partition("*")[0])


@pytest.mark.parametrize(
    "name",
    [
        "parquet/posts-extra.parquet",
        "parquet/more/posts-00000-of-00001.parquet",
        "manifest/old.parquet",
        "manifest/2020/files-00000-of-00001.parquet",
        "metadata/2021/posts0000000000001.json",
        "metadata/2021/posts000000000000.json.gz",
        "metadata/2022/posts000000000000.json",
        "512px/metadata.csv",
        "original/README.md",
        "index/more.roar",
        "parquet/evil-00000-of-00001.parquet",
        "parquet/posts-0000\u0660-of-00001.parquet",
        "parquet-corrected/posts-00000-of-00001.parquet",
        "corrections/x.parquet",
        "corrections/corrections-00000-of-00001.parquet",
        "metadata/2021/evil000000000000.json",
        "metadata/2021-old/2021000000000000.json",
        "metadata/2020/sub/posts000000000000.json",
        "earlier/RELEASE.json",
        "earlier/2020/posts-00000-of-00001.parquet",
        "earlier/2021/files-00000-of-00001.parquet",
        "changes/evil.txt",
        "changes/2021-from-2020.md",
        "changes/2021.1-from-2021.0.remove.txt",
        "checksums/evil/0001.sha256",
        "checksums/original/1000.sha256",
        "browse/evil.js",
        "browse/vendor/evil.js",
        "wds/512px-0001.tar",
        "webdataset/px512-0001.tar",
        "danbooru2021.torrent",
        "metadata.json.tar.xz.torrent",
        "allowed_signers",
        "NOTICE\u0301.md",
        "evil",
    ],
)
def test_a_file_that_no_such_release_has_is_found(copy: Path, name: str) -> None:
    """The files of a release follow from RELEASE.json, so a listed one too many is a finding, wherever it lies."""
    put(copy / name, b"")
    resum(copy)
    assert name in {finding.where for finding in verify_release(copy).findings if finding.kind is STRAY}


def test_the_files_of_an_option_belong_to_it_alone(yard: Yard) -> None:
    """A release that ships tars, a torrent and both dialects is well; of one that says it does not they are strays."""
    yard.manifest()
    chosen = ("webdataset", "torrent", "dialect_2017")
    yard.snapshot(DocumentOptions(webdataset=True, torrent=True, dialect_2017=True))
    folder = yard.layout.release(2021)
    assert verify_release(folder, full=True).ok
    resum(folder, lambda release: release["options"].update(dict.fromkeys(chosen, False)))
    tops = {finding.where.partition("/")[0] for finding in verify_release(folder).findings if finding.kind is STRAY}
    assert tops == {"wds", "wds-index", "metadata.json.tar.xz.torrent", "metadata"}


@pytest.mark.parametrize("name", ["2017/2017000000000000.json", "2019/tags.json", "2020-old/2020000000000000.json"])
def test_what_an_archive_brings_of_earlier_years_belongs_to_a_release(yard: Yard, name: str) -> None:
    """Metadata of the years before is kept under the names that it had, which are no strays."""
    put(yard.layout.carried(2021) / name, b'{"id":"1"}\n')
    folder = yard.release()
    assert (folder / "metadata" / name).is_file()
    assert verify_release(folder, full=True).ok


@pytest.mark.parametrize("made", [lambda _: None, made_by_0_2])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("README.MD", "README.MD"),
        ("release.json", "release.json"),
        ("Manifest/files-00000-of-00001.parquet", "Manifest"),
        ("Original/0001/1.png", "Original"),
        ("Browse", "Browse"),
    ],
)
def test_names_that_are_one_on_some_systems_are_found(
    copy: Path, made: Callable[[dict[str, object]], None], name: str, told: str
) -> None:
    """Two files or folders whose names differ by case alone are a finding in releases of every version."""
    put(copy / name, b"")
    resum(copy, made)
    found = [finding for finding in verify_release(copy).findings if "one name" in finding.message]
    assert [(finding.kind, finding.where) for finding in found] == [(STRAY, told)]


def test_names_that_differ_by_the_form_of_an_accent_are_found(copy: Path) -> None:
    """An accent of one sign and one of two are the same name to some systems."""
    for name in ("caf\u00e9", "cafe\u0301"):
        put(copy / name, b"")
    resum(copy, made_by_0_2)
    found = [finding for finding in verify_release(copy).findings if "one name" in finding.message]
    assert [finding.where for finding in found] == ["caf\u00e9"]


def test_a_file_named_as_standard_input_is_no_path(copy: Path) -> None:
    """Tools read their standard input in place of a file `-`, so no release has one."""
    put(copy / "-", b"1")
    resum(copy)
    assert Kind.UNSAFE_PATH in {finding.kind for finding in verify_release(copy).findings}


@pytest.mark.parametrize("change", [lambda _: None, made_by_0_2])
def test_releases_of_before_have_fewer_parts(yard: Yard, change: Callable[[dict[str, object]], None]) -> None:
    """What version 0.2 did not write is not missed in its releases."""
    folder = yard.release()
    lose(folder, REMOVALS)
    resum(folder, change)
    assert verify_release(folder).ok is (change is made_by_0_2)
