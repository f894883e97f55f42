"""Takedowns of posts that were published elsewhere: none counts as done until every copy is cleared or is told."""

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import Result

from danbooru_pipeline import stop
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import NewerFile, ReleaseRefused
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.doctor import Health, check_takedowns
from danbooru_pipeline.operate.publication import publish_again
from danbooru_pipeline.operate.removal import manifest_without_blocked
from danbooru_pipeline.posts.takedowns import (
    PublishedCopy,
    Takedowns,
    note_cleared,
    read_takedowns,
    unfinished_takedowns,
    write_takedowns,
)
from danbooru_pipeline.publish import apply_publication, copy_at, plan_publication
from danbooru_pipeline.publish.static import StaticPlace
from danbooru_pipeline.release import apply_takedown, plan_takedown, verify_release
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.system_calls import run_program
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.yard import NOW, Yard

LOOPBACK = "http://127.0.0.1:1"
VICTIM = 4001
TAKEDOWN = f"""
from danbooru_pipeline.cli.main import main
main(["takedown", "{VICTIM}"], standalone_mode=False)
"""


@pytest.fixture
def there(root: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a release was published to, which the settings name."""
    place = tmp_path / "there"
    for name, value in {"ROOT": root.root, "STATIC_ADDRESS": f"file://{place}", "EXCLUDE_TAGS": "none"}.items():
        monkeypatch.setenv(f"DANBOORU_{name}", str(value))
    apply_publication(plan_publication(root, 2021, StaticPlace(f"file://{place}")))
    return place


def settings_of(root: Layout, there: Path) -> Settings:
    """Settings with the place."""
    return Settings(root=root.root, api_url=LOOPBACK, cdn_url=LOOPBACK, static_address=f"file://{there}")


def told(run: Callable[..., Result], root: Layout) -> list[tuple[bool, str]]:
    """Of status, doctor and metrics: whether they say that a takedown is unfinished, and all that they say of it."""
    status = run("status")
    doctor = check_takedowns(Settings(root=root.root))
    metrics = [line for line in run("metrics").output.splitlines() if line.startswith("danbooru_pipeline_takedown")]
    return [
        (status.exit_code == 1, status.output),
        (doctor.health is Health.ERROR, doctor.text),
        ("danbooru_pipeline_takedown_unfinished 1" in metrics, "\n".join(metrics)),
    ]


def check_told(run: Callable[..., Result], root: Layout, there: Path) -> None:
    """All three say that it is unfinished, and name the place."""
    for is_told, text in told(run, root):
        assert is_told, text
        assert f"file://{there}" in text


def check_cleared(run: Callable[..., Result], root: Layout, there: Path) -> None:
    """All three say that all is well, and it is."""
    assert [is_told for is_told, _ in told(run, root)] == [False] * 3
    assert traces(there, {VICTIM}) == []
    assert verify_release(there / "danbooru2021", full=True).ok
    assert "copies" not in json.loads(root.takedowns.read_bytes())


@pytest.mark.slow(30)
def test_takedown_that_is_killed_anywhere_says_what_is_left(
    root: Layout, there: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """Where the copy still has the post, or is half changed, everything says so; --resume clears it, and says that."""
    before = tmp_path / "before"
    for folder in (root.root, there):
        shutil.copytree(folder, before / folder.name, symlinks=True)
    calls = run_program(TAKEDOWN).calls
    check_cleared(run, root, there)
    seen: set[bool] = set()
    for part in (2, *range(20, 32)):
        for folder in (root.root, there):
            shutil.rmtree(folder)
            shutil.copytree(before / folder.name, folder, symlinks=True)
        assert run_program(TAKEDOWN, at=calls * part // 32 + part % 2).killed
        left = traces(there, {VICTIM}) != [] or not (there / "danbooru2021/RELEASE.json").exists()
        if root.takedowns.exists():
            seen.add(left)
            if left or read_takedowns(root).copies:
                check_told(run, root, there)
        resumed = run("takedown", VICTIM) if not root.takedowns.exists() else run("takedown", "--resume")
        assert resumed.exit_code == 0, resumed.output
        assert not left or f"file://{there} has danbooru2021 2021.1" in resumed.output, resumed.output
        check_cleared(run, root, there)
    assert True in seen


def test_place_that_cannot_be_reached_stays_noted(
    root: Layout, there: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """Until it is cleared; then --resume says which copy it cleared, and after that that there is nothing to do."""
    there.rename(tmp_path / "away")
    there.write_text("in the way")
    failed = run("takedown", VICTIM)
    assert (failed.exit_code, f"a published copy still has them: file://{there} (danbooru2021)" in failed.output) == (
        1,
        True,
    )
    there.unlink()
    (tmp_path / "away").rename(there)
    check_told(run, root, there)
    (held,) = json.loads(run("status", "--json").output)["to_be_cleared"]
    assert (held["address"], held["release"]) == (f"file://{there}", "danbooru2021")
    assert run("takedown", "--resume", "--dry-run").output == (
        f"[DRY RUN] would clear the published copies at file://{there} (danbooru2021)\n"
    )
    done = run("takedown", "--resume")
    assert (done.exit_code, done.output.splitlines()) == (
        0,
        [
            f"next come the published copies at file://{there} (danbooru2021)",
            f"file://{there} has danbooru2021 2021.1, without the posts that were taken down",
        ],
    )
    check_cleared(run, root, there)
    assert run("takedown", "--resume").output.startswith("no takedown is unfinished")


def test_publication_clears_what_is_noted(root: Layout, there: Path, run: Callable[..., Result]) -> None:
    """`publish` is as good as --resume; builds and publications do not wait for a place."""
    apply_takedown(plan_takedown(root, [VICTIM]), created_at=NOW, threads=1)
    (line,) = unfinished_takedowns(root)
    digest = copy_at(f"file://{there}", "danbooru2021").place
    assert line.startswith(f"published copies at {digest} may still have posts"), "no settings named it"
    assert run("publish", 2021).exit_code == 0
    check_cleared(run, root, there)


def test_place_that_the_settings_no_longer_name_has_a_way_out(
    root: Layout, there: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by name with what to do: name it again, or say that it is cleared; then nothing waits for it."""
    write_takedowns(root, Takedowns(posts={}, copies=(copy_at(f"file://{there}", "danbooru2021"),)))
    monkeypatch.setenv("DANBOORU_STATIC_ADDRESS", f"file://{there}2")
    failed = run("takedown", VICTIM)
    assert failed.exit_code == 1
    assert f"takedown --cleared file://{there}" in failed.output
    assert "set DANBOORU_STATIC_ADDRESS or DANBOORU_HUB_OWNER to it and run takedown --resume" in failed.output
    check_told(run, root, there)
    assert run("takedown", "--cleared", f"file://{there}", "--dry-run").exit_code == 2
    assert run("takedown", "--cleared", f"file://{there}").exit_code == 0
    assert [is_told for is_told, _ in told(run, root)] == [False] * 3
    assert not root.publications.exists() or not list(root.publications.iterdir())
    wrong = run("takedown", "--cleared", f"file://{there}")
    assert (wrong.exit_code, "status names the places" in wrong.output) == (2, True)


def test_copy_whose_journal_is_lost_is_cleared(root: Layout, there: Path, run: Callable[..., Result]) -> None:
    """The list says which copy it is, and the place itself what it has."""
    apply_takedown(plan_takedown(root, [VICTIM]), created_at=NOW, threads=1)
    shutil.rmtree(root.publications)
    assert run("takedown", "--resume").exit_code == 0
    check_cleared(run, root, there)


def test_release_that_is_no_longer_here_is_told(root: Layout, there: Path, run: Callable[..., Result]) -> None:
    """Its copy cannot be made again, so somebody must remove it."""
    other = root.publication(copy_at(f"file://{there}", "").place, "danbooru2019")
    other.mkdir()
    failed = run("takedown", VICTIM)
    assert (failed.exit_code, "there is no such release here any more" in failed.output) == (1, True)
    assert [copy.release for copy in read_takedowns(root).copies] == ["danbooru2019"]
    check_told(run, root, there)


def test_two_places_are_published_to_side_by_side(root: Layout, there: Path, tmp_path: Path) -> None:
    """That one copy was cleared changes the list of takedowns, and ends no other publication; a takedown does."""
    apply_takedown(plan_takedown(root, [VICTIM]), created_at=NOW, threads=1)
    other = StaticPlace(f"file://{tmp_path}/other")

    def clear_first(_what: str, done: int, _total: int) -> None:
        if done == 1:
            note_cleared(root, copy_at(f"file://{there}", "danbooru2021"), ids=frozenset({VICTIM}))

    apply_publication(plan_publication(root, 2021, other), progress=clear_first)
    assert read_takedowns(root).copies == ()

    def take_down(_what: str, done: int, _total: int) -> None:
        if done == 1:
            known = read_takedowns(root)
            write_takedowns(root, Takedowns(posts={**known.posts, **plan_takedown(root, [8001]).posts}))

    (tmp_path / "other/danbooru2021/README.md").unlink()
    shutil.rmtree(root.publications)
    with pytest.raises(ReleaseRefused, match="posts were taken down"):
        apply_publication(plan_publication(root, 2021, other), progress=take_down)


def test_copy_stays_noted_if_more_was_taken_down_meanwhile(root: Layout, there: Path) -> None:
    """A publication clears a copy of what was taken down before it began, and of nothing else."""
    copy = copy_at(f"file://{there}", "danbooru2021")
    write_takedowns(root, Takedowns(posts=plan_takedown(root, [VICTIM, 8001]).posts, copies=(copy,)))
    note_cleared(root, copy, ids=frozenset({VICTIM}))
    assert read_takedowns(root).copies == (copy,)
    write_takedowns(root, Takedowns(posts={}, unfinished=True, copies=(copy,)))
    note_cleared(root, copy, ids=frozenset({VICTIM}))
    assert read_takedowns(root).copies == (copy,)


def test_signal_while_a_place_is_cleared_is_no_failure_of_it(root: Layout, there: Path) -> None:
    """The copy stays noted, nothing new begins, and the process stops."""
    settings = settings_of(root, there)
    apply_takedown(plan_takedown(root, [VICTIM]), created_at=NOW, threads=1)

    def signalled(_what: str, _done: int, _total: int) -> None:
        signal.raise_signal(signal.SIGTERM)
        while not stop.requested():
            time.sleep(0.01)  # the main thread hears it

    with pytest.raises(stop.Stopped):
        stop.run_stoppable(lambda: publish_again(settings, progress=signalled), last_words=print)
    assert [copy.release for copy in read_takedowns(root).copies] == ["danbooru2021"]
    assert publish_again(settings).failed == []
    assert read_takedowns(root).copies == ()


@pytest.mark.parametrize("reachable", [True, False])
def test_blocklist_of_a_build_reaches_published_copies(
    released: Yard, root: Layout, there: Path, tmp_path: Path, *, reachable: bool
) -> None:
    """A takedown inside a build clears them, or tells that it could not and leaves them noted; the build goes on."""
    (tmp_path / "list").write_text(f"{released.ledger[VICTIM].md5}\n")
    settings = settings_of(root, there).replace(hash_blocklist=tmp_path / "list")
    if not reachable:
        there.rename(tmp_path / "away")
        there.write_text("in the way")
    said: list[str] = []
    with RunContext(settings) as context:
        made = context.image_settings.fingerprint()
        rows = {id_: replace(row, px512_settings=made) for id_, row in released.ledger.items()}
        replace(released, layout=root, ledger=rows).save()
        manifest_without_blocked(context, 2021, say=said.append)
    assert any(line.startswith("danbooru2021 2021.1 replaced 2021.0") for line in said)
    if reachable:
        assert said[-1] == f"file://{there} has danbooru2021 2021.1, without the posts that were taken down"
        assert traces(there, {VICTIM}) == []
        assert read_takedowns(root).copies == ()
    else:
        assert said[-1].startswith(f"a published copy still has them: file://{there} (danbooru2021): ")
        assert unfinished_takedowns(root)[0].startswith(f"published copies at file://{there} may still have")


def test_list_of_an_earlier_version_is_read_and_one_of_a_later_is_refused(root: Layout) -> None:
    """Without copies the list is as it was; what this version does not know of a copy is not dropped."""
    root.takedowns.write_text('{"posts": {"5": {"paths": [], "first_year": null}}, "unfinished": false}')
    assert read_takedowns(root).copies == ()
    copy = PublishedCopy(place="0", release="danbooru2021")
    write_takedowns(root, Takedowns(posts={}, copies=(copy,)))
    assert read_takedowns(root).copies == (copy,)
    content = json.loads(root.takedowns.read_bytes())
    content["copies"][0]["colour"] = "red"
    root.takedowns.write_bytes(msgspec.json.encode(content))
    with pytest.raises(NewerFile, match="colour"):
        read_takedowns(root)
