"""Import: places that change while they are read, and moves that were killed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import original_path
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.imports import import_files, open_holdings, run
from danbooru_pipeline.store.imports.candidates import Candidate
from danbooru_pipeline.store.imports.proof import Judged, judge
from danbooru_pipeline_tests.support.imported import NewStore, write_release


def _replace(path: Path) -> None:
    path.with_name("new").write_bytes(b"another file")
    path.with_name("new").replace(path)


def _write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"another")


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


CHANGES = [_replace, _write, _link, Path.unlink]


def change_after_proof(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[Path], None]) -> None:
    """Change a file at the worst moment: after it was proven, before the store has it."""

    def judged_and_changed(context: RunContext, candidate: Candidate) -> Judged:
        judged = judge(context, candidate)
        if candidate.path.name == name:
            change(candidate.path)
        return judged

    monkeypatch.setattr(run, "judge", judged_and_changed)


@pytest.mark.parametrize("move", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_its_proof_is_not_taken(
    store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], *, move: bool
) -> None:
    """The store gets no byte that nothing proves, the others are taken, and a move leaves what is there now."""
    tree, id_ = store.tree(tmp_path / "tree"), store.of("png")
    source = tree / original_path(id_, "png")
    change_after_proof(monkeypatch, source.name, change)
    report = store.take(tree, move=move)
    rest = len(store.files) - 1
    assert (report.taken, report.outcomes) == (rest, {"md5": rest, "unproven": 1})
    assert report.left == store.take(tree, dry_run=True).wanted
    target = store.context.layout.original(id_, "png")
    assert not os.path.lexists(target)
    assert not list(store.context.layout.store.rglob(".*.part"))
    assert os.path.lexists(source) == (change is not Path.unlink)


@pytest.mark.parametrize("folder", ["original", "512px"])
def test_a_release_that_changes_after_its_proof_is_not_taken(
    fresh: NewStore, store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """No row says of a file or of its 512px image what is not true of it any more."""
    release = write_release(store.context, tmp_path / "release")
    victim = next((release / folder).rglob("*.jpg"))
    original = next((release / "original").rglob(f"{victim.stem}.*"))
    change_after_proof(monkeypatch, original.name, lambda _path: _replace(victim))
    report = fresh.take(release)
    row, layout = fresh.ledger().get(int(victim.stem)), fresh.context.layout
    assert report.outcomes.get("unproven", 0) == (folder == "original")
    assert (row is None) == (folder == "original")
    assert row is None or row.px512_sha256 is None
    assert layout.px512(int(victim.stem)).exists() is False
    assert b"another file" not in {path.read_bytes() for path in layout.store.rglob("*.jpg")}


def test_a_move_keeps_a_file_that_came_in_its_place(store: NewStore, tmp_path: Path) -> None:
    """What has the name when it should be removed is not what was taken, so it stays, and the report names it."""
    tree, id_ = store.tree(tmp_path / "tree"), store.of("png")
    source, target = tree / original_path(id_, "png"), store.context.layout.original(id_, "png")

    class Replacing(Meter):
        def count_file(self, size: int, reason: str | None) -> None:
            super().count_file(size, reason)
            if target.exists():
                _replace(source)

    report = import_files(store.context, open_holdings([tree]), meter=Replacing(), move=True)
    assert report.problems == (f"1 file was taken and could not be removed: {source} (it is another file now)",)
    assert source.read_bytes() == b"another file"
    assert target.read_bytes() == store.files[id_][1]


def test_a_killed_move_is_finished_by_the_next(store: NewStore, tmp_path: Path) -> None:
    """Names that the killed one left go: the store's own files, and a copy whose bytes the store has."""
    tree = store.tree(tmp_path / "tree")
    kept = tree / "original" / "0000" / "note.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("not a post's")

    class Killer(Meter):
        def count_file(self, size: int, reason: str | None) -> None:
            super().count_file(size, reason)
            if self.files == len(store.files) // 2:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        import_files(store.context, open_holdings([tree]), meter=Killer(), move=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    held = {path.name for path in store.context.layout.store.glob("original/*/[!.]*")}
    left = {path.name for path in tree.rglob("*.*") if path.is_file()} - {kept.name}
    assert held & left, "the kill came between a file's name and its removal"
    copied = min(left - held)
    again = store.context.layout.store / original_path(int(copied.partition(".")[0]), copied.partition(".")[2])
    again.parent.mkdir(parents=True, exist_ok=True)
    again.write_bytes(next(tree.rglob(copied)).read_bytes())
    report = store.take(tree, move=True)
    assert report.problems == ()
    assert {path.name for path in tree.rglob("*.*") if path.is_file()} == {kept.name}
    names = {path.name for path in store.context.layout.store.glob("original/*/*")}
    assert names == {f"{id_}.{ext}" for id_, (ext, _) in store.files.items()}
