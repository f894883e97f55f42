"""Import: files that exist elsewhere are taken when they are proven, and only then."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import pyvips

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import bucket_of, original_path
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.columns import PX512_FACTS
from danbooru_pipeline.store.imports import import_files, open_holdings
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline_tests.support.buckets import buckets_of, build_all
from danbooru_pipeline_tests.support.imported import YEAR, NewStore, as_another_user, write_release
from danbooru_pipeline_tests.support.system_calls import run_program


def test_a_release_is_restored_without_a_request(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """Every file of the last release comes by its SHA-256, with the facts that the manifest has; none is asked for."""
    release = write_release(store.context, tmp_path / "release")
    report = fresh.take(release)
    assert report.taken == report.wanted == report.outcomes["sha256"] > len(fresh.files) - 1
    assert (report.left, report.linked) == (0, report.taken)
    assert fresh.requests_of_a_build() == 0
    old, new = store.ledger(), fresh.ledger()
    for id_, row in new.items():
        if row.status is Status.OK:
            assert (row.sha256, row.fetched_md5, row.optimized) == (
                old[id_].sha256,
                old[id_].fetched_md5,
                old[id_].optimized,
            )
            assert row.first_release == 2020
    assert fresh.take(release).outcomes == {}  # nothing is left to look at


def test_512px_images_of_a_release_come_with_it(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """Those that the manifest's SHA-256 proves are taken, so a build makes none of them again, nor what cannot be."""
    release = write_release(store.context, tmp_path / "release")
    small = sorted(release.glob("512px/*/*.jpg"))
    rotten = int(small[0].stem)
    small[0].unlink()
    small[0].write_bytes(b"\xff\xd8 of another picture")
    report = fresh.take(release)
    assert report.px512 == len(small) - 1 > 5
    old, new = store.ledger(), fresh.ledger()
    for id_, row in new.items():
        is_known = id_ != rotten and old[id_].px512_settings is not None
        facts = (*PX512_FACTS, "px512_reason", "px512_settings")
        wanted = old[id_] if is_known else LedgerRow(id=id_, md5=row.md5, ext=row.ext)
        assert [getattr(row, name) for name in facts] == [getattr(wanted, name) for name in facts]
    inodes = {path: path.stat().st_ino for path in fresh.context.layout.store.glob("512px/*/*.jpg")}
    made = {b: build_px512(fresh.context, b, YEAR).made for b in buckets_of(fresh.context, YEAR)}
    assert sum(made.values()) == 1
    assert all(path.stat().st_ino == inode for path, inode in inodes.items())
    assert fresh.ledger()[rotten].px512_sha256 == old[rotten].px512_sha256


@pytest.mark.parametrize("said", [None, {"px512_quality": 85}])
def test_512px_images_of_other_settings_are_made_anew(
    fresh: NewStore, store: NewStore, tmp_path: Path, said: dict[str, int] | None
) -> None:
    """Images of other settings, or of unknown ones, are left to the build; the originals are taken all the same."""
    release = write_release(store.context, tmp_path / "release")
    settings = {"image_settings": store.context.image_settings.as_dict() | said} if said else {"image_settings": said}
    (release / "RELEASE.json").write_text(json.dumps(settings))
    report = fresh.take(release)
    assert (report.px512, report.left) == (0, 0)
    assert not list(fresh.context.layout.store.glob("512px/*/*.jpg"))
    assert all(row.px512_settings is None for row in fresh.ledger().values())


def test_what_does_not_fit_the_manifest_is_not_taken(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """A rotten file is fetched; an altered manifest is refused as a whole."""
    release = write_release(store.context, tmp_path / "release")
    id_ = fresh.of("png")
    path = release / original_path(id_, "png")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    assert fresh.take(release).outcomes["unproven"] == 1
    assert fresh.requests_of_a_build() == 1
    (release / "SHA256SUMS").write_text("0" * 64 + "  manifest/files-00000-of-00001.parquet\n")
    (problem,) = fresh.take(release).problems
    assert "verify the release first" in problem


def test_a_tree_of_source_files_is_taken_by_md5(store: NewStore, tmp_path: Path) -> None:
    """Files that nobody optimised are proven by MD5; the build optimises them and asks for nothing of them."""
    tree = store.tree(tmp_path / "tree")
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in tree.rglob("*.*")}
    report = store.take(tree)
    assert report.outcomes == {"md5": len(store.files)}
    assert store.take(tree).outcomes == {"present": len(store.files)}
    assert store.requests_of_a_build() == report.left
    assert {path: (path.stat().st_ino, path.read_bytes()) for path in before} == before
    assert all(row.pixel_hash for row in store.ledger().values() if row.status is Status.OK)


