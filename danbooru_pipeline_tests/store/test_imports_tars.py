"""Import: members of a tar are read as they lie in it, and what is taken does not depend on their order."""

import bz2
import gzip
import lzma
import os
import resource
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.imports import Holding, import_files, open_holdings
from danbooru_pipeline.store.imports.tars import TarHolding
from danbooru_pipeline_tests.support.imported import NewStore, names_of, pack

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.bz2": bz2.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_members_are_read_as_they_lie_in_the_tar(tmp_path: Path, suffix: str) -> None:
    """Nothing goes back within a bucket, nor between buckets that lie one after another: that unpacks it anew."""
    ids = [9_002, 1_002, 5_002, 8_001, 3_001, 4_001]
    path = tmp_path / f"0000.{suffix}"
    path.write_bytes(PACKED[suffix](pack((f"{id_}.png", str(id_).encode()) for id_ in (*ids, 1_002))))
    wanted = [Fetch(id_, "0" * 32, "png", file_size=None, rating=None, file_url=None) for id_ in sorted(ids)]
    (holding,) = open_holdings([path])
    found = [(c.fetch.id, c.path.read_bytes()) for _, find in holding.buckets() for c in find(iter(wanted), tmp_path)]
    in_order = [9_002, 1_002, 5_002, 1_002, 8_001, 3_001, 4_001]
    assert found == [(id_, str(id_).encode()) for id_ in in_order]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_outcomes_do_not_depend_on_the_order_of_members(store: NewStore, tmp_path: Path, suffix: str) -> None:
    """Sorted, reversed or shuffled, with a false member of the same name before or after, the same is taken."""
    members = names_of(store)
    false = (members[0][0], b"another file")
    counts = []
    for number, order in enumerate((members, members[::-1], Random(1).sample(members, len(members)))):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(PACKED[suffix](pack([false, *order])))
        report = store.take(path, dry_run=True)
        counts.append((report.outcomes, report.taken, report.left, report.problems))
    assert counts[0][0] == {"md5": len(members), "unproven": 1}
    assert counts[1:] == counts[:1] * 2
    path = tmp_path / f"last.{suffix}"
    path.write_bytes(PACKED[suffix](pack([*members, false])))
    assert store.take(path).taken == len(members)


class Unpacked:
    """Counts how often xz data is unpacked from its start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, real = 0, lzma.LZMADecompressor

        def counted(*args: Any, **more: Any) -> lzma.LZMADecompressor:
            self.count += 1
            return real(*args, **more)

        monkeypatch.setattr(lzma, "LZMADecompressor", counted)


def mixed_tar(folder: Path, *, buckets: int = 50, each: int = 4, cut: int = 0) -> tuple[Path, dict[int, bytes]]:
    """A tar in the order of ids, which takes all buckets in turn, and what its members hold."""
    files = {
        n * 1000 + bucket: f"{n} {bucket} ".encode() * 500 for n in range(1, each + 1) for bucket in range(buckets)
    }
    data = pack((f"{id_}.png", file) for id_, file in files.items())
    path = folder / "all.tar.xz"
    path.write_bytes(lzma.compress(data, preset=0)[: -cut or None])
    return path, files


def read_all(holding: Holding, ids: Iterable[int], scratch: Path) -> dict[int, bytes]:
    """What a holding offers of some posts, bucket by bucket as an import asks for them."""
    found = {}
    for bucket, find in holding.buckets():
        wanted = [Fetch(i, "0" * 32, "png", file_size=None, rating=None, file_url=None) for i in ids]
        for candidate in find(iter([fetch for fetch in wanted if bucket_of(fetch.id) == bucket]), scratch):
            found[candidate.fetch.id] = candidate.path.read_bytes()
            candidate.path.unlink()
    return found


def test_a_packed_tar_that_mixes_buckets_is_unpacked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for its headers and once for all members, however many buckets there are; nothing is left beside it."""
    path, files = mixed_tar(tmp_path)
    unpacked = Unpacked(monkeypatch)
    (tmp_path / "scratch").mkdir()
    assert read_all(TarHolding(path), files, tmp_path / "scratch") == files
    assert unpacked.count == 2
    assert list((tmp_path / "scratch").iterdir()) == []


