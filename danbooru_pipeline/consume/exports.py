"""Exports: a selection of posts in the form that a tool reads, at a new path that appears once it is complete.

`EXPORTS` has one writer per form, each in a module of its own; `export` runs one and gives its result its name.
"""

from collections.abc import Callable
from pathlib import Path

from danbooru_pipeline.consume import captions, deepdanbooru, kaggle, originals, sqlite, webdataset
from danbooru_pipeline.consume.select import Selection
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.io.atomic import commit_part, part_path, remove_part

#: Writes an export of a release to a path that does not exist yet. Returns the number of posts in it.
Export = Callable[[Path, Path, Selection], int]

EXPORTS: dict[str, Export] = {
    "sqlite": sqlite.write,
    "deepdanbooru": deepdanbooru.write,
    "webdataset": webdataset.write,
    "kaggle": kaggle.write,
    "captions": captions.write,
    "originals": originals.write,
}


def export(form: str, release: Path, target: Path, selection: Selection) -> int:
    """Write an export. Returns the number of posts in it.

    Raises:
        SettingsError: the target exists, or there is no such form.
    """
    if form not in EXPORTS:
        raise SettingsError(f"there is no export {form!r}; use one of {', '.join(EXPORTS)}")
    if target.exists():
        raise SettingsError(f"{target} already exists; give a new path")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(target)
    try:
        posts = EXPORTS[form](release, part, selection)
        commit_part(part, target)
    except BaseException:
        remove_part(part)
        raise
    return posts