@pytest.mark.needs("optipng", "jpegoptim")
def test_a_tree_of_2021_is_taken_by_pixel_hash(store: NewStore, tmp_path: Path) -> None:
    """Files that optipng and jpegoptim made smaller are proven by their pixels; only what is not proven is fetched."""
    tree = store.tree(tmp_path / "tree")
    for names, command in (("*.png", ("optipng", "-quiet", "-o1")), ("*.jp*g", ("jpegoptim", "--quiet"))):
        # Both tools end with an error if one file of many is broken.
        subprocess.run([*command, *map(str, tree.rglob(names))], check=False, capture_output=True)
    report = store.take(tree)
    without = len(store.files)
    # The tools also wrote a 16-bit and a broken picture again, whose pixels prove nothing.
    assert report.outcomes["pixel_hash"] >= 3
    assert report.outcomes["unproven"] <= 2
    assert report.taken == len(store.files) - report.outcomes["unproven"]
    asked = store.requests_of_a_build()
    # Both numbers are what this test shows.
    print(f"requests for files: {asked + report.taken} without the import, {asked} with it")  # noqa: T201
    assert asked == report.left <= without // 4
    proven = [row for row in store.ledger().values() if row.fetched_md5 is None and row.status is Status.OK]
    assert len(proven) == report.outcomes["pixel_hash"]
    assert all(row.pixel_hash_matches and row.optimized for row in proven)


def test_lossless_optimization_is_proven_without_the_distributions_tools(store: NewStore, tmp_path: Path) -> None:
    """The same with files that libvips wrote again."""
    id_ = store.of("png", 1)  # the first has 16 bits, of which the site hashes half: never proven
    tree = store.tree(tmp_path / "tree")
    path = tree / original_path(id_, "png")
    path.write_bytes(pyvips.Image.new_from_file(str(path)).pngsave_buffer(compression=9))
    report = store.take(tree)
    assert report.outcomes == {"md5": len(store.files) - 1, "pixel_hash": 1}
    assert store.ledger()[id_].sha256 == sha256_of(path)
    assert store.requests_of_a_build() == report.left


@pytest.mark.parametrize(("ext", "into"), [("png", "webp"), ("jpg", "png")])
def test_pictures_of_another_type_are_not_taken(store: NewStore, tmp_path: Path, ext: str, into: str) -> None:
    """A file that was converted without loss has the post's pixels under the post's name, and is not its file."""
    id_ = store.of(ext, 1)
    tree = store.tree(tmp_path / "tree")
    path = tree / original_path(id_, ext)
    picture = pyvips.Image.new_from_file(str(path))
    options = {"lossless": True, "exact": True} if into == "webp" else {}
    path.write_bytes(picture.write_to_buffer(f".{into}", **options))
    said = {post["id"]: post["media_asset"]["pixel_hash"] for post in store.booru.truth(YEAR) if post["id"] == id_}
    assert pixel_hash_of(path) == said[id_]
    assert store.take(tree).outcomes == {"md5": len(store.files) - 1, "unproven": 1}


def test_what_was_imported_is_not_opened_to_others(store: NewStore, tmp_path: Path) -> None:
    """A release makes its files read-only for all: linked ones can no longer be written, private ones are copied."""
    tree = store.tree(tmp_path / "tree")
    private, shared = sorted(path for path in tree.rglob("*.*") if path.is_file())[:2]
    private.chmod(0o640)
    shared.chmod(0o664)
    report = store.take(tree)
    assert (report.taken, report.linked) == (len(store.files), len(store.files) - 1)
    for path in (private, shared):
        list_files(store.context.layout.original_bucket(path.parent.name), read_only=True)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (private, shared)] == [0o640, 0o444]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of two users")
def test_a_file_of_another_user_becomes_read_only_as_a_copy(tmp_path: Path) -> None:
    """Where the mode of a linked file is not ours to set, a copy with its bytes and time takes its place."""
    theirs, folder = tmp_path / "theirs.png", tmp_path / "0000"
    theirs.write_bytes(b"picture")
    theirs.chmod(0o664)
    folder.mkdir()
    (folder / "1000.png").hardlink_to(theirs)
    assert as_another_user(folder, lambda: list_files(Path(), read_only=True) == {"1000.png": 7})
    ours = folder / "1000.png"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (theirs, ours)] == [0o664, 0o444]
    assert ours.read_bytes() == b"picture"
    assert (ours.stat().st_mtime_ns, theirs.stat().st_nlink) == (theirs.stat().st_mtime_ns, 1)
    assert [path.name for path in folder.iterdir()] == ["1000.png"]