def test_room_for_what_is_unpacked_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ten of fifty buckets fit, five passes follow the headers; where none fits, each has its own as before."""
    path, files = mixed_tar(tmp_path)
    a_bucket = max(sum(len(data) for id_, data in files.items() if id_ % 1000 == bucket) for bucket in range(50))
    for room, passes in ((10 * a_bucket, range(5, 7)), (0, range(50, 51))):
        monkeypatch.setattr("danbooru_pipeline.store.imports.spill.SPILL_BYTES", room)
        with monkeypatch.context() as patch:
            unpacked = Unpacked(patch)
            assert read_all(TarHolding(path), files, tmp_path) == files
            assert unpacked.count - 1 in passes


def test_buckets_that_the_store_has_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated import reads the headers alone, and one that lacks the last buckets unpacks only those."""
    path, files = mixed_tar(tmp_path)
    unpacked = Unpacked(monkeypatch)
    assert read_all(TarHolding(path), [], tmp_path) == {}
    assert unpacked.count == 1
    lacking = {id_: data for id_, data in files.items() if id_ % 1000 >= 48}
    assert read_all(TarHolding(path), lacking, tmp_path) == lacking
    assert unpacked.count == 3


def test_a_mixed_tar_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    """The members before the damage come, and the tar is named."""
    path, files = mixed_tar(tmp_path, cut=200)
    found: dict[int, bytes] = {}
    with pytest.raises(StoreError, match=r"all\.tar\.xz could not be read as a whole"):
        for bucket, find in TarHolding(path).buckets():
            wanted = [Fetch(i, "0" * 32, "png", file_size=None, rating=None, file_url=None) for i in files]
            of_bucket = iter([fetch for fetch in wanted if bucket_of(fetch.id) == bucket])
            found |= {c.fetch.id: c.path.read_bytes() for c in find(of_bucket, tmp_path)}
    assert len(files) > len(found) > len(files) // 2
    assert found == {id_: files[id_] for id_ in found}


def test_a_tar_that_needs_more_memory_than_there_is_is_named(tmp_path: Path) -> None:
    """One line says which tar it is and how to pack it anew."""
    path = tmp_path / "greedy.tar.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 3 * 2**29}]
    path.write_bytes(lzma.compress(pack([("1.png", b"x")]), filters=filters))
    child = os.fork()
    if child == 0:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 2**29, size + 2**29))
        try:
            list(TarHolding(path).buckets())
        except StoreError as error:
            said = f"{path} needs more memory to unpack than there is; pack it anew (`xz -dc | xz -9`)"
            os._exit(0 if str(error) == said else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert [bucket for bucket, _ in TarHolding(path).buckets()] == ["0001"]


def test_a_killed_import_of_a_mixed_tar_goes_on(store: NewStore, tmp_path: Path) -> None:
    """After a kill in the middle the same command takes the rest, and no unfinished file is left."""
    members = names_of(store)
    path = tmp_path / "all.tar.xz"
    path.write_bytes(lzma.compress(pack(members), preset=0))

    class Killer(Meter):
        def count_file(self, size: int, reason: str | None) -> None:
            super().count_file(size, reason)
            if self.files == len(members) // 2:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        import_files(store.context, open_holdings([path]), meter=Killer())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    folder = store.context.layout.store / "original"
    before = [each.name for each in folder.glob("*/*") if each.suffix != ".part"]
    assert 0 < len(before) < len(members)
    report = store.take(path)
    assert report.problems == ()
    assert report.taken + report.outcomes["present"] == len(members)
    assert {each.name for each in folder.glob("*/*")} == {name for name, _ in members}
