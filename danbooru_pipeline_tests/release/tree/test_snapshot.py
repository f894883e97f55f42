"""Snapshots: planned, made as a whole, never half-visible, and never at the cost of an older release."""

import json
import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused, StoreError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import (
    Action,
    apply_snapshot,
    flip_current,
    plan_snapshot,
    published,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.tree import swap
from danbooru_pipeline.release_paths import RELEASE_JSON
from danbooru_pipeline_tests.support.system_calls import run_program
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, next_year, tree_state


def assert_nothing_hidden(layout: Layout) -> None:
    """Only releases, the link and locks are left."""
    hidden = [path.name for path in layout.releases.iterdir() if path.name.startswith(".")]
    assert all(name.endswith(".lock") for name in hidden)


def test_release_has_everything_and_verifies(yard: Yard) -> None:
    """A published tree has images, metadata, tables, lists and checksums, all read-only, and verifies."""
    folder = yard.release()
    assert verify_release(folder, full=True).lines()[-1].endswith("all is well")
    release = read_release(folder)
    assert (release.version, release.counts.posts, release.counts.tags) == ("2021.0", 17, 9)
    assert release.counts.tag_instances == 51
    assert release.counts.rejected == 2
    assert (release.cutoff, release.created_at) == ("2021-12-31T23:59:59.999Z", "2022-01-21T12:00:00.000Z")
    assert pq.read_table(folder / "parquet/posts-00000-of-00001.parquet").num_rows == 17
    assert (folder / "metadata/2021/tags000000000000.json").read_bytes() == yard.tables["tags"]
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}
    assert_nothing_hidden(yard.layout)


def test_release_says_what_was_accepted_as_missing(yard: Yard) -> None:
    """RELEASE.json has what is missing and why the publisher accepted it; another reason makes another version."""
    yard.manifest()
    release = yard.snapshot(DocumentOptions(accepted_incomplete={"tags": "gone upstream (the file of tags is empty)"}))
    again = yard.snapshot(DocumentOptions(accepted_incomplete={"tags": "lost"}))
    assert release.options["accepted_incomplete"] == {"tags": "gone upstream (the file of tags is empty)"}
    assert (release.version, again.version) == ("2021.0", "2021.1")
    assert "accepted_incomplete" not in DocumentOptions().as_dict()


def test_release_can_be_read_whatever_the_umask(yard: Yard) -> None:
    """Folders are open to readers as files are, even if the umask closes what is written."""
    before = os.umask(0o077)
    try:
        folder = yard.release()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*")) if path.is_dir()} == {0o755}
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o444}


def test_lists_are_as_readers_of_2021_expect(yard: Yard) -> None:
    """The file list is sorted as ``LC_ALL=C sort`` does, and ids that are not SFW are listed one per line."""
    folder = yard.release()
    lines = lzma.decompress((folder / "filelist.txt.xz").read_bytes()).splitlines()
    assert lines == sorted(lines)
    assert lines[0] == b"./512px/0001/12001.jpg"
    assert len(lines) == 17
    nsfw = [int(line) for line in (folder / "nsfw-ids.txt").read_text().splitlines()]
    assert nsfw == sorted(id_ for id_, row in yard.rows.items() if row["rating"] != "s")


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_checks_papers_and_one_bucket(yard: Yard) -> None:
    """In the release's folder, ``sha256sum`` is enough to check it."""
    folder = yard.release()
    for sums in ("SHA256SUMS", "checksums/original/0001.sha256", "checksums/512px/0001.sha256"):
        subprocess.run(["sha256sum", "--quiet", "--strict", "-c", sums], cwd=folder, check=True)


def test_images_are_links_and_not_copies(yard: Yard) -> None:
    """The images of a release take no space: they are links."""
    folder = yard.release()
    assert (folder / "original/0002/1002.jpg").samefile(yard.layout.original(1002, "jpg"))


def test_second_run_is_unchanged(yard: Yard) -> None:
    """The same inputs make no new release and touch no file."""
    before = tree_state(yard.release())
    yard.manifest()
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS)
    assert plan.action is Action.UNCHANGED
    assert plan.lines() == ["danbooru2021 2021.0 is published and nothing changed"]
    assert apply_snapshot(plan, created_at=NOW).version == "2021.0"
    assert tree_state(yard.layout.release(2021)) == before


