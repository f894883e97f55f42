"""A version names one set of bytes for ever: whatever a backup brings back, no number is used twice."""

import shutil
from pathlib import Path

import pytest

from danbooru_pipeline.errors import DamagedFile, NewerFile, ReleaseError, ReleaseRefused
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import (
    Release,
    ReleaseRef,
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.tree.versions import next_version, read_published, record_published
from danbooru_pipeline_tests.support.system_calls import run_program
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

#: A takedown that dies right after its first version is in the record.
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline.release.tree import snapshot
snapshot.swap_in = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
layout = Layout(Path(sys.argv[1]))
apply_takedown(plan_takedown(layout, [1002]), created_at=datetime(2022, 1, 22, tzinfo=UTC), threads=1)
"""


def take_down(layout: Layout, *ids: int) -> list[Release]:
    """Take posts down, or finish what was begun."""
    return apply_takedown(plan_takedown(layout, ids), created_at=NOW, threads=1)


def restore(layout: Layout, backup: Path, *years: int) -> None:
    """Put releases back as they were."""
    for year in years:
        shutil.rmtree(layout.release(year), ignore_errors=True)
        shutil.copytree(backup / f"danbooru{year}", layout.release(year))


@pytest.fixture
def backup(two_years: Yard, tmp_path: Path) -> Path:
    """A backup of both releases."""
    return shutil.copytree(two_years.layout.releases, tmp_path / "backup", symlinks=True)


@pytest.mark.parametrize("record", [True, False])
def test_takedown_after_a_restore_makes_another_version(two_years: Yard, backup: Path, *, record: bool) -> None:
    """The release from the backup becomes 2021.2, since the later year names 2021.1; with a record and without."""
    layout = two_years.layout
    first, _ = take_down(layout, 1002)
    if not record:  # as in roots of earlier versions
        layout.published_versions.unlink()
    restore(layout, backup, 2021)
    assert "would make danbooru2021 2021.2 in place of 2021.0" in plan_takedown(layout, [1002]).lines()
    (again,) = take_down(layout)
    assert (first.version, again.version) == ("2021.1", "2021.2")
    assert (again.replaces and again.replaces.version) == "2021.0"
    assert read_release(layout.release(2022)).previous == first.ref
    assert (layout.release(2021) / "changes/2021.2-from-2021.0.remove.txt").is_file()
    assert all(verify_release(layout.release(year), full=True).ok for year in (2021, 2022))


def test_restore_of_all_releases_uses_no_version_twice(two_years: Yard, backup: Path) -> None:
    """Where no release that is left names the versions of before, the record does."""
    layout = two_years.layout
    made = take_down(layout, 1002)
    restore(layout, backup, 2021, 2022)
    again = take_down(layout)
    assert [each.version for each in (*made, *again)] == ["2021.1", "2022.1", "2021.2", "2022.2"]
    listed = read_published(layout)
    assert [ref for ref in listed if ref.version[5:] != "0"] == [each.ref for each in (*made, *again)]
    assert len({(ref.name, ref.version) for ref in listed}) == len(listed)


def test_build_after_a_restore_makes_another_version(two_years: Yard, backup: Path) -> None:
    """A build gets the same number as a takedown would, and a release that is lost is no reason to begin at .0."""
    layout = two_years.layout
    two_years.post(9009, rating="g")
    two_years.manifest()
    made = apply_snapshot(plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS), created_at=NOW, threads=1)
    restore(layout, backup, 2022)
    assert (made.version, plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS).version) == ("2022.1", "2022.2")
    shutil.rmtree(layout.release(2022))
    assert plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS).version == "2022.2"
    assert next_version(layout, 2023) == "2023.0"


def test_replaced_version_that_stays_counts(two_years: Yard, backup: Path) -> None:
    """The name of a folder in its grace period is enough."""
    layout = two_years.layout
    layout.published_versions.unlink()
    shutil.copytree(backup / "danbooru2021", layout.superseded("2021.7"))
    assert next_version(layout, 2021) == "2021.8"


def test_version_from_which_a_post_is_gone_counts(two_years: Yard) -> None:
    """What `removals.jsonl` of any release says was published, too."""
    layout = two_years.layout
    layout.published_versions.unlink()
    path = layout.release(2022) / "removals.jsonl"
    path.unlink()
    path.write_text('{"id":77,"gone_from":"2021.4"}\n')
    assert next_version(layout, 2021) == "2021.5"


@pytest.mark.parametrize("end", ["same", "other"])
def test_kill_between_record_and_rename_uses_no_version_twice(two_years: Yard, end: str) -> None:
    """The same takedown publishes the very tree that it left; another one gets a number above it."""
    layout = two_years.layout
    assert run_program(KILLED, layout.root, at=10**9).killed
    (left,) = [ref for ref in read_published(layout) if ref.version == "2021.1"]
    assert read_release(layout.release(2021)).version == "2021.0"
    first, _ = take_down(layout, *([] if end == "same" else [5002]))
    if end == "same":
        assert (first.ref, first.created_at) == (left, "2022-01-22T00:00:00.000Z")
    else:
        assert first.version == "2021.2"
    assert verify_release(layout.release(2021), full=True).ok


def test_build_that_was_killed_and_then_changed_gets_another_version(
    two_years: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree that is whole and no longer wanted keeps its number to itself."""
    layout = two_years.layout

    def build(maker: str) -> str:
        options = DocumentOptions(maker=maker)
        plan = plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS, options=options)
        return apply_snapshot(plan, created_at=NOW, threads=1).version

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("danbooru_pipeline.release.tree.snapshot.swap_in", interrupted)
        build("A")
    assert build("B") == "2022.2"
    assert build("A") == "2022.3"


