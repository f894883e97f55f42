"""Exports: a selection of posts in the form that a tool reads, at a new path that appears once it is complete.

Each form is a module of its own with a `Form`; `EXPORTS` has them all. `frame` has what they share, `run` plans and
applies. `export` does both.
"""

from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.consume.exports import (
    captions,
    classification,
    deepdanbooru,
    duckdb_file,
    faces,
    hakubooru,
    images,
    kaggle,
    originals,
    sqlite,
    tagger,
    tags_csv,
    webdataset,
)
from danbooru_pipeline.consume.exports.frame import Form
from danbooru_pipeline.consume.exports.run import ExportPlan, ExportReport, apply_export
from danbooru_pipeline.consume.exports.run import plan_export as _plan
from danbooru_pipeline.consume.select import Selection
from danbooru_pipeline.errors import SettingsError

EXPORTS: Final[dict[str, Form]] = {
    "sqlite": sqlite.FORM,
    "duckdb": duckdb_file.FORM,
    "captions": captions.FORM,
    "images": images.FORM,
    "faces": faces.FORM,
    "webdataset": webdataset.FORM,
    "classification": classification.FORM,
    "tagger": tagger.FORM,
    "tags-csv": tags_csv.FORM,
    "hakubooru": hakubooru.FORM,
    "deepdanbooru": deepdanbooru.FORM,
    "kaggle": kaggle.FORM,
    "originals": originals.FORM,
}


def plan_export(
    form: str,
    release: Path,
    target: Path,
    *,
    selection: Selection,
    options: Any = None,
    limit: int | None = None,
    copy: bool = False,
) -> ExportPlan:
    """Count what an export would write. Writes nothing.

    Args:
        form: one of `EXPORTS`.
        release: its folder.
        target: a new path.
        selection: of posts.
        options: an instance of the form's class of options; its defaults without it.
        limit: only that many posts, those with the lowest ids.
        copy: whether files are copied where they could be linked.

    Raises:
        SettingsError: the target exists, or there is no such form.
        ReleaseError: the release cannot be read.
    """
    if form not in EXPORTS:
        raise SettingsError(f"there is no export {form!r}; use one of {', '.join(EXPORTS)}")
    return _plan(form, EXPORTS[form], release, target, selection=selection, options=options, limit=limit, copy=copy)


def export(form: str, release: Path, target: Path, selection: Selection, **more: Any) -> int:
    """Write an export; `more` as `plan_export` has it. Returns the number of posts in it.

    Raises:
        SettingsError: the target exists or cannot be written, or there is no such form.
        ReleaseError: the release cannot be read.
    """
    return apply_export(plan_export(form, release, target, selection=selection, **more)).posts


__all__ = ["EXPORTS", "ExportPlan", "ExportReport", "Form", "apply_export", "export", "plan_export"]
