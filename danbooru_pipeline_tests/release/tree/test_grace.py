"""Replaced versions stay for a while, and nothing that must not be served stays with them."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    plan_snapshot,
    plan_takedown,
    published,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.tree.grace import end_grace
from danbooru_pipeline_tests.support.system_calls import run_program
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.trees import contents
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, next_year, small_yard

VICTIM = 1002
WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def _replaced(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    yard = small_yard(tmp_path_factory.mktemp("grace") / "root")
    yard.release()
    again(yard, "somebody")
    return yard


@pytest.fixture
def replaced(_replaced: Yard, tmp_path: Path) -> Yard:
    """A release in version 2021.1, with 2021.0 in its grace period."""
    return _replaced.copied(tmp_path / "root")


def again(yard: Yard, maker: str, *, days: int = 0) -> None:
    """Make the release again, by another publisher, some days later."""
    yard.manifest()
    options = DocumentOptions(maker=maker)
    plan = plan_snapshot(yard.layout, yard.year, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW + timedelta(days=days), threads=1, keep_replaced=True)


def kept(layout: Layout) -> list[str]:
    """Names of the versions in their grace period."""
    return [folder.name for folder in layout.superseded_releases]


def take_down(layout: Layout, *ids: int) -> None:
    """Take posts down, or finish what was begun."""
    apply_takedown(plan_takedown(layout, ids), created_at=NOW, threads=1)


def test_replaced_version_stays_whole_until_its_time_is_over(replaced: Yard) -> None:
    """2021.0 is a release beside 2021.1, is none of the published ones, and goes a week after 2021.1 was made."""
    layout = replaced.layout
    old = layout.superseded("2021.0")
    assert kept(layout) == [old.name] == ["danbooru2021.0"]
    assert (read_release(old).version, read_release(layout.release(2021)).version) == ("2021.0", "2021.1")
    assert verify_release(old, full=True).ok
    assert list(published(layout)) == [2021]
    assert end_grace(layout, now=NOW + WEEK - timedelta(seconds=1), grace=WEEK) == []
    assert end_grace(layout, now=NOW + WEEK, grace=WEEK) == ["danbooru2021.0"]
    assert not old.exists()
    assert verify_release(layout.release(2021), full=True).ok


def test_each_version_has_its_own_time(replaced: Yard) -> None:
    """Of two replaced versions, the one that was replaced first goes first."""
    again(replaced, "somebody else", days=5)
    layout = replaced.layout
    assert kept(layout) == ["danbooru2021.0", "danbooru2021.1"]
    assert end_grace(layout, now=NOW + timedelta(days=8), grace=WEEK) == ["danbooru2021.0"]
    assert end_grace(layout, now=NOW + timedelta(days=12), grace=WEEK) == ["danbooru2021.1"]


@pytest.mark.parametrize("reason", [Reason.EXCLUDED_TAG, Reason.BANNED])
def test_image_that_is_taken_away_ends_every_older_version(replaced: Yard, reason: Reason) -> None:
    """A tag that may no longer be hosted: no version that has the file stays, however long it would have."""
    layout, path = replaced.layout, replaced.layout.original(VICTIM, "jpg")
    name = path.relative_to(layout.store)
    assert (layout.superseded("2021.0") / name).exists()
    row = replaced.ledger[VICTIM]
    replaced.post(VICTIM, reason=reason, md5=row.md5, is_banned=reason is Reason.BANNED)
    replaced.layout.px512(VICTIM).unlink(missing_ok=True)
    path.unlink()
    again(replaced, "somebody")
    assert read_release(layout.release(2021)).version == "2021.2"
    assert kept(layout) == []
    assert not list(layout.releases.rglob(name.name))


def test_takedown_reaches_versions_in_their_grace_period(replaced: Yard) -> None:
    """The version that has the post goes, and one of another year that never had it stays."""
    later = next_year(replaced)
    later.post(30_007, rating="g")
    later.release()
    layout = replaced.layout
    plan = plan_takedown(layout, [30_007])
    assert plan.replaced == ()
    take_down(layout, 30_007)
    assert kept(layout) == ["danbooru2021.0"]
    plan = plan_takedown(layout, [VICTIM])
    assert [folder.name for folder in plan.replaced] == ["danbooru2021.0"]
    assert any("would remove danbooru2021.0" in line for line in plan.lines())
    take_down(layout, VICTIM)
    assert kept(layout) == []
    assert traces(layout.releases, [VICTIM, 30_007]) == []


def test_version_that_was_taken_down_meanwhile_does_not_stay(replaced: Yard) -> None:
    """What a takedown makes again replaces a version that names the post: it never gets a name of its own."""
    layout = replaced.layout
    take_down(layout, VICTIM)
    del replaced.rows[VICTIM], replaced.ledger[VICTIM]
    again(replaced, "somebody else")
    assert kept(layout) == ["danbooru2021.2"]
    assert traces(layout.releases, [VICTIM]) == []


@pytest.mark.parametrize("damage", ["RELEASE.json", "parquet/posts-00000-of-00001.parquet"])
def test_damaged_version_does_not_survive_a_takedown(replaced: Yard, damage: str) -> None:
    """What cannot be searched may name the post, so it goes: it is a copy that nobody needs."""
    path = replaced.layout.superseded("2021.0") / damage
    path.unlink()
    if damage != "RELEASE.json":
        path.write_bytes(b"PAR1")
    take_down(replaced.layout, VICTIM)
    assert kept(replaced.layout) == []


def test_restored_version_is_noticed(replaced: Yard, tmp_path: Path) -> None:
    """A replaced version that a backup brings back after a takedown stops the next build, until it is gone."""
    layout = replaced.layout
    shutil.copytree(layout.superseded("2021.0"), tmp_path / "backup")
    take_down(layout, VICTIM)
    shutil.copytree(tmp_path / "backup", layout.superseded("2021.0"))
    del replaced.rows[VICTIM], replaced.ledger[VICTIM]
    with pytest.raises(ReleaseRefused, match="takedown --resume"):
        again(replaced, "somebody else")
    take_down(layout)
    assert kept(layout) == []
    again(replaced, "somebody else")


def test_release_that_is_being_made_is_left_alone(replaced: Yard) -> None:
    """While another process has the release's lock, its old versions stay; what a killed removal left goes after."""
    layout = replaced.layout
    (layout.superseded("2021.0") / "RELEASE.json").unlink()
    with exclusive(layout.release_lock(2021)):
        pass
    shutil.copytree(layout.release(2021), layout.superseded("2022.0"))
    assert end_grace(layout, now=NOW, grace=WEEK) == ["danbooru2021.0"]
    assert kept(layout) == ["danbooru2022.0"], "no release says that it was replaced"


