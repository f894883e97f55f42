"""For people who have a release, or want one: get it, read it in Python, search, select, browse, export, remove posts.

Needs no settings and no store, and only ``get/`` uses the network. A release is only read; what is written goes
to a new place, and images go there as hard links where that is possible.
"""

from danbooru_pipeline.lazy import names_of
from danbooru_pipeline.search import BadSearch, UnknownTag

#: As `typing.TYPE_CHECKING`, whose import alone takes milliseconds.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from danbooru_pipeline.consume.errors import BadQuery, NoImage, UnknownName
    from danbooru_pipeline.consume.exports import apply_export, export, plan_export
    from danbooru_pipeline.consume.images import ImageKind, ReleaseImage
    from danbooru_pipeline.consume.opened_release import OpenedRelease, open_release
    from danbooru_pipeline.consume.select import Chosen, Selection
else:
    __getattr__ = names_of(
        __name__,
        {
            "errors": "BadQuery NoImage UnknownName",
            "exports": "apply_export export plan_export",
            "images": "ImageKind ReleaseImage",
            "opened_release": "OpenedRelease open_release",
            "select": "Chosen Selection",
        },
    )

__all__ = [
    "BadQuery",
    "BadSearch",
    "Chosen",
    "ImageKind",
    "NoImage",
    "OpenedRelease",
    "ReleaseImage",
    "Selection",
    "UnknownName",
    "UnknownTag",
    "apply_export",
    "export",
    "open_release",
    "plan_export",
]
