"""Plans an export, which `--dry-run` prints, and applies the plan: locks, writes, renames, and says what it wrote."""

import fcntl
import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from danbooru_pipeline.consume.exports.frame import LEFT_OUT, Form, Job
from danbooru_pipeline.consume.exports.readme import TITLE, readme, selection_text
from danbooru_pipeline.consume.select import Selection, choose
from danbooru_pipeline.errors import ReleaseError, SettingsError, disk_full, is_disk_full
from danbooru_pipeline.io.atomic import commit_part, remove_part
from danbooru_pipeline.layout import PART_SUFFIX
from danbooru_pipeline.progress import Meter, Say, Watch, counted, human_bytes
from danbooru_pipeline.release.outside import require_outside
from danbooru_pipeline.release.release_json import Release, read_release

#: In an unfinished export: what was asked for, so that only the same request continues it.
_REQUEST: Final = ".request"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What an export will write.

    Attributes:
        form_name, form: of the export.
        posts: how many were chosen.
        bytes: what it takes on disk, about; hard links take nothing.
        limit: most posts.
        copy: whether files are copied where they could be linked.
    """

    form_name: str
    form: Form
    release: Path
    target: Path
    about: Release
    selection: Selection
    options: Any
    posts: int
    bytes: int
    limit: int | None
    copy: bool

    def lines(self) -> list[str]:
        """The plan for people."""
        release, size = f"{self.about.name} {self.about.version}", human_bytes(self.bytes)
        return [
            f"would write {counted(self.posts, 'post')} of {release} to {self.target}, about {size}",
            f"  {self.form_name}: {selection_text(self.selection, limit=self.limit)}",
        ]

    @property
    def part(self) -> Path:
        """Where the export is made."""
        return self.target.with_name(f".{self.target.name}{PART_SUFFIX}")

    @property
    def fingerprint(self) -> str:
        """Changes with everything that decides what is written."""
        request = (self.form_name, self.about.ref, self.selection, self.options, self.limit, self.copy)
        return hashlib.sha256(repr(request).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export has: posts, and reason -> posts that were left out."""

    posts: int
    left_out: Counter[str]


def plan_export(
    name: str,
    form: Form,
    release: Path,
    target: Path,
    *,
    selection: Selection,
    options: Any = None,
    limit: int | None = None,
    copy: bool = False,
) -> ExportPlan:
    """Count what an export would write. Writes nothing.

    Raises:
        SettingsError: the target exists, or cannot be one.
        ReleaseError: the release cannot be read.
    """
    about = read_release(release)
    chosen_options = form.options() if options is None else options
    wanted = form.select(selection, chosen_options, about)
    _check_target(release, target, form=form)
    with choose(release, wanted, threads=os.cpu_count() or 1, limit=limit) as chosen:
        posts, size = chosen.posts, chosen.bytes
    return ExportPlan(
        form_name=name,
        form=form,
        release=release,
        target=target,
        about=about,
        selection=wanted,
        options=chosen_options,
        posts=posts,
        bytes=form.size(posts, size, chosen_options),
        limit=limit,
        copy=copy,
    )


def _check_target(release: Path, target: Path, *, form: Form) -> None:
    with _target_errors(release, target):
        if os.path.lexists(target):
            raise SettingsError(f"{target} already exists; give a new path")
        require_outside(target)
        ancestor = next(folder for folder in target.absolute().parents if folder.exists())
        if not ancestor.is_dir():
            raise SettingsError(f"{target} cannot be written: {ancestor} is not a folder; give another path")
        if not os.access(ancestor, os.W_OK | os.X_OK):
            raise SettingsError(f"{target} cannot be written: no permission in {ancestor}; give another path")
        for path in _beside(target) if form.is_file else ():
            if path.exists() and not (path.suffix == ".md" and path.read_text().startswith(TITLE)):
                raise SettingsError(f"{path} already exists, and would come with {target.name}; give a new path")


def _beside(target: Path) -> tuple[Path, Path]:
    return target.with_name(f"{target.name}.README.md"), target.with_name(f"{target.name}.{LEFT_OUT}")


def apply_export(
    plan: ExportPlan, *, report: Say | None = None, watch: Watch | None = None, every_seconds: float = 30.0
) -> ExportReport:
    """Write what was planned.

    Args:
        plan: of the export.
        report: gets a line of progress every `every_seconds`.
        watch: is shown the progress twice a second.
        every_seconds: time between two lines.

    Raises:
        SettingsError: the target cannot be written.
        ReleaseError: the release cannot be read.
    """
    meter = Meter(f"export {plan.form_name}", total=plan.posts, report=report, every_seconds=every_seconds, watch=watch)
    with _target_errors(plan.release, plan.target), _unfinished(plan) as part, meter:
        with choose(plan.release, plan.selection, threads=os.cpu_count() or 1, limit=plan.limit) as chosen:
            job = Job(
                about=plan.about,
                release=plan.release,
                target=part,
                name=plan.target.name,
                chosen=chosen,
                options=plan.options,
                copy=plan.copy,
                meter=meter,
            )
            plan.form.write(job)
        (part / "README.md").write_text(_readme(plan, job), encoding="utf-8")
        (part / _REQUEST).unlink()
        _commit(plan, part)
    return ExportReport(job.written, job.left_out)


def _readme(plan: ExportPlan, job: Job) -> str:
    return readme(
        plan.form_name,
        plan.about,
        plan.selection,
        options=plan.options,
        limit=plan.limit,
        written=job.written,
        left_out=job.left_out,
        notes=job.notes,
    )


def _commit(plan: ExportPlan, part: Path) -> None:
    if not plan.form.is_file:
        commit_part(part, plan.target)
        return
    for path in sorted(part.iterdir(), key=lambda path: path.name == plan.target.name):  # the file itself comes last
        final = (
            plan.target if path.name == plan.target.name else plan.target.with_name(f"{plan.target.name}.{path.name}")
        )
        commit_part(path, final)
    part.rmdir()


@contextmanager
def _unfinished(plan: ExportPlan) -> Iterator[Path]:
    """The hidden folder, locked; that of a killed export of the same request when its form continues."""
    part = plan.part
    part.mkdir(parents=True, exist_ok=True)
    lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(f"another export writes to {plan.target}; wait for it, or give another path") from None
    try:
        request = part / _REQUEST
        same = request.exists() and request.read_text() == plan.fingerprint
        if not (same and plan.form.resumes):
            for path in part.iterdir():
                remove_part(path)
        request.write_text(plan.fingerprint)
        yield part
    except BaseException:
        if not plan.form.resumes:
            remove_part(part)
        raise
    finally:
        os.close(lock)


@contextmanager
def _target_errors(release: Path, target: Path) -> Iterator[None]:
    """One line about the target, or about the release, for whatever the system says of their files."""
    try:
        yield
    except (OSError, sqlite3.Error, duckdb.Error) as error:
        if is_disk_full(error):
            raise disk_full(error, target) from error
        said = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        about = getattr(error, "filename", None)
        if isinstance(about, str | bytes) and Path(os.fsdecode(about)).is_relative_to(release):
            raise ReleaseError(f"{os.fsdecode(about)} cannot be read ({said}); verify the release") from error
        raise SettingsError(f"{target} cannot be written ({said}); give another path") from error
    except ValueError as error:
        if "null byte" not in str(error) and "null character" not in str(error):
            raise
        raise SettingsError(f"{target!r} cannot be a path ({error}); give another one") from error
