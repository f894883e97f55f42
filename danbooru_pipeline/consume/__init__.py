"""For people who have a release: choose posts by their tags, and give them to other tools in the form those expect.

Needs nothing but the release's folder: no settings, no store, no network. A release is only read; what is written goes
to a new place, and images go there as hard links where that is possible.
"""

from danbooru_pipeline.consume.select import Chosen, Selection, select
from danbooru_pipeline.consume.write import export

__all__ = ["Chosen", "Selection", "export", "select"]
