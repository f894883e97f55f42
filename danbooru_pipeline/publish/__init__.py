"""Copies of published releases where users are: an object store, a folder, the Hugging Face Hub.

`pieces` says what of a release goes where and in which order; `journal` remembers what arrived; `run` plans and
applies. `static` and `hub` are the places. Nothing goes out without the decision on excluded tags, a
finished takedown and a release that verifies; whatever a place has that the release lacks is removed.
"""

from danbooru_pipeline.publish.journal import copy_at
from danbooru_pipeline.publish.places import PLACES, addresses, named_places, open_places
from danbooru_pipeline.publish.run import (
    PublicationPlan,
    apply_publication,
    files_beside,
    plan_publication,
    published_years,
)

__all__ = [
    "PLACES",
    "PublicationPlan",
    "addresses",
    "apply_publication",
    "copy_at",
    "files_beside",
    "named_places",
    "open_places",
    "plan_publication",
    "published_years",
]
