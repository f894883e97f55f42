"""Asks the source again about posts whose files could not be fetched, and stops once it fails to answer.

Buckets in flight share one rechecker. A bucket has few such posts, and a request has room for two hundred, so the
request of one bucket also asks about posts that others are expected to ask about.
"""

import threading
from collections.abc import Iterable, Sequence
from itertools import islice

from danbooru_pipeline.errors import SourceBlocked, SourceError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.posts import CompleteRow
from danbooru_pipeline.sources.controls import Controls
from danbooru_pipeline.sources.recheck import PostUpdates, ids_per_request, recheck_posts


class Rechecker:
    """Asks the API about posts until it fails to answer. Safe for threads: buckets in flight share it."""

    def __init__(self, client: BooruClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._is_silent = False
        self._expected: dict[int, None] = {}  # in the order in which they will be asked about
        self._answers = dict[int, CompleteRow | None]()  # not yet asked for; None: expunged
        self._says_banned = False  # what these answers were judged by

    def expect(self, ids: Iterable[int]) -> None:
        """Name posts that will be asked about, to fill requests up with them."""
        with self._lock:
            self._expected.update(dict.fromkeys(ids))

    def recheck(self, ids: Sequence[int], *, controls: Controls, says_banned: bool) -> PostUpdates:
        """What the booru says of posts now; empty from one whose API does not answer.

        Args:
            ids: of posts whose files could not be fetched.
            controls: posts that the booru should know (see `recheck_posts`).
            says_banned: whether the sweep of these posts says if they are banned.

        Raises:
            SourceBlocked: the booru refuses us as a client.
        """
        with self._lock:
            if says_banned != self._says_banned:  # another year, of another source
                self._says_banned = says_banned
                self._answers.clear()
            unknown = [id_ for id_ in ids if id_ not in self._answers]
            if unknown and not self._is_silent:
                self._ask(unknown, controls)
            known = {id_: self._answers.pop(id_) for id_ in ids if id_ in self._answers}
        rows = {id_: row for id_, row in known.items() if row is not None}
        return PostUpdates(rows, frozenset(known.keys() - rows.keys()))

    def _ask(self, ids: list[int], controls: Controls) -> None:
        for id_ in ids:
            self._expected.pop(id_, None)
        room = -len(ids) % ids_per_request(controls)
        others = list(islice(self._expected, room))
        try:
            updates = recheck_posts(self._client, [*ids, *others], controls=controls, says_banned=self._says_banned)
        except SourceBlocked:
            raise
        except SourceError:
            self._is_silent = True
            return
        for id_ in others:
            self._expected.pop(id_)
        self._answers |= {**updates.rows, **dict.fromkeys(updates.expunged)}