def interrupted(*_: object) -> None:
    """What stands for a kill at this place."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"releases": [{"name": "danbooru2021"}]}', b'{"releases": [{"na']
)
def test_damaged_record_stops_what_would_be_published(two_years: Yard, text: bytes) -> None:
    """It is named; a build and a takedown publish nothing, and what stands stays as it is."""
    layout = two_years.layout
    layout.published_versions.write_bytes(text)
    two_years.post(9009, rating="g")
    two_years.manifest()
    with pytest.raises(DamagedFile, match=r"published\.json"):
        plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    with pytest.raises(ReleaseRefused, match=r"published\.json"):
        apply_takedown(plan_takedown(layout, [1002]), created_at=NOW, threads=1)
    assert [read_release(layout.release(year)).version for year in (2021, 2022)] == ["2021.0", "2022.0"]
    assert layout.published_versions.read_bytes() == text


def test_record_of_a_later_version_is_never_rewritten(two_years: Yard) -> None:
    """A field that this version does not know would be lost."""
    path = two_years.layout.published_versions
    path.write_text('{"releases": [{"name": "a", "version": "b", "sha256sums_sha256": "c", "by": "d"}]}')
    with pytest.raises(NewerFile, match="field by"):
        next_version(two_years.layout, 2021)


def test_second_content_of_a_version_is_refused(two_years: Yard) -> None:
    """The last look, under the publication lock: the same bytes are no second content."""
    layout = two_years.layout
    ref = read_release(layout.release(2021)).ref
    before = layout.published_versions.read_bytes()
    record_published(layout, ref)
    assert layout.published_versions.read_bytes() == before
    with pytest.raises(ReleaseRefused, match="with other content"):
        record_published(layout, ReleaseRef(name=ref.name, version=ref.version, sha256sums_sha256="0" * 64))


def test_release_that_cannot_be_read_counts_where_the_record_knows_nothing(two_years: Yard) -> None:
    """Without a record it might name a version, so it is named; with one, it holds up no other year."""
    layout = two_years.layout
    path = layout.release_json(2022)
    path.unlink()
    path.write_text("{")
    assert next_version(layout, 2021) == "2021.1"
    layout.published_versions.unlink()
    with pytest.raises(ReleaseError, match="danbooru2022"):
        next_version(layout, 2021)
    assert read_published(layout) == ()
