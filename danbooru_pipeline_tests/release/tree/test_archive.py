"""The archive: plain tar.xz for everyone, the same bytes every time."""

import io
import lzma
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from danbooru_pipeline.release.tree import archive, segments
from danbooru_pipeline.release.tree.archive import TarEntry, text_segments, write_tar_xz, write_xz
from danbooru_pipeline.release.tree.segments import SegmentStore


@pytest.fixture
def members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[TarEntry]:
    """Files of awkward sizes around a segment of 4 KiB."""
    monkeypatch.setattr(archive, "SEGMENT_BYTES", 4096)
    found = []
    for number, size in enumerate([0, 1, 511, 512, 513, 3583, 3584, 3585, 4096, 20_000]):
        path = tmp_path / f"{number}.json"
        path.write_bytes(random.Random(number).randbytes(size))
        found.append(TarEntry(f"metadata/2021/{number}.json", path))
    return found


def packed(
    members: list[TarEntry], *, threads: int = 3, store: SegmentStore | None = None, mtime: int = 1_640_995_199
) -> bytes:
    """The archive's bytes."""
    file = io.BytesIO()
    write_tar_xz(file, members, mtime=mtime, threads=threads, preset=1, store=store)
    return file.getvalue()


def test_python_reads_every_member(members: list[TarEntry]) -> None:
    """Names, contents and owners are as promised, sorted."""
    with tarfile.open(fileobj=io.BytesIO(packed(members[::-1])), mode="r:xz") as tar:
        infos = tar.getmembers()
        contents = [tar.extractfile(info).read() for info in infos]  # type: ignore[union-attr]
    assert [info.name for info in infos] == [member.name for member in members]
    assert contents == [member.path.read_bytes() for member in members]
    assert {(info.uid, info.gid, info.mtime, info.mode) for info in infos} == {(0, 0, 1_640_995_199, 0o644)}


def test_rebuild_is_identical_with_any_number_of_threads(members: list[TarEntry]) -> None:
    """The number of threads changes the time and not the bytes; the tar inside consists of whole records."""
    assert packed(members) == packed(members[::-1], threads=1)
    assert len(lzma.decompress(packed(members))) % 10_240 == 0


def test_kept_segments_change_nothing_but_the_work(
    members: list[TarEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cached segments, of a killed archive or last year's, the bytes are the same; damaged ones are made again."""
    for module in (archive, segments):
        monkeypatch.setattr(module, "SMALLEST", 1024)
    made: list[int] = []
    real = segments.compress

    def counted(data: bytes, preset: int) -> bytes:
        made.append(len(data))
        return real(data, preset)

    monkeypatch.setattr(segments, "compress", counted)
    folder = tmp_path / "segments"
    expected = packed(members)
    assert packed(members, store=SegmentStore(folder)) == expected
    kept = sorted(folder.iterdir())
    made.clear()
    assert packed(members, store=SegmentStore(folder)) == expected
    assert not [size for size in made if size >= 1024]
    kept[0].unlink()
    kept[1].write_bytes(b"damaged")
    (folder / "left over").write_bytes(b"x")
    made.clear()
    assert packed(members, store=SegmentStore(folder)) == expected
    assert len([size for size in made if size >= 1024]) == 2
    assert sorted(folder.iterdir()) == kept
    made.clear()
    members[-1].path.write_bytes(b"other" * 1000)
    another_year = packed(members, store=SegmentStore(folder), mtime=1_672_531_199)
    assert another_year == packed(members, mtime=1_672_531_199)
    # The changed member, cut in two; those of 1024 bytes hold a header, which has the time of the archive.
    assert sorted(size for size in made if size > 1024) == [2560, 4096]


@pytest.mark.skipif(not (shutil.which("xz") and shutil.which("tar")), reason="xz and tar are not installed")
def test_common_tools_read_it(members: list[TarEntry], tmp_path: Path) -> None:
    """``xz -t`` and ``tar -tJ`` accept it without a warning."""
    path = tmp_path / "metadata.json.tar.xz"
    path.write_bytes(packed(members))
    assert subprocess.run(["xz", "-t", path], check=True, capture_output=True).stderr == b""
    listed = subprocess.run(["tar", "-tJf", path], check=True, capture_output=True, text=True)
    assert listed.stderr == ""
    assert listed.stdout.splitlines() == [member.name for member in members]


def test_text_is_compressed_in_segments() -> None:
    """Lines survive being cut into segments, and no lines give an empty file."""
    lines = [f"./original/{number}\n".encode() for number in range(1000)]
    for pieces in (lines, []):
        file = io.BytesIO()
        write_xz(file, text_segments(pieces, size=100), threads=2, preset=0)
        assert lzma.decompress(file.getvalue()) == b"".join(pieces)
