"""What mirrors hold, and how long replaced versions stay for them: by real copies, crafted traces, and silence."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import Result

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.grace import make_release
from danbooru_pipeline.operate.mirrors import Holds, look_after_mirrors, parse_trace, read_mirrors
from danbooru_pipeline.release import apply_takedown, plan_snapshot, plan_takedown, read_release
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.raw_server import always, make_answer, serving
from danbooru_pipeline_tests.support.web import web
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

LATER = NOW + timedelta(days=400)


@pytest.fixture
def yard(released: Yard, tmp_path: Path) -> Yard:
    """One release."""
    return released.copied(tmp_path / "root")


def context_of(layout: Layout, *, now: datetime = LATER, **settings: Any) -> RunContext:
    """A run of the operator."""
    address = "http://127.0.0.1:1"
    return RunContext(Settings(root=layout.root, api_url=address, cdn_url=address, **settings), now=lambda: now)


def trace_of(layout: Layout, **changes: str) -> str:
    """A trace of the release as it is, or changed."""
    about = read_release(layout.release(2021))
    lines = {
        "succeeded": "2022-02-01T00:00:00Z",
        "release": f"{about.name} {about.version}",
        "checksum": about.sha256sums_sha256,
        "source": "rsync://x/",
        "tool": "mirror.sh, rsync",
    } | changes
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


@pytest.mark.needs("rsync")
def test_mirror_is_current_then_outdated_then_has_removed_posts(yard: Yard, tmp_path: Path) -> None:
    """The script's own trace, read over the web: each time the page says what the copy holds."""
    layout, mirror = yard.layout, tmp_path / "mirror/danbooru2021"
    script = ["sh", str(layout.release(2021) / "mirror.sh"), f"{layout.release(2021)}/", str(mirror)]
    subprocess.run(script, check=True, capture_output=True, timeout=60)
    with web(mirror.parent) as address, context_of(layout, mirrors=(address,)) as context:
        (found,) = look_after_mirrors(context).mirrors
        assert (found.holds, found.version) == (Holds.CURRENT, "2021.0") or found.succeeded > "2023"
        page = layout.mirrors_page.read_text()
        assert address in page
        assert "mirror.sh of danbooru2021 2021.0, rsync" in page
        trace = mirror.with_name("danbooru2021.trace")
        trace.write_text(trace_of(layout))
        assert look_after_mirrors(context).mirrors[0].holds is Holds.CURRENT
        plan = plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS, options=DocumentOptions(maker="x"))
        make_release(context, plan)
        assert look_after_mirrors(context).mirrors[0].holds is Holds.OUTDATED
        apply_takedown(plan_takedown(layout, [1002]), created_at=NOW, threads=1)
        assert look_after_mirrors(context).mirrors[0].holds is Holds.REMOVED
        trace.unlink()
        (gone,) = look_after_mirrors(context).mirrors
        assert (gone.holds, gone.version) == (Holds.NOTHING, "")


def test_version_that_a_backup_does_not_know_is_still_one_that_we_published(yard: Yard, tmp_path: Path) -> None:
    """After 2021.0 came back from a backup, a mirror of 2021.1 is told from one of a version that never was."""
    layout = yard.layout
    backup = tmp_path / "backup"
    shutil.copytree(layout.release(2021), backup)
    plan = plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS, options=DocumentOptions(maker="x"))
    trace = tmp_path / "danbooru2021.trace"
    with web(tmp_path) as address, context_of(layout, mirrors=(address,)) as context:
        make_release(context, plan)
        newer = trace_of(layout)
        layout.release(2021).rename(tmp_path / "lost")
        backup.rename(layout.release(2021))
        trace.write_text(newer)
        assert look_after_mirrors(context).mirrors[0].holds is Holds.LOST
        trace.write_text(trace_of(layout, release="danbooru2021 2021.1"))  # with the checksum of another version
        assert look_after_mirrors(context).mirrors[0].holds is Holds.OTHER


def test_silent_mirror_keeps_its_last_trace(yard: Yard, tmp_path: Path) -> None:
    """A mirror that does not answer costs no other its answer, and what it said last is still shown."""
    layout = yard.layout
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/danbooru2021.trace").write_text(trace_of(layout))
    with web(tmp_path / "mirror") as address, context_of(layout, mirrors=(address,)) as context:
        look_after_mirrors(context)
    with web(tmp_path / "mirror") as other, context_of(layout, mirrors=(address, other)) as context:
        silent, answers = look_after_mirrors(context).mirrors
    assert (silent.holds, silent.version, bool(silent.problem)) == (Holds.CURRENT, "2021.0", True)
    assert (answers.holds, answers.problem) == (Holds.CURRENT, "")
    assert "no answer now" in layout.mirrors_page.read_text()
    layout.mirrors.write_bytes(b"{torn")
    assert read_mirrors(layout) == []


@pytest.mark.parametrize(
    ("ahead", "holds", "problem"),
    [
        (timedelta(seconds=-5), Holds.CURRENT, ""),
        (timedelta(seconds=3), Holds.CURRENT, ""),
        (timedelta(hours=1), Holds.CURRENT, "its clock is ahead"),
        (timedelta(days=400), Holds.NOTHING, "its trace is of a time far ahead; its clock is wrong"),
    ],
)
def test_trace_of_a_time_to_come_is_a_problem_of_its_clock(
    yard: Yard, tmp_path: Path, ahead: timedelta, holds: Holds, problem: str
) -> None:
    """The checksum says that a copy is current, the time that a clock is wrong, and the page says both."""
    said = (LATER + ahead).strftime("%Y-%m-%dT%H:%M:%SZ")
    (tmp_path / "danbooru2021.trace").write_text(trace_of(yard.layout, succeeded=said))
    with web(tmp_path) as address, context_of(yard.layout, mirrors=(address,)) as context:
        (found,) = look_after_mirrors(context).mirrors
    assert (found.holds, found.version, found.problem) == (holds, "2021.0", problem)
    assert f"<td>{holds}{'; ' if problem else ''}{problem}</td>" in yard.layout.mirrors_page.read_text()


