"""The demo site at any moment: its posts, and the changes that led there. Pure: no files, no HTTP, no clock.

Between two Januaries each post of the world changes at the time that its later version says it was updated; a post that
is expunged goes on a day of its own. Whoever controls the demo adds changes, and those come last.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Final

from danbooru_pipeline.demo.art.scenes import CATEGORIES
from danbooru_pipeline.demo.site.world import FIRST_YEAR, Post, World, january_after

#: How long the site keeps a file that was replaced. Source: danbooru app/models/post_replacement.rb.
GRACE_PERIOD: Final = timedelta(days=30)
#: Added to a post's revision by a replacement that somebody asked for, so it never meets one of the world's own.
_REVISION_STEP: Final = 10


class ChangeKind(StrEnum):
    """What can happen to a post."""

    REPLACED = "replaced"
    DELETED = "deleted"
    UNDELETED = "undeleted"
    BANNED = "banned"
    UNBANNED = "unbanned"
    EXPUNGED = "expunged"
    RERATED = "rerated"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a post: `kind` is None for an edit, `new` when it was expunged."""

    at: datetime
    kind: ChangeKind | None
    old: Post
    new: Post | None


def year_of(moment: datetime) -> int:
    """The last year that the site had left behind, twelve days into January, at a moment."""
    return moment.year - (1 if moment >= january_after(moment.year - 1) else 2)


def posts_at(world: World, moment: datetime, made: Iterable[Change] = ()) -> dict[int, Post]:
    """The posts of the site at a moment, by ascending id.

    Args:
        world: its history.
        moment: an aware datetime.
        made: changes that were asked for; the last one of a post decides.
    """
    year = max(FIRST_YEAR, year_of(moment))
    before, after = ({post.id: post for post in world.as_of(each)} for each in (year, year + 1))
    posts: dict[int, Post | None] = {**after, **before}
    posts |= {change.old.id: change.new for change in _changes_after(world, year) if change.at <= moment}
    posts |= {change.old.id: change.new for change in made if change.at <= moment}
    return {id_: post for id_, post in sorted(posts.items()) if post is not None and post.created_at <= moment}


def changes_until(world: World, moment: datetime, made: Iterable[Change] = ()) -> list[Change]:
    """Everything that happened up to a moment, oldest first."""
    years = range(FIRST_YEAR, year_of(moment) + 1)
    changes = (*(change for year in years for change in _changes_after(world, year)), *made)
    found = (change for change in changes if change.at <= moment and change.kind is not None)
    return sorted(found, key=lambda change: (change.at, change.old.id, change.kind or ""))


def _changes_after(world: World, year: int) -> Iterator[Change]:
    """What happens to the posts of one January until the next."""
    after = {post.id: post for post in world.as_of(year + 1)}
    for old in world.as_of(year):
        new = after.get(old.id)
        if new is None:
            days = Random(f"expunged:{world.seed}:{old.id}").randrange(330)
            yield Change(datetime(year + 1, 2, 1, tzinfo=UTC) + timedelta(days=days), ChangeKind.EXPUNGED, old, None)
        elif new.updated_at != old.updated_at:
            kinds: list[ChangeKind | None] = [*_kinds(old, new)] or [None]
            yield from (Change(new.updated_at, kind, old, new) for kind in kinds)


def _kinds(old: Post, new: Post) -> Iterator[ChangeKind]:
    """What the site would record about the difference between two versions of a post, other than an edit."""
    if old.revision != new.revision:
        yield ChangeKind.REPLACED
    if old.is_banned != new.is_banned:
        yield ChangeKind.BANNED if new.is_banned else ChangeKind.UNBANNED
    if old.is_deleted != new.is_deleted:
        yield ChangeKind.DELETED if new.is_deleted else ChangeKind.UNDELETED


def make_change(post: Post, kind: ChangeKind, *, at: datetime, revision: int | None = None) -> Change:
    """Change a post now.

    Args:
        post: as it is.
        kind: what happens to it.
        at: when.
        revision: of its new file, when it is replaced; by default one that no post ever had.
    """
    changed: dict[ChangeKind, Post | None] = {
        ChangeKind.REPLACED: replace(post, revision=post.revision + _REVISION_STEP if revision is None else revision),
        ChangeKind.DELETED: replace(post, is_deleted=True),
        ChangeKind.UNDELETED: replace(post, is_deleted=False),
        ChangeKind.BANNED: replace(post, is_banned=True),
        ChangeKind.UNBANNED: replace(post, is_banned=False),
        ChangeKind.EXPUNGED: None,
        ChangeKind.RERATED: replace(post, rating="q" if post.rating in "gs" else "g"),
    }
    new = changed[kind]
    return Change(at, kind, post, new and replace(new, updated_at=at))


def edit_tags(post: Post, script: str, *, at: datetime) -> Change:
    """Change the tags of a post now, as a tag script says: ``smile -frown``.

    Raises:
        ValueError: a tag that is to be added does not exist.
    """
    words = script.split()
    removed = {word[1:] for word in words if word.startswith("-")}
    added = {word for word in words if not word.startswith("-")}
    if unknown := sorted(added - CATEGORIES.keys()):
        raise ValueError(f"there is no tag {unknown[0]}")
    tags = tuple(sorted((set(post.tags) | added) - removed))
    return Change(at, None, post, replace(post, tags=tags, updated_at=at))


def kept_files(changes: Sequence[Change], moment: datetime) -> list[Post]:
    """Posts as they were before they were replaced, as far as the site still has those files."""
    return [
        change.old
        for change in changes
        if change.kind is ChangeKind.REPLACED and moment - change.at < GRACE_PERIOD and not change.old.is_banned
    ]