def test_false_files_are_not_taken(store: NewStore, tmp_path: Path) -> None:
    """One changed pixel, another post's file, a re-encoded JPEG, a link, an empty and a half file: all are fetched."""
    tree = store.tree(tmp_path / "tree")
    pngs, jpgs = ([tree / original_path(store.of(ext, n), ext) for n in range(3)] for ext in ("png", "jpg"))
    pixels = pyvips.Image.new_from_file(str(pngs[0])).numpy().copy()
    pixels[0, 0, 0] ^= 1
    pngs[0].write_bytes(pyvips.Image.new_from_array(pixels).pngsave_buffer())
    pngs[1].write_bytes(pngs[2].read_bytes())
    jpgs[0].write_bytes(pyvips.Image.new_from_file(str(jpgs[0])).jpegsave_buffer(Q=95))
    jpgs[1].write_bytes(b"")
    half = jpgs[2].read_bytes()
    jpgs[2].write_bytes(half[: len(half) // 2])
    pngs[2].unlink()
    pngs[2].symlink_to(jpgs[0])
    report = store.take(tree)
    assert report.outcomes == {"md5": len(store.files) - 6, "unproven": 5}
    assert not any(store.context.layout.original(int(path.stem), path.suffix[1:]).exists() for path in (*pngs, *jpgs))
    assert store.requests_of_a_build() == report.left


def test_a_dry_run_changes_nothing_and_says_the_same(store: NewStore, tmp_path: Path) -> None:
    """Its counts are those of the import that follows; the store stays as it was."""
    tree = store.tree(tmp_path / "tree")
    before = sorted(store.context.layout.store.rglob("*"))
    foreseen = store.take(tree, dry_run=True)
    assert sorted(store.context.layout.store.rglob("*")) == before
    done = store.take(tree)
    assert (foreseen.outcomes, foreseen.taken, foreseen.left) == (done.outcomes, done.taken, done.left)


def test_move_removes_what_was_taken_and_nothing_else(store: NewStore, tmp_path: Path) -> None:
    """An unproven file stays where it is; a release is never taken apart."""
    tree = store.tree(tmp_path / "tree")
    false = tree / original_path(store.of("png"), "png")
    false.write_bytes(b"x")
    store.take(tree, move=True)
    assert [path for path in tree.rglob("*.*") if path.is_file()] == [false]
    (tree / "manifest").mkdir()
    (tree / "RELEASE.json").write_text("{}")
    with pytest.raises(StoreError, match="without --move"):
        store.take(tree, move=True)


def test_files_that_cannot_be_removed_are_taken_and_counted(
    store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move from a file system that can only be read takes what it takes without `move`, and says what stays."""
    tree, remove = store.tree(tmp_path / "tree"), Path.unlink

    def read_only(path: Path, *, missing_ok: bool = False) -> None:
        if path.is_relative_to(tree):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        remove(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", read_only)
    done = store.take(tree, move=True)
    assert done.taken > 0
    assert f"{done.taken} files were taken and could not be removed: {tree}" in done.problems[0]
    assert "Read-only file system" in done.problems[0]


@pytest.mark.parametrize("name", ["", "linked", "releases/danbooru2021"])
def test_what_the_root_has_is_never_moved(store: NewStore, tmp_path: Path, name: str) -> None:
    """A move of the store itself, by whatever path, or of a release of this root is refused and removes nothing."""
    layout = store.context.layout
    build_all(store.context, YEAR)
    shutil.rmtree(layout.store / "ledger")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/original").symlink_to(layout.store / "original")
    store.tree(layout.release(2021))
    before = sorted(layout.root.rglob("*.*"))
    path = tmp_path / name if name == "linked" else layout.root / name if name else layout.store
    with pytest.raises(StoreError, match="keeps its files"):
        store.take(path, move=True)
    assert sorted(layout.root.rglob("*.*")) == before


def test_a_moved_file_goes_though_the_store_has_it_as_a_link(store: NewStore, tmp_path: Path) -> None:
    """After a kill between the file's name and its removal both names are there; only the other one is removed."""
    build_all(store.context, YEAR)
    layout, tree = store.context.layout, tmp_path / "tree"
    png = store.of("png", 1)
    source, target = tree / original_path(png, "png"), layout.original(png, "png")
    source.parent.mkdir(parents=True)
    target.write_bytes(pyvips.Image.new_from_file(str(target)).pngsave_buffer(compression=9))
    source.hardlink_to(target)
    layout.ledger(bucket_of(png)).unlink()
    assert store.take(tree, move=True).outcomes["pixel_hash"] == 1
    assert target.exists()
    assert not source.exists()


def test_files_of_hidden_posts_are_not_looked_for(store: NewStore, tmp_path: Path) -> None:
    """The site's row of a hidden post has a pixel hash, and no file is taken by it."""
    hidden = [p for p in store.booru.truth(YEAR) if not p.get("file_url")]
    assert any((p.get("media_asset") or {}).get("pixel_hash") for p in hidden)
    for post in hidden:
        path = tmp_path / "tree" / original_path(post["id"], "png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.files[store.of("png")][1])
    assert store.take(tmp_path / "tree").outcomes == {}


def test_posts_come_first(settings: Settings, tmp_path: Path) -> None:
    """Without the posts of a year there is nothing to prove a file with, and the message says what to run."""
    with RunContext(settings) as context, pytest.raises(StoreError, match="build YEAR --buckets none"):
        import_files(context, open_holdings([tmp_path]))


KILLED = """
import os, signal, sys
from pathlib import Path
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.imports import import_files, open_holdings

class Dying(Meter):
    def count_file(self, size, reason):
        super().count_file(size, reason)
        if self.files == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

address = "http://127.0.0.1:9"
settings = Settings(root=Path(sys.argv[1]), api_url=address, cdn_url=address, png_level=0, workers=2)
with RunContext(settings) as context:
    import_files(context, open_holdings([Path(sys.argv[2])]), meter=Dying())
"""


def test_an_import_killed_by_sigkill_is_completed_by_the_next(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """After SIGKILL no row describes a missing file; the next import takes the rest, and a build asks for nothing."""
    release = write_release(store.context, tmp_path / "release")
    root = str(fresh.context.layout.root)
    command = [sys.executable, "-c", KILLED, root, str(release), "9"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -signal.SIGKILL
    for row in fresh.ledger().values():
        assert sha256_of(fresh.context.layout.original(row.id, row.held_ext or "")) == row.sha256
    report = fresh.take(release)
    assert (report.left, report.problems) == (0, ())
    assert not list(fresh.context.layout.store.rglob(".*.part"))
    assert fresh.requests_of_a_build() == 0


PROGRAM = """
import sys
from pathlib import Path
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.imports import import_files, open_holdings

address = "http://127.0.0.1:9"
settings = Settings(root=Path(sys.argv[1]), api_url=address, cdn_url=address, png_level=0, workers=1)
with RunContext(settings) as context:
    import_files(context, open_holdings([Path(sys.argv[2])]))
"""


def test_what_a_killed_import_left_is_cleared_by_the_next(
    fresh: NewStore, store: NewStore, settings: Settings, tmp_path: Path
) -> None:
    """Killed at any call, an import leaves no unfinished file for the one after it, and all comes without a request."""
    release, root = write_release(store.context, tmp_path / "release"), fresh.context.layout.root
    whole = {path.relative_to(store.context.layout.store) for path in store.context.layout.store.glob("512px/*/*")}
    shutil.copytree(root, tmp_path / "0")
    calls = run_program(PROGRAM, tmp_path / "0", release).calls
    left = 0
    for at in range(calls // 3, calls // 3 + 13):  # a file, its 512px image and its row
        place = shutil.copytree(root, tmp_path / str(at))
        assert run_program(PROGRAM, place, release, at=at).killed
        left += len(list((place / "store").rglob(".*.part")))
        with RunContext(settings.model_copy(update={"root": place})) as context:
            again = NewStore(context, store.booru, store.files)
            report = again.take(release)
            assert (report.left, report.problems) == (0, ())
            assert not list((place / "store").rglob(".*.part"))
            if at % 8 == 0:
                assert again.requests_of_a_build() == 0
                assert {path.relative_to(place / "store") for path in place.glob("store/512px/*/*")} == whole
    assert left, "no kill left anything"


class _Breaking(Meter):
    """Stops an import right after a file got its name, before its row is written."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def count_file(self, size: int, reason: str | None) -> None:
        """Count down, then break off."""
        super().count_file(size, reason)
        if self.files == self._after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 7])
def test_an_import_that_breaks_off_is_completed_by_the_next(
    fresh: NewStore, store: NewStore, tmp_path: Path, after: int
) -> None:
    """No row describes a missing file, a file without its row is proven again, and nothing is asked for in the end."""
    release = write_release(store.context, tmp_path / "release")
    with pytest.raises(KeyboardInterrupt):
        import_files(fresh.context, open_holdings([release]), meter=_Breaking(after))
    for row in fresh.ledger().values():
        assert fresh.context.layout.original(row.id, row.held_ext or "").exists()
    report = fresh.take(release)
    assert (report.left, report.problems) == (0, ())
    assert fresh.requests_of_a_build() == 0