def test_time_to_come_does_not_hide_removed_posts(yard: Yard, tmp_path: Path) -> None:
    """A copy with a post that was taken down is one, whatever time its mirror claims."""
    trace = tmp_path / "danbooru2021.trace"
    trace.write_text(trace_of(yard.layout, succeeded="2999-01-01T00:00:00Z"))
    apply_takedown(plan_takedown(yard.layout, [1002]), created_at=NOW, threads=1)
    with web(tmp_path) as address, context_of(yard.layout, mirrors=(address,)) as context:
        (found,) = look_after_mirrors(context).mirrors
    assert found.holds is Holds.REMOVED


def test_trace_that_is_written_while_it_is_asked_for_is_not_ahead(yard: Yard, tmp_path: Path) -> None:
    """The time of a trace is held against that of the answer, which may come long after the round began."""
    times = iter([LATER, *(LATER + timedelta(hours=number) for number in range(1, 9))])
    said = (LATER + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (tmp_path / "danbooru2021.trace").write_text(trace_of(yard.layout, succeeded=said))
    with web(tmp_path) as address, context_of(yard.layout, mirrors=(address,)) as context:
        context.now = lambda: next(times)
        (found,) = look_after_mirrors(context).mirrors
    assert (found.holds, found.problem) == (Holds.CURRENT, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"succeeded": "2022-99-99T00:00:00Z"},
        {"release": "danbooru2022 2022.0"},
        {"checksum": "0" * 64},
        {"checksum": "x"},
        {"succeeded": "2999-01-01T00:00:00Z"},
        {"release": "danbooru2021 2021.7"},
        {"release": "danbooru2021 ../x"},
        {"tool": "x" * 101},
    ],
)
def test_crafted_trace_is_never_current(yard: Yard, tmp_path: Path, changes: dict[str, str]) -> None:
    """Another release, another checksum, a version that never was, a time to come, lines of another form."""
    (tmp_path / "danbooru2021.trace").write_text(trace_of(yard.layout, **changes))
    with web(tmp_path) as address, context_of(yard.layout, mirrors=(address,)) as context:
        (found,) = look_after_mirrors(context).mirrors
    assert found.holds in {Holds.OTHER, Holds.NOTHING}


def test_trace_without_an_end_and_markup_do_no_harm(yard: Yard) -> None:
    """No more than a trace's length is read; what a mirror writes is text on the page."""
    hostile = trace_of(yard.layout, tool="<script>alert(1)</script>").encode()
    endless = always(make_answer(hostile + b"x" * 10**6, length=10**12))
    with serving(endless) as server, context_of(yard.layout, mirrors=(server.url,)) as context:
        look_after_mirrors(context)
    page = yard.layout.mirrors_page.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert parse_trace(b"\xff\xfe" * 10) == {}


def test_command_ends_grace_periods_and_brings_the_page(
    yard: Yard, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round without mirrors: what is over goes; the page is beside the releases, here and at the other place."""
    layout = yard.layout
    with context_of(layout, now=NOW) as context:
        plan = plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS, options=DocumentOptions(maker="x"))
        make_release(context, plan)
    assert list(layout.superseded_releases) == [layout.superseded("2021.0")]
    for name, value in {
        "ROOT": layout.root,
        "API_URL": "http://127.0.0.1:1",
        "CDN_URL": "http://127.0.0.1:1",
        "STATIC_ADDRESS": f"file://{tmp_path}/there",
    }.items():
        monkeypatch.setenv(f"DANBOORU_{name}", str(value))
    assert run("publish", "2021").exit_code == 0
    layout.mirrors_page.unlink(missing_ok=True)
    done = run("mirrors")
    assert done.exit_code == 0, done.output
    assert "danbooru2021.0 is removed: its grace period is over" in done.output
    assert "no mirrors to ask" in done.output
    assert not layout.superseded_releases
    files = fsspec.filesystem("file")
    assert files.cat(f"{tmp_path}/there/mirrors.html") == layout.mirrors_page.read_bytes()


@pytest.mark.parametrize("days", [0, 7])
def test_setting_says_how_long_versions_stay(yard: Yard, days: int) -> None:
    """With 0 a replaced version is gone at once; it is looked at with every release that is made."""
    layout = yard.layout
    for number in range(2):
        with context_of(layout, now=NOW + timedelta(days=8 * number), grace_days=days) as context:
            options = DocumentOptions(maker=f"maker {number}")
            make_release(context, plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS, options=options))
    assert [folder.name for folder in layout.superseded_releases] == (["danbooru2021.1"] if days else [])


def test_page_of_a_release_leads_to_the_mirrors(yard: Yard) -> None:
    """Where the release is served from somewhere, by that address: the page itself is signed, and never changes."""
    options = DocumentOptions(url="https://data.example.org/releases")
    with context_of(yard.layout) as context:
        make_release(context, plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options))
    page = (yard.layout.release(2021) / "index.html").read_text()
    assert "<code>https://data.example.org/releases/mirrors.html</code>" in page