def test_planning_changes_nothing(yard: Yard) -> None:
    """A plan says what would be linked and leaves the root unchanged."""
    yard.manifest()
    before = tree_state(yard.layout.root)
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS)
    assert plan.lines() == ["new: danbooru2021 2021.0", "would link 17 files (5.7 KiB)"]
    assert tree_state(yard.layout.root) == before


@pytest.mark.parametrize("change", ["posts", "tables", "settings"])
def test_other_inputs_make_a_new_version(yard: Yard, change: str) -> None:
    """A changed post, side table or image setting replaces the release as a whole, under the next version."""
    first = read_release(yard.release())
    settings = {"px512_quality": 80} if change == "settings" else IMAGE_SETTINGS
    if change == "posts":
        yard.post(1002, rating="e")
    if change == "tables":
        yard.tables["tags"] += b'{"id":"2"}\n'
    yard.manifest()
    plan = plan_snapshot(yard.layout, 2021, image_settings=settings)
    assert plan.action is Action.NEW_VERSION
    release = apply_snapshot(plan, created_at=NOW, threads=2)
    assert (release.version, release.replaces) == ("2021.1", first.ref)
    assert verify_release(yard.layout.release(2021), full=True).ok
    assert_nothing_hidden(yard.layout)


def test_next_year_leaves_the_old_release_as_it_was(yard: Yard) -> None:
    """Replaced, banned and new posts of 2022 change no byte and no inode of 2021, whose metadata is carried along."""
    old = yard.release()
    before = tree_state(old)
    new = next_year(yard).release()
    assert tree_state(old) == before
    assert verify_release(old, full=True).ok
    assert verify_release(new, full=True).ok
    assert (new / "original/0001/4001.jpg").read_bytes() != (old / "original/0001/4001.jpg").read_bytes()
    assert not (new / "original/0001/8001.jpg").exists()
    for name in ("posts", "tags"):
        path = f"metadata/2021/{name}000000000000.json"
        assert (new / path).samefile(old / path)
    assert read_release(new).previous == read_release(old).ref
    assert list(published(yard.layout)) == [2021, 2022]


def test_release_is_the_same_wherever_it_stands(yard: Yard, tmp_path: Path) -> None:
    """A release that was moved and renamed still verifies."""
    moved = tmp_path / "elsewhere" / "x"
    moved.parent.mkdir()
    shutil.move(yard.release(), moved)
    assert verify_release(moved, full=True).ok


def test_documents_are_covered_by_the_sums(yard: Yard) -> None:
    """SHA256SUMS lists the card and the rows of the 512px folder, though that is a folder of images."""
    sums = (yard.release() / "SHA256SUMS").read_text()
    assert "  README.md\n" in sums
    assert "  512px/metadata.parquet\n" in sums


def test_store_that_changed_since_the_manifest_is_refused(yard: Yard) -> None:
    """A file that went missing or changed after the manifest is named, and nothing is published."""
    yard.manifest()
    path = yard.layout.original(1002, "jpg")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"!")
    with pytest.raises(ReleaseRefused, match=r"image_altered  original/0002/1002\.jpg"):
        yard.snapshot()
    path.unlink()
    with pytest.raises(ReleaseRefused, match="is gone since the manifest"):
        yard.snapshot()
    assert published(yard.layout) == {}
    path.write_bytes(data)
    yard.snapshot()
    assert_nothing_hidden(yard.layout)


def test_plan_that_is_out_of_date_is_refused(yard: Yard) -> None:
    """Of two plans from the same state, only the first makes a release."""
    yard.manifest()
    plans = [plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS) for _ in range(2)]
    apply_snapshot(plans[0], created_at=NOW)
    with pytest.raises(ReleaseRefused, match="plan it again"):
        apply_snapshot(plans[1], created_at=NOW)


