"""Following the running year: its files come into the store night by night, so January asks only for what is left.

Nothing here is part of a release. The first file of a post goes where a build puts it, with a row of the release that
will hold the post; each further one is kept under its MD5, and no file, row or 512px image of an earlier release is
touched. Which file a release wants is decided by its sweep in January alone.
"""

from danbooru_pipeline.store.follow.compare import Missed, compare_with_sweep
from danbooru_pipeline.store.follow.report import FollowReport
from danbooru_pipeline.store.follow.run import follow_site
from danbooru_pipeline.store.follow.state import FollowState, find_state, read_state

__all__ = ["FollowReport", "FollowState", "Missed", "compare_with_sweep", "find_state", "follow_site", "read_state"]
