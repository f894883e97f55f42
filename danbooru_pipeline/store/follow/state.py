"""``store/follow/state.json``: how far following is. Read and written here and nowhere else."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.layout import Layout

#: How far each visit looks back, since transactions do not end in the order in which they begin.
OVERLAP: Final = timedelta(hours=1)
#: How often a file that does not come is asked for; after that it is left to the build, which asks once more.
MAX_TRIES: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowState:
    """How far following is.

    Attributes:
        site: address of the booru that is followed.
        start_id: following began after this post.
        last_id: posts up to this one were seen.
        posts_until: when the newest of them was created; None before there was one.
        changes_until: replacements and events up to this moment were seen; all that earlier versions wrote.
        events_until, replacements_until: how far each was seen beyond that, since one may not be told for a while.
        left: posts whose file did not come -> how often it was asked for.
        unanswered: known posts that the site said nothing about -> how often they were asked about.
        disbelieved: when the newest release's metadata was taken, if that had still to come (see `operate.follow`).
        swept_up_to: the newest sweep up to this post was taken into account.
        files, bytes: that came since following began.
        ran_at: when the last run ended; None while none did.
        says_banned: whether the site ever said of a post if it is banned; one that does not say is then not taken.
        kinds: posts of each kind that following saw last (see `sources.controls`).
    """

    site: str
    start_id: int
    last_id: int
    changes_until: datetime
    events_until: datetime | None = None
    replacements_until: datetime | None = None
    posts_until: datetime | None = None
    left: Mapping[int, int] = field(default_factory=dict)
    unanswered: Mapping[int, int] = field(default_factory=dict)
    disbelieved: datetime | None = None
    swept_up_to: int = 0
    files: int = 0
    bytes: int = 0
    ran_at: datetime | None = None
    says_banned: bool = False
    kinds: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def events_since(self) -> datetime:
        """From when on the next visit reads events."""
        return (self.events_until or self.changes_until) - OVERLAP

    @property
    def replacements_since(self) -> datetime:
        """From when on the next visit reads replacements."""
        return (self.replacements_until or self.changes_until) - OVERLAP

    def with_changes(self, events: Iterable[datetime], replacements: Iterable[datetime]) -> "FollowState":
        """The same after changes of some times were seen; a feed without any stays where it was."""
        events_until = max([*events, self.events_until or self.changes_until])
        replacements_until = max([*replacements, self.replacements_until or self.changes_until])
        return replace(
            self,
            changes_until=min(events_until, replacements_until),
            events_until=events_until,
            replacements_until=replacements_until,
        )

    def not_after(self, latest: datetime, instead: datetime) -> "FollowState":
        """The same with times that are after one brought back: of an earlier version, or of a clock that was wrong."""

        def brought_back(at: datetime | None) -> datetime | None:
            return instead if at is not None and at > latest else at

        return replace(
            self,
            changes_until=instead if self.changes_until > latest else self.changes_until,
            events_until=brought_back(self.events_until),
            replacements_until=brought_back(self.replacements_until),
        )

    @property
    def given_up(self) -> int:
        """How many posts are left to the build."""
        return len(self.left) - len(self.asked_again)

    @property
    def asked_again(self) -> frozenset[int]:
        """Posts whose file is asked for again."""
        return frozenset(id_ for id_, tries in self.left.items() if tries < MAX_TRIES)

    def with_left(self, tried: Iterable[int], left: Iterable[int]) -> "FollowState":
        """The same after files of some posts were tried, and those in `left` did not come."""
        left = frozenset(left)
        others = {id_: tries for id_, tries in self.left.items() if id_ not in set(tried) - left}
        return replace(self, left=others | {id_: self.left.get(id_, 0) + 1 for id_ in left})

    def with_answers(self, asked: Iterable[int], unanswered: Iterable[int]) -> "FollowState":
        """The same after some posts were asked about, and the site said nothing about those in `unanswered`."""
        asked = set(asked)
        others = {id_: tries for id_, tries in self.unanswered.items() if id_ not in asked}
        again = {id_: min(MAX_TRIES, self.unanswered.get(id_, 0) + 1) for id_ in unanswered}
        return replace(self, unanswered=others | again)

    @property
    def waiting(self) -> frozenset[int]:
        """Posts that are asked about until there is an answer, or `MAX_TRIES` runs got none."""
        return frozenset(id_ for id_, tries in self.unanswered.items() if tries < MAX_TRIES)

    @property
    def unheard(self) -> frozenset[int]:
        """Posts that so many runs got no answer about: they are left to the sweep."""
        return frozenset(self.unanswered) - self.waiting

    def still_told(self, told: Container[int]) -> "FollowState":
        """The same without posts that no answer is expected of any more, but for those that the feeds still tell of.

        Those are asked about as the feeds tell of them, and are not counted anew.
        """
        kept = {id_: tries for id_, tries in self.unanswered.items() if tries < MAX_TRIES or id_ in told}
        return replace(self, unanswered=kept)

    def after_sweep(self, last_id: int) -> "FollowState":
        """The same after a sweep up to an id: those posts are of its release, which fetches them.

        A sweep is taken into account once: what did not come of posts of an earlier release is asked for again.
        """
        if last_id <= self.swept_up_to:
            return self
        left = {id_: tries for id_, tries in self.left.items() if id_ > last_id}
        return replace(self, last_id=max(self.last_id, last_id), left=left, swept_up_to=last_id)

    def without(self, ids: Iterable[int]) -> "FollowState":
        """The same without some posts."""
        gone = set(ids)
        left, unanswered = (
            {id_: tries for id_, tries in each.items() if id_ not in gone} for each in (self.left, self.unanswered)
        )
        return replace(self, left=left, unanswered=unanswered)


def read_state(layout: Layout) -> FollowState | None:
    """How far following is; None when it never began.

    Raises:
        DamagedFile: the file cannot be read.
    """
    path = layout.follow_state
    with damage_named(path):
        try:
            data = path.read_bytes()
            require_known_json(path, msgspec.json.decode(data))
            return msgspec.json.decode(data, type=FollowState)
        except FileNotFoundError:
            return None


def find_state(layout: Layout) -> FollowState | None:
    """The same for those who only want to know; None when it is damaged, too: the next run begins anew."""
    try:
        return read_state(layout)
    except DamagedFile:
        return None


def write_state(layout: Layout, state: FollowState) -> None:
    """Replace the state."""
    write_atomic(layout.follow_state, msgspec.json.format(msgspec.json.encode(state)))