def test_foreign_folder_is_not_touched(yard: Yard) -> None:
    """A folder under the release's name that is not a release stops the plan."""
    yard.manifest()
    yard.layout.release(2021).mkdir(parents=True)
    with pytest.raises(StoreError, match="move it elsewhere"):
        plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (b"{", "cannot be read"),
        (b'{"tables": {"../x": {"status": "ok"}}}', "names a table"),
        (b'{"tables": {"notes": {"status": "ok"}}}', "notes of 2021 is missing"),
    ],
)
def test_damaged_report_of_side_tables_stops_the_plan(yard: Yard, report: bytes, message: str) -> None:
    """A report that names a path or a missing table is refused."""
    yard.manifest()
    yard.layout.side_tables_report(2021).write_bytes(report)
    with pytest.raises(ReleaseError, match=message):
        plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS)


def test_release_without_side_tables_can_be_made(yard: Yard) -> None:
    """Side tables are optional: without a report there are none."""
    yard.tables.clear()
    yard.manifest()
    yard.layout.side_tables_report(2021).unlink()
    assert yard.snapshot().inputs.side_tables == {}


def test_another_process_is_not_joined(yard: Yard) -> None:
    """While one process makes a release, a second one is refused."""
    yard.manifest()
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS)

    tried: list[str] = []

    def second(what: str, _done: int, _total: int) -> None:
        if not tried:
            tried.append(what)
            with pytest.raises(StoreError, match="another process"):
                apply_snapshot(plan, created_at=NOW)

    apply_snapshot(plan, created_at=NOW, progress=second)
    assert tried


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.mark.parametrize("version", ["new", "new version"])
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_swap_killed_between_renames_is_healed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, version: str, renames: int
) -> None:
    """Whichever rename was the last, the next plan sees a whole release and the next run finishes the swap."""
    if version == "new version":
        yard.release()
        yard.post(1002, rating="e")
    yard.manifest()
    done = 0

    def commit(part: Path, path: Path) -> None:
        nonlocal done
        if done == renames:
            raise Killed
        done += 1
        part.replace(path)

    with monkeypatch.context() as patch:
        patch.setattr(swap, "commit_part", commit)
        patch.setattr(swap, "leave_retired", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            yard.snapshot()
    for folder in published(yard.layout).values():
        assert verify_release(folder, full=True).ok
    release = yard.snapshot()
    assert release.version == ("2021.1" if version == "new version" else "2021.0")
    assert verify_release(yard.layout.release(2021), full=True).ok
    assert_nothing_hidden(yard.layout)


def test_half_done_swap_without_a_whole_new_tree_goes_back(yard: Yard) -> None:
    """If only the old version is complete, it becomes the release again."""
    folder = yard.release()
    before = tree_state(folder)
    folder.rename(yard.layout.retired(2021))
    yard.layout.staging(2021).mkdir()
    assert yard.snapshot().version == "2021.0"
    assert tree_state(folder) == before


PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_snapshot, plan_snapshot

plan = plan_snapshot(Layout(Path(sys.argv[1])), 2021, image_settings={"px512_quality": 90, "png_level": 2})
apply_snapshot(plan, created_at=datetime(2022, 1, 21, 12, tzinfo=UTC), threads=2)
"""


@pytest.mark.slow(6)
def test_killed_process_is_finished_by_the_next(yard: Yard) -> None:
    """Killed again and again, each time some calls later, the old release stands whole; a rerun ends the work."""
    yard.release()
    yard.post(1002, rating="e")
    yard.manifest()
    for call in (1, 18, 60, 115, 190):
        assert run_program(PROGRAM, yard.layout.root, at=call).killed
        for folder in published(yard.layout).values():
            assert verify_release(folder, full=True).ok
    release = yard.snapshot()
    assert release.version == "2021.1"
    assert verify_release(yard.layout.release(2021), full=True).ok
    assert_nothing_hidden(yard.layout)


def test_current_points_to_the_newest_year(yard: Yard) -> None:
    """The link is relative and only ever points at a finished release."""
    with pytest.raises(ReleaseError, match="no release yet"):
        flip_current(yard.layout)
    yard.release()
    assert flip_current(yard.layout) == yard.layout.release(2021)
    new = next_year(yard).release()
    (yard.layout.releases / "danbooru2023").mkdir()
    assert flip_current(yard.layout) == flip_current(yard.layout) == new
    assert yard.layout.current.readlink() == Path("danbooru2022")
    assert json.loads((yard.layout.current / RELEASE_JSON).read_bytes())["year"] == 2022
