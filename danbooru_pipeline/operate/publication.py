"""Publication as the operator runs it: with the decision on excluded tags, at the places that the settings name."""

from danbooru_pipeline.errors import PublishError, ReleaseError, SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.publish import (
    PublicationPlan,
    apply_publication,
    files_beside,
    open_places,
    plan_publication,
    published_years,
)
from danbooru_pipeline.release import require_decision
from danbooru_pipeline.settings import Settings


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
        wanted = {"static": "DANBOORU_STATIC_ADDRESS", "hub": "DANBOORU_HUB_OWNER"}
        names = wanted[kind] if kind else " or ".join(wanted.values())
        raise SettingsError(f"there is no place to publish to; set {names}")
    return [plan_publication(layout, year, place) for place in places.values()]


def publish_page(settings: Settings) -> list[str]:
    """Bring the page of the mirrors to where releases were published. Returns a line for each place that failed."""
    layout, failed = Layout(settings.root), list[str]()
    try:
        for place in open_places(settings).values():
            if published_years(layout, place):
                place.beside(files_beside(layout))
    except PublishError as error:
        failed.append(str(error))
    return failed


def publish_again(settings: Settings, *, progress: Progress = silent) -> list[str]:
    """After a takedown: bring every release that was published to where it belongs, without the posts that are gone.

    Returns a line for each place that could not be reached; what it has is still public.
    """
    layout = Layout(settings.root)
    failed: list[str] = []
    try:
        places = open_places(settings)
    except PublishError as error:
        return [str(error)]
    for place in places.values():
        for year in published_years(layout, place):
            try:
                apply_publication(plan_publication(layout, year, place), progress=progress)
            except (PublishError, ReleaseError) as error:
                failed.append(f"{place.address}: {error}")
    return failed
