"""Publication as the operator runs it: with the decision on excluded tags, at the places that the settings name."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from danbooru_pipeline import stop
from danbooru_pipeline.errors import DanbooruPipelineError, PublishError, SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import PublishedCopy, read_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.publish import (
    PLACES,
    PublicationPlan,
    addresses,
    apply_publication,
    copy_at,
    files_beside,
    named_places,
    open_places,
    plan_publication,
    published_years,
)
from danbooru_pipeline.release import require_decision
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.settings import Settings

#: Kind of place -> the setting that names it.
_SETTINGS: Final = {"static": "DANBOORU_STATIC_ADDRESS", "hub": "DANBOORU_HUB_OWNER"}
_ANY_SETTING: Final = " or ".join(_SETTINGS.values())


def plan_places(settings: Settings, year: int, *, kind: str | None = None) -> list[PublicationPlan]:
    """What publishing a release would do, at every place or at those of one kind. Changes nothing.

    Raises:
        SettingsError: the settings name no such place.
        ReleaseRefused: nothing may be published yet.
    """
    layout = Layout(settings.root)
    require_decision(layout, settings)
    places = {name: place for name, place in open_places(settings).items() if kind in {None, name}}
    if not places:
        names = _SETTINGS[kind] if kind else _ANY_SETTING
        raise SettingsError(f"there is no place to publish to; set {names}")
    return [plan_publication(layout, year, place) for place in places.values()]


def publish_page(settings: Settings) -> list[str]:
    """Bring the page of the mirrors to where releases were published. Returns a line for each place that failed."""
    layout, failed = Layout(settings.root), list[str]()
    try:
        for place in open_places(settings).values():
            if published_years(layout, place.address):
                place.beside(files_beside(layout))
    except PublishError as error:
        failed.append(str(error))
    return failed


@dataclass(slots=True)
class PublishedAgain:
    """What became of published copies after a takedown, in lines for people.

    Attributes:
        done: copies that were brought to where they belong, or were found there while they were to be cleared.
        failed: copies that may still have posts that were taken down, and what could not be looked at.
    """

    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def publish_again(settings: Settings, *, progress: Progress = silent) -> PublishedAgain:
    """After a takedown: bring every release that was published to where it belongs, without the posts that are gone.

    A copy that is not cleared stays noted. Each is tried, whatever became of the others.
    """
    layout, again, tried = Layout(settings.root), PublishedAgain(), set[tuple[str, str]]()
    for kind, address in addresses(settings).items():
        for year in published_years(layout, address):
            stop.check()
            copy = copy_at(address, release_name(year))
            tried.add((copy.place, copy.release))
            _bring(copy, partial(_publish, settings, kind, year, progress), again, layout)
    stop.check()  # what failed by a signal is no failure
    left = [copy for copy in read_takedowns(layout).copies if (copy.place, copy.release) not in tried]
    again.failed += [_not_tried(copy, settings) for copy in left]
    return again


def _publish(settings: Settings, kind: str, year: int, progress: Progress) -> PublicationPlan:
    place = PLACES[kind](settings)
    assert place is not None, kind
    plan = plan_publication(Layout(settings.root), year, place)
    apply_publication(plan, progress=progress)
    return plan


def _bring(copy: PublishedCopy, publish: Callable[[], PublicationPlan], again: PublishedAgain, layout: Layout) -> None:
    is_noted = (copy.place, copy.release) in {(each.place, each.release) for each in read_takedowns(layout).copies}
    try:
        plan = publish()
    except (DanbooruPipelineError, OSError) as error:
        what = "still has them" if is_noted else "could not be looked at"
        again.failed.append(f"a published copy {what}: {copy.name} ({copy.release}): {error}")
        return
    if is_noted or plan.pieces or plan.dropped:
        again.done.append(f"{copy.name} has {plan.name} {plan.version}, without the posts that were taken down")


def _not_tried(copy: PublishedCopy, settings: Settings) -> str:
    """Why a copy that is to be cleared was not published again, and what to do."""
    said = f"a published copy still has them: {copy.name} ({copy.release}): "
    by_hand = f"remove it there by hand, then run danbooru-pipeline takedown --cleared {shlex.quote(copy.name)}"
    if copy.place in named_places(settings):
        return f"{said}there is no such release here any more; {by_hand}"
    return (
        f"{said}the settings do not name that place; set {_ANY_SETTING} to it and run takedown --resume, or {by_hand}"
    )
