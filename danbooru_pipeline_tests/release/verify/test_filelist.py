"""The list of all files is the one that is written, to the last byte of how it is packed."""

import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.release import Kind, verify_release
from danbooru_pipeline.release.checksums import segment_sizes
from danbooru_pipeline.release.tree.archive import text_segments
from danbooru_pipeline_tests.support.damage import linked_copy, put, resum
from danbooru_pipeline_tests.support.odd_tables import release_with


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small release."""
    return release_with(tmp_path_factory.mktemp("packed") / "root", {})


def _in_two(data: bytes) -> bytes:
    first, *rest = lzma.decompress(data).splitlines(keepends=True)
    return lzma.compress(first) + lzma.compress(b"".join(rest))


@pytest.mark.parametrize("name", ["filelist.txt.xz", "metadata.json.tar.xz"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data + lzma.compress(b""), id="empty stream behind"),
        pytest.param(lambda data: lzma.compress(b"") + data, id="empty stream before"),
        pytest.param(lambda data: data + bytes(4), id="padding"),
        pytest.param(lambda data: data + bytes(2**20), id="much padding"),
        pytest.param(lambda data: data + bytes(8) + lzma.compress(b""), id="padding and a stream"),
    ],
)
def test_what_readers_of_xz_pass_over_is_a_finding(
    folder: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    """Streams without content and zeros beside streams are found with all sums made again, in the archive as well."""
    copy = linked_copy(folder, tmp_path / folder.name)
    put(copy / name, change((copy / name).read_bytes()))
    resum(copy)
    kind = Kind.FILELIST_DIFFERS if name.startswith("filelist") else Kind.ARCHIVE_DIFFERS
    assert {(found.kind, found.where) for found in verify_release(copy, full=True, threads=1).findings} == {
        (kind, name)
    }


def test_a_list_cut_elsewhere_is_a_finding(folder: Path, tmp_path: Path) -> None:
    """The same lines in other streams than are written are found; in the same ones, packed anew, they are not."""
    for change, found in ((_in_two, 1), (lambda data: lzma.compress(lzma.decompress(data)), 0)):
        copy = linked_copy(folder, tmp_path / str(found) / folder.name)
        put(copy / "filelist.txt.xz", change((copy / "filelist.txt.xz").read_bytes()))
        resum(copy)
        kinds = [each.kind for each in verify_release(copy, full=True, threads=1).findings]
        assert kinds == [Kind.FILELIST_DIFFERS] * found


@pytest.mark.parametrize("sizes", [[], [0], [0, 0], [3], [5, 5], [2, 2, 9, 0], [4, 0, 0], [1, 1, 1, 1, 1]])
def test_sizes_of_segments_are_those_that_are_written(sizes: list[int]) -> None:
    """What is said of the segments holds for those that are made, also where nothing is in them."""
    made = [len(segment()) for segment in text_segments((b"x" * size for size in sizes), 4)]
    assert list(segment_sizes(sizes, 4)) == made
