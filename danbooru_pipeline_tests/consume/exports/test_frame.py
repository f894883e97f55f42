"""What all exports share: a plan, a target that appears whole, a README, and errors of one line."""

import dataclasses
import json
import os
import signal
import subprocess
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from danbooru_pipeline.cli import exporting
from danbooru_pipeline.consume import apply_export, plan_export
from danbooru_pipeline.consume.exports import EXPORTS, faces, images
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.images.detect import DetectorSettings
from danbooru_pipeline.images.render import RenderSettings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support import killed_exports
from danbooru_pipeline_tests.support.forked import run_module

Run = Callable[..., Result]
LINKED = ("captions", "deepdanbooru", "classification", "originals")


def field_names(kind: type[Any]) -> Iterator[str]:
    """Names of the options of a form, nested ones too."""
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[each.name]):
            yield from field_names(hints[each.name])
        else:
            yield each.name


@pytest.mark.parametrize("form", EXPORTS)
def test_dry_run_counts_and_writes_nothing(
    form: str, odd: Path, tmp_path: Path, run: Run, required: Callable[[str], tuple[str, ...]]
) -> None:
    """``--dry-run`` says how many posts and bytes, from which release; ``--limit`` is part of it."""
    done = run("export", form, odd, tmp_path / "x", "--dry-run", "--limit", 2, *required(form))
    assert done.exit_code == 0, done.output
    assert "would write 2 posts of danbooru2021 2021.0" in done.output
    assert "--limit 2" in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", EXPORTS)
def test_readme_says_what_was_chosen(
    form: str, odd: Path, tmp_path: Path, run: Run, required: Callable[[str], tuple[str, ...]]
) -> None:
    """Selection, release, number and terms are in the target, or beside it when it is one file."""
    chosen = ("--none", "secret_tag", "--until-id", 2000)
    done = run("export", form, odd, tmp_path / "x", *chosen, *required(form))
    assert done.exit_code == 0, done.output
    is_file = EXPORTS[form].is_file
    text = (tmp_path / ("x.README.md" if is_file else "x/README.md")).read_text()
    for words in (
        "danbooru2021 2021.0",
        "--none secret_tag",
        "--until-id 2000",
        f"`{form}`",
        "belong to their artists",
    ):
        assert words in text
    assert f"{tmp_path}" not in text
    assert (tmp_path / "x").is_file() == is_file
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_options_of_the_command_are_those_of_the_forms(odd: Path, tmp_path: Path, run: Run) -> None:
    """Every field of a form's options is an option of its command, with the same default."""
    assert list(exporting.FORMS) == list(EXPORTS)
    for name, form in EXPORTS.items():
        command = exporting.export.commands[name]
        with command.make_context(name, [str(odd), str(tmp_path / "x")]) as context:
            assert exporting.options_of(form.options, context.params) == form.options(), name
        fields = set(field_names(form.options))
        assert fields <= {str(param.name) for param in command.params}, name


def test_unknown_form_and_unknown_option_are_usage(odd: Path, tmp_path: Path, run: Run) -> None:
    """A form that does not exist, or an option of another form, is exit code 2."""
    assert run("export", "nothing", odd, tmp_path / "x").exit_code == 2
    assert run("export", "sqlite", odd, tmp_path / "x", "--kohya-json").exit_code == 2
    with pytest.raises(SettingsError, match="no export"):
        plan_export("nothing", odd, tmp_path / "x", selection=Selection())


