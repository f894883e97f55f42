"""The places that the settings name, by kind."""

from collections.abc import Callable
from typing import Final

from danbooru_pipeline.publish.journal import place_digest
from danbooru_pipeline.publish.place import Place, hub_address
from danbooru_pipeline.settings import Settings


def _static(settings: Settings) -> Place | None:
    from danbooru_pipeline.publish.static import StaticPlace  # noqa: PLC0415 - fsspec, and what stands behind it

    return StaticPlace(settings.static_address) if settings.static_address else None


def _hub(settings: Settings) -> Place | None:
    from danbooru_pipeline.publish.hub import HubPlace  # noqa: PLC0415 - an extra

    return HubPlace(settings.hub_owner) if settings.hub_owner else None


#: Kind of place -> what opens it; None where the settings name none.
PLACES: Final[dict[str, Callable[[Settings], Place | None]]] = {"static": _static, "hub": _hub}


def addresses(settings: Settings) -> dict[str, str]:
    """Kind -> address of the places that the settings name; none is opened."""
    hub = hub_address(settings.hub_owner) if settings.hub_owner else ""
    return {kind: address for kind, address in (("static", settings.static_address), ("hub", hub)) if address}


def named_places(settings: Settings) -> dict[str, str]:
    """Digest -> address of the same."""
    return {place_digest(address): address for address in addresses(settings).values()}


def open_places(settings: Settings) -> dict[str, Place]:
    """The places that the settings name.

    Raises:
        PublishError: one cannot be used.
    """
    opened = {kind: open_place(settings) for kind, open_place in PLACES.items()}
    return {kind: place for kind, place in opened.items() if place is not None}
