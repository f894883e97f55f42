"""Releases of unusual worlds, where documents are wrong first: of nothing, of one, of two, and of one kind alone."""

from collections.abc import Callable
from pathlib import Path

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline_tests.support.hashed import plant_duplicates
from danbooru_pipeline_tests.support.yard import NOW, Yard

_TAGS = b'{"id":"1","name":"1girl","post_count":"12"}\n'


def odd_worlds(root: Path) -> dict[str, Path]:
    """Make them. Returns the folder of the release by the name of its world."""
    worlds = {name: _world(root / name, fill) for name, fill in _WORLDS.items()}
    for count in (1, 2):
        yard = _yard(root / f"taken_down_{count}", _posts(4))
        yard.release()
        apply_takedown(plan_takedown(yard.layout, [*range(1, count + 1)]), created_at=NOW, threads=1)
        worlds[f"taken_down_{count}"] = yard.layout.release(2021)
    return worlds | {f"{name}_2022": _year_after(root, name) for name in ("two", "none")}


def _yard(folder: Path, fill: Callable[[Yard], None]) -> Yard:
    yard = Yard(Layout(folder))
    fill(yard)
    return yard


def _world(folder: Path, fill: Callable[[Yard], None]) -> Path:
    return _yard(folder, fill).release()


def _year_after(root: Path, name: str) -> Path:
    """The same posts in the release of the next year."""
    yard = _yard(root / f"{name}_2022", _WORLDS[name])
    yard.release()
    return Yard(yard.layout, year=2022, rows=yard.rows, ledger=yard.ledger, tables=yard.tables).release()


def _posts(count: int, **changes: object) -> Callable[[Yard], None]:
    def fill(yard: Yard) -> None:
        for number in range(1, count + 1):
            yard.post(number, **changes)  # type: ignore[arg-type]

    return fill


def _tables_alone(yard: Yard) -> None:
    yard.tables["tags"] = _TAGS


def _one_of_each_kind(yard: Yard) -> None:
    """Posts of whom one each is deleted, banned, explicit, and without a 512px image."""
    yard.post(1)
    yard.post(2, is_deleted=True)
    yard.post(3, reason=Reason.BANNED)
    yard.post(4, rating="e")
    yard.tables["tags"] = _TAGS


def _without_tags(yard: Yard) -> None:
    yard.post(1, tag_string="", tag_string_general="", tag_string_meta="")


def _one_tag(yard: Yard) -> None:
    yard.post(1, tag_string="solo", tag_string_general="solo", tag_string_meta="")


_WORLDS: dict[str, Callable[[Yard], None]] = {
    "none": _posts(0),
    "tables_alone": _tables_alone,
    "one": _posts(1),
    "two": _posts(2),
    "one_of_each": _one_of_each_kind,
    "explicit": _posts(3, rating="e"),
    "gone": _posts(2, reason=Reason.GONE),
    "unrated": _posts(1, rating=None),
    "without_tags": _without_tags,
    "one_tag": _one_tag,
    "duplicates": plant_duplicates,
}
