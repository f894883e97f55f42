"""Asks the source again about posts whose files could not be fetched, and stops once it fails to answer."""

import threading
from collections.abc import Sequence

from danbooru_pipeline.errors import SourceBlocked, SourceError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.sources.recheck import PostUpdates, recheck_posts


class Rechecker:
    """Asks the API about posts until it fails to answer. Safe for threads: buckets in flight share it."""

    def __init__(self, client: BooruClient) -> None:
        self._client = client
        self._silent = threading.Event()

    def recheck(self, ids: Sequence[int], *, control_id: int | None) -> PostUpdates:
        """What the booru says of posts now; empty from one whose API does not answer.

        Args:
            ids: of posts whose files could not be fetched.
            control_id: a post that the booru should know (see `recheck_posts`).

        Raises:
            SourceBlocked: the booru refuses us as a client.
        """
        if self._silent.is_set():
            return PostUpdates()
        try:
            return recheck_posts(self._client, ids, control_id=control_id)
        except SourceBlocked:
            raise
        except SourceError:
            self._silent.set()
            return PostUpdates()