def test_other_names_are_nobodys_business(replaced: Yard) -> None:
    """Folders whose names only look like versions stay where they are."""
    layout = replaced.layout
    for name in ("danbooru2021.0.old", "danbooru2021.x", "danbooru.0", "danbooru20210.0"):
        (layout.releases / name).mkdir()
    assert kept(layout) == ["danbooru2021.0"]
    with pytest.raises(ValueError, match="not a version"):
        layout.superseded("2021.0/../x")


PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.tree.swap import heal, swap_in

layout = Layout(Path(sys.argv[1]))
if not layout.retired(2021).exists() and layout.staging(2021).exists():
    swap_in(layout, 2021)
heal(layout, 2021, keep=True)
"""


def test_killed_at_any_call_of_a_swap(replaced: Yard, tmp_path: Path) -> None:
    """Wherever the swap is killed, the next heal ends it: 2021.1 stands and 2021.0 stays, both whole."""
    yard, layout = replaced, replaced.layout
    old, new = contents(layout.superseded("2021.0")), contents(layout.release(2021))
    layout.release(2021).rename(layout.staging(2021))
    layout.superseded("2021.0").rename(layout.release(2021))
    at, killed = 1, True
    while killed:
        place = yard.copied(tmp_path / f"at{at}").layout
        killed = run_program(PROGRAM, place.root, at=at).killed
        assert not run_program(PROGRAM, place.root, at=10**6).killed
        assert contents(place.release(2021)) == new
        assert contents(place.superseded("2021.0")) == old
        shutil.rmtree(place.root)
        at += 1
    assert at > 3