@pytest.mark.parametrize("form", ["captions", "sqlite"])
def test_impossible_target_is_one_line(form: str, odd: Path, tmp_path: Path, run: Run) -> None:
    """The case t_select_err: a file as parent, a name too long, a place in the release, a broken link: exit code 2."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    targets = [tmp_path / "file/x", tmp_path / ("n" * 256), odd / "x", odd / "parquet/x", tmp_path / "link", tmp_path]
    for target in targets:
        done = run("export", form, odd, target)
        assert done.exit_code == 2, (target, done.output)
        assert len(done.output.splitlines()) == 1, done.output
        assert "Traceback" not in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_unwritable_target_is_one_line(odd: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of somebody else is named with the target, before anything is read."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    done = run("export", "captions", odd, tmp_path / "x")
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "no permission" in done.output


def test_disk_that_fills_is_named(odd: Path) -> None:
    """A write that fails for want of space is one error about the disk, and nothing is left."""
    done = killed_exports.full_disk(odd)
    assert done == ["DiskFull", []]


def test_missing_file_is_left_out_by_name(odd: Path, tmp_path: Path, run: Run) -> None:
    """A copy of the release that lacks an image exports the others, names the post, and exits with 1."""
    part = tmp_path / "part"
    subprocess.run(["cp", "-al", odd, part], check=True)
    (part / "512px/0002").chmod(0o755)
    (part / "512px/0002/2.jpg").unlink(missing_ok=True)
    for form in ("captions", "webdataset", "hakubooru", "kaggle", "tagger"):
        done = run("export", form, part, tmp_path / form)
        assert done.exit_code == 1, done.output
        assert (tmp_path / form / "left_out.csv").read_text().splitlines() == ["id,reason", "2,missing_file"]
        assert "missing_file 1" in (tmp_path / form / "README.md").read_text()


@pytest.mark.parametrize("form", LINKED)
def test_copies_share_nothing_with_the_release(form: str, odd: Path, tmp_path: Path, run: Run) -> None:
    """With ``--copy`` every file is a new, writable one; without it, a link where the file system allows."""
    more = {"classification": ("--classes", "blue_hair")}.get(form, ())
    for name, option in (("copied", "--copy"), ("linked", "--deleted")):
        assert run("export", form, odd, tmp_path / name, option, *more).exit_code == 0
    copied, linked = (sorted((tmp_path / name).rglob("*.jpg")) for name in ("copied", "linked"))
    assert len(copied) == len(linked) > 0
    assert {path.stat().st_nlink for path in copied} == {1}
    assert all(os.access(path, os.W_OK) and path.stat().st_mode & 0o200 for path in copied)
    originals = {path.stat().st_ino for path in odd.rglob("*.jpg")}
    assert not originals & {path.stat().st_ino for path in copied}
    assert {path.stat().st_ino for path in linked} <= originals


def test_progress_is_a_line_and_has_an_end(odd: Path, tmp_path: Path) -> None:
    """Without a terminal a line comes at each interval, with the time that is left."""
    said: list[str] = []
    plan = plan_export("captions", odd, tmp_path / "x", selection=Selection())
    apply_export(plan, report=said.append, every_seconds=0)
    assert any("left" in line and "/4" in line for line in said)


@pytest.mark.parametrize("form", EXPORTS)
def test_second_writer_is_refused(form: str, odd: Path, tmp_path: Path, model: Path) -> None:
    """Two exports to the same target do not mix: the second is told of the first."""
    options = faces.Options(detector=DetectorSettings(model=model)) if form == "faces" else None
    plan = plan_export(form, odd, tmp_path / "x", selection=Selection(), options=options)
    with killed_exports.held(plan), pytest.raises(SettingsError, match="another export"):
        apply_export(plan)
    apply_export(plan)
    assert plan.target.exists()


def test_killed_exports_leave_nothing_or_go_on(releases: object, tmp_path: Path) -> None:
    """Killed at any post by SIGKILL, no form has a target, and the same command again ends as if nothing had been.

    The one that is continued does not make again what it had.
    """
    folder = releases.current  # type: ignore[attr-defined]
    seen = json.loads(run_module(killed_exports.__name__, folder, tmp_path, timeout=280).splitlines()[-1])
    assert set(seen) == set(EXPORTS)
    for form, said in seen.items():
        assert said["after_kill"] == [f".{form}.part"], form
        assert said["rest"] == [], form
        assert said["same"], form
    assert seen["images"]["kept"] > 0


def test_images_that_were_behind_a_missing_one_are_not_skipped(releases: Layout, tmp_path: Path, run: Run) -> None:
    """A killed export that looked ahead to a missing file goes on with the images before it, too."""
    part = tmp_path / "part"
    subprocess.run(["cp", "-al", releases.current.resolve(), part], check=True)
    ids = [post.id for post in select(part, Selection(tree="original"))][:12]
    missing = next(part.glob(f"original/*/{ids[6]}.*"))
    missing.parent.chmod(0o755)
    missing.unlink()
    options = images.Options(render=RenderSettings(size=16), workers=2)
    plan = plan_export("images", part, tmp_path / "x", selection=Selection(tree="original"), options=options, limit=12)
    assert killed_exports.in_child(lambda: killed_exports.apply_until(plan, 2)) == signal.SIGKILL
    apply_export(plan)
    made = {int(path.stem) for path in (tmp_path / "x").rglob("*.jpg")}
    rows = (tmp_path / "x/left_out.csv").read_text().splitlines()[1:]
    left_out = [int(row.partition(",")[0]) for row in rows]
    assert sorted([*made, *left_out]) == ids
    assert ids[6] in left_out


def test_damaged_tables_are_one_error(odd: Path, tmp_path: Path) -> None:
    """A release whose tables are missing or cut is named, with what to do."""
    part = tmp_path / "part"
    (part / "parquet").mkdir(parents=True)
    (part / "RELEASE.json").write_bytes((odd / "RELEASE.json").read_bytes())
    with pytest.raises(ReleaseError, match="fetch it"):
        plan_export("captions", part, tmp_path / "x", selection=Selection())
    (part / "parquet/posts-00000-of-00001.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ReleaseError, match=r"verify .* first"):
        plan_export("sqlite", part, tmp_path / "x", selection=Selection())
