"""Import: what the machine, or somebody else, does meanwhile costs no file and makes no row untrue."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import pyvips

from danbooru_pipeline.cli.shared import print_json
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DiskFull
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import original_path
from danbooru_pipeline.progress import Meter, counted
from danbooru_pipeline.store.imports import ImportReport, import_files, open_holdings, run
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Holding, examine
from danbooru_pipeline.store.imports.placing import place_proven
from danbooru_pipeline.store.imports.proof import Judged, judge
from danbooru_pipeline_tests.support.buckets import build_all
from danbooru_pipeline_tests.support.imported import YEAR, NewStore


def test_a_path_of_odd_bytes_is_told_to_programs(
    store: NewStore, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What could not be used below a path that is no UTF-8 is named in JSON, and the rest is taken."""
    folder = store.tree(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")))
    (folder / "original/0999").symlink_to("nowhere")
    report = store.take(folder)
    assert report.taken
    print_json(asdict(report))
    (problem,) = json.loads(capsysbinary.readouterr().out)["problems"]
    assert r"/\udcff/original/0999 (a symbolic link that leads to no folder)" in problem


def test_a_limit_on_the_size_of_files_is_named(store: NewStore, tmp_path: Path) -> None:
    """A process that may not write files so large says so, and an import without the limit takes them."""
    folder = store.tree(tmp_path / "tree")
    for path in folder.rglob("*.*"):
        path.chmod(0o600)  # so that it is copied
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(DiskFull, match=r"takes no file of this size .*ulimit -f"):
            store.take(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.take(folder).taken == len(store.files)


def files_in(folder: Path) -> list[Path]:
    """Every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def made_smaller(path: Path) -> None:
    """Write a PNG again with other bytes and the same pixels."""
    path.write_bytes(pyvips.Image.new_from_file(str(path)).pngsave_buffer(compression=9))


class Killed(Meter):
    """Ends an import after some files, which have their names in the store then, and no row."""

    def count_file(self, size: int, reason: str | None) -> None:
        """Count down, then break off."""
        super().count_file(size, reason)
        if self.files == 7:
            raise KeyboardInterrupt


def test_a_move_that_was_killed_is_completed_by_the_next(store: NewStore, tmp_path: Path) -> None:
    """The next move removes what the first one had given its name; a dry run foresees it, and nothing is lost."""
    tree = store.tree(tmp_path / "tree")
    with pytest.raises(KeyboardInterrupt):
        import_files(store.context, open_holdings([tree]), move=True, meter=Killed())
    foreseen = store.take(tree, move=True, dry_run=True)
    left = len(files_in(tree))
    done = store.take(tree, move=True)
    assert not files_in(tree)
    assert (foreseen.taken, foreseen.cleared) == (done.taken, done.cleared)
    assert done.cleared == left - done.taken > 0
    assert f"removed {counted(done.cleared, 'file')} that the store had already" in done.lines()
    for id_, (ext, data) in store.files.items():
        assert store.context.layout.original(id_, ext).read_bytes() == data


@pytest.mark.parametrize("built", [False, True])
def test_a_move_removes_what_the_store_has(store: NewStore, tmp_path: Path, *, built: bool) -> None:
    """Of a file that was imported before, or that a build has optimised since, the source goes; false bytes stay."""
    layout = store.context.layout
    store.take(store.tree(tmp_path / "before"))
    tree = store.tree(tmp_path / "tree")
    if built:
        build_all(store.context, YEAR)
    false = tree / original_path(store.of("png"), "png")
    false.unlink()
    false.write_bytes(b"other bytes")
    held = {path: sha256_of(path) for path in files_in(layout.store / "original")}
    done = store.take(tree, move=True)
    assert files_in(tree) == [false]
    assert (done.taken, done.cleared, done.kept) == (0, len(store.files) - 1, 1)
    assert "left in place: 1 file whose bytes the store is not proven to have" in done.lines()
    assert {path: sha256_of(path) for path in files_in(layout.store / "original")} == held


def test_a_move_leaves_the_source_of_a_rotten_file(store: NewStore, tmp_path: Path) -> None:
    """A store that has a row and a file of its size, but other bytes, does not have the file."""
    tree, png = store.tree(tmp_path / "tree"), store.of("png", 1)
    source = tree / original_path(png, "png")
    made_smaller(source)
    assert store.take(source.parent.parent).outcomes["pixel_hash"] == 1
    data = source.read_bytes()
    target = store.context.layout.original(png, "png")
    target.unlink()
    target.write_bytes(bytes(len(data)))
    done = store.take(tree, move=True)
    assert files_in(tree) == [source]
    assert done.kept == 1
    target.unlink()
    target.write_bytes(data)
    assert store.take(tree, move=True).cleared == 1
    assert not files_in(tree)


def _replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(bytes(path.stat().st_size))
    new.replace(path)


def _write_to(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(8))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # of a clock that ticks rarely


def _lead_elsewhere(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


CHANGES: list[Callable[[Path], None]] = [_replace, _write_to, Path.unlink]


@pytest.mark.parametrize("mode", [0o644, 0o600])
@pytest.mark.parametrize("change", [*CHANGES, _lead_elsewhere])
def test_only_what_was_proven_gets_a_name(tmp_path: Path, change: Callable[[Path], None], mode: int) -> None:
    """A file that is another one since it was proven gets no name in the store, whether it is linked or copied."""
    source, target = tmp_path / "source", tmp_path / "store/target"
    target.parent.mkdir()
    source.write_bytes(b"the bytes that were proven")
    source.chmod(mode)
    read = examine(source)
    assert place_proven(source, target, sha256=read.sha256, seen=read.identity, move=False) is (mode == 0o644)
    target.unlink()
    change(source)
    placed = place_proven(source, target, sha256=read.sha256, seen=read.identity, move=False)
    if change is _lead_elsewhere and mode == 0o600:  # copied: it has the proven bytes
        assert (placed, target.read_bytes()) == (False, b"the bytes that were proven")
    else:
        assert placed is None
        assert not list(target.parent.iterdir())


@pytest.mark.parametrize("change", CHANGES)
def test_a_row_describes_the_file_that_was_proven(
    store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """A file that its pixels prove, and that is changed before it gets its name, is not taken and has no row."""
    tree, png = store.tree(tmp_path / "tree"), store.of("png", 1)
    source = tree / original_path(png, "png")
    made_smaller(source)

    def judged_then_changed(context: RunContext, candidate: Candidate) -> Judged:
        judged = judge(context, candidate)
        if candidate.path == source:
            assert judged.outcome == "pixel_hash"
            change(source)
        return judged

    monkeypatch.setattr(run, "judge", judged_then_changed)
    done = store.take(tree, move=True)
    assert done.outcomes == {"md5": len(store.files) - 1, "unproven": 1}
    assert png not in store.ledger()
    assert not store.context.layout.original(png, "png").exists()
    assert files_in(tree) == ([source] if source.exists() else [])


def test_a_source_that_is_replaced_after_it_was_taken_stays(
    store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move removes the file that it took; what somebody puts in its place meanwhile stays and is counted."""
    tree, png = store.tree(tmp_path / "tree"), store.of("png", 1)
    source = tree / original_path(png, "png")

    class Replacing(Meter):
        def count_file(self, size: int, reason: str | None) -> None:
            super().count_file(size, reason)
            if store.context.layout.original(png, "png").exists() and source.stat().st_nlink > 1:
                _replace(source)

    done = import_files(store.context, open_holdings([tree]), move=True, meter=Replacing())
    assert done.taken == len(store.files)
    assert files_in(tree) == [source]
    assert "it is another file now" in done.problems[0]
    assert store.context.layout.original(png, "png").read_bytes() == store.files[png][1]


@dataclass
class Beside:
    """A holding that another import works beside: it has taken what it takes when the first bucket is looked at."""

    holding: Holding
    other: Callable[[], object]

    def __post_init__(self) -> None:
        self.title, self.place, self.can_move = self.holding.title, self.holding.place, self.holding.can_move

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Those of the holding."""
        self.other()
        yield from self.holding.buckets()


def test_two_imports_beside_each_other_say_what_is_left_in_the_end(store: NewStore, tmp_path: Path) -> None:
    """What one has taken since the other began is not left to fetch, and a build asks for what both name."""
    tree, copy = store.tree(tmp_path / "tree"), store.tree(tmp_path / "copy")
    lost = tree / original_path(store.of("png"), "png"), copy / original_path(store.of("png"), "png")
    for path in lost:
        path.unlink()
    first: list[ImportReport] = []
    (holding,) = open_holdings([copy])
    second = import_files(store.context, [Beside(holding, lambda: first.append(store.take(tree)))])
    assert (second.wanted, second.taken) == (first[0].wanted, 0)
    assert (second.left, second.left_bytes) == (first[0].left, first[0].left_bytes)
    assert store.requests_of_a_build() == second.left > 0
