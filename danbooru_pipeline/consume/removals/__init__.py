"""Removes posts that a publisher's feed names from what was made of its releases: exports, and copies of a release.

`feed` reads the feed; `gone` says what names a post; `lines`, `archives` and `databases` rewrite the kinds of files
that exports have; `run` plans and applies. A file is replaced as a whole or stays as it was: a killed run is repeated.
"""

from danbooru_pipeline.consume.removals.feed import read_feed
from danbooru_pipeline.consume.removals.run import RemovalPlan, apply_removals, plan_removals

__all__ = ["RemovalPlan", "apply_removals", "plan_removals", "read_feed"]
