"""The posts of the demo site and their history: a pure function of (seed, posts, year). No files, no HTTP, no clock.

"As of year Y" is the site in January Y+1, when a release is made: all posts up to the cutoff of Y, a few uploaded after
it, and everything that was changed, replaced, banned or expunged by then.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random

from danbooru_pipeline.demo.art.kinds import Kind
from danbooru_pipeline.demo.art.scenes import RESTRICTED_TAG, RETAGS, choose_scene, describe_scene

FIRST_YEAR = 2021
#: Time of the site's first post, early enough for created_at to span years as on a real booru.
OPENED = datetime(2005, 5, 24, 3, 35, 31, tzinfo=UTC)


#: Every world gets at least one of each, in this order, as far as it has room: one awkward file to two ordinary ones.
AWKWARD = (
    Kind.PNG_BLACK_LINES, Kind.JPG_TRUNCATED, Kind.GIF_ANIMATED, Kind.JPG_IS_PNG, Kind.MP4, Kind.PNG_16BIT,
    Kind.JPG_CMYK,
    Kind.WEBP, Kind.JPG_ROTATED, Kind.PNG_ANIMATED, Kind.ZIP, Kind.PNG_WHITE_LINES, Kind.JPG_GREY, Kind.PNG_PALETTE,
    Kind.GIF, Kind.JPG_PROFILE, Kind.PNG_TINY, Kind.WEBP_ANIMATED, Kind.PNG_GREY, Kind.JPG_TRAILING, Kind.WEBM,
    Kind.SWF,
)  # fmt: skip
_SHARES = {
    Kind.JPG: 52, Kind.PNG: 23, Kind.PNG_STICKER: 7, Kind.GIF: 2.2, Kind.GIF_ANIMATED: 1.5, Kind.WEBP: 2,
    Kind.WEBP_ANIMATED: 0.7, Kind.ZIP: 1.4, Kind.MP4: 1.6, Kind.WEBM: 0.8, Kind.SWF: 0.4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Post:
    """One post at one time. Times are aware UTC datetimes.

    Attributes:
        revision: how often the file was replaced.
        is_restricted: shown to anonymous clients without MD5 and file address, as banned posts are too.
        has_wrong_md5: whether the metadata's MD5 permanently differs from the file's.
    """

    id: int
    created_at: datetime
    updated_at: datetime
    rating: str
    kind: Kind
    tags: tuple[str, ...]
    revision: int = 0
    parent_id: int | None = None
    is_deleted: bool = False
    is_banned: bool = False
    is_pending: bool = False
    is_flagged: bool = False
    is_restricted: bool = False
    has_wrong_md5: bool = False

    @property
    def is_hidden(self) -> bool:
        """Whether anonymous clients see neither MD5 nor file address."""
        return self.is_restricted or self.is_banned


@dataclass(frozen=True, slots=True)
class World:
    """The whole history of the site.

    Attributes:
        posts: number of posts up to the first year's cutoff; each later year adds a quarter of that.
        seed: a different seed gives a different world.
    """

    posts: int
    seed: int = 0

    def as_of(self, year: int) -> tuple[Post, ...]:
        """The posts on the site in the January after `year`, by ascending id, without expunged ones."""
        return _as_of(self, year)

    def expunged(self, year: int) -> tuple[Post, ...]:
        """Posts of earlier years that were expunged by then, as last seen."""
        seen = {post.id: post for earlier in range(FIRST_YEAR, year) for post in _as_of(self, earlier)}
        shown = {post.id for post in _as_of(self, year)}
        return tuple(post for number, post in sorted(seen.items()) if number not in shown)


def january_after(year: int) -> datetime:
    """The time at which the site is seen "as of" a year."""
    return datetime(year + 1, 1, 12, tzinfo=UTC)


@lru_cache(maxsize=64)
def _as_of(world: World, year: int) -> tuple[Post, ...]:
    now = january_after(year)
    if year <= FIRST_YEAR:
        return tuple(post for post in _first_posts(world) if post.created_at < now)
    before = _as_of(world, year - 1)
    known = {post.id for post in before}
    born = [p for p in (*_batch(world, year), *_batch(world, year + 1)) if p.created_at < now and p.id not in known]
    return tuple(_apply_year(before, Random(f"{world.seed}:{year}"), year)) + tuple(
        _adopt_general_rating(p) for p in born
    )


def _first_posts(world: World) -> Iterator[Post]:
    yield from _batch(world, FIRST_YEAR)
    yield from _batch(world, FIRST_YEAR + 1)


def _batch_size(world: World, year: int) -> int:
    return world.posts if year == FIRST_YEAR else max(4, world.posts // 4)


def _first_id(world: World, year: int) -> int:
    sizes = (_batch_size(world, earlier) for earlier in range(FIRST_YEAR, year))
    return 1 + sum(size + _hole_count(size) for size in sizes)


def _hole_count(size: int) -> int:
    return max(1, round(size * 0.02)) if size >= 10 else 0


@lru_cache(maxsize=64)
def _batch(world: World, year: int) -> tuple[Post, ...]:
    """Posts of one year as uploaded."""
    rng = Random(f"{world.seed}:{world.posts}:{year}:batch")
    ids = list(_choose_ids(world, year))
    kinds = _deal_kinds(rng, len(ids))
    times = _choose_times(rng, len(ids), year)
    posts = [_make_post(world, i, kind, time) for i, kind, time in zip(ids, kinds, times, strict=True)]
    wrong_md5s = 1 + (world.posts >= 30) + (world.posts >= 1000) if year == FIRST_YEAR else 0
    return tuple(_mark_special(posts, rng, wrong_md5s=wrong_md5s))


def _choose_ids(world: World, year: int) -> Iterator[int]:
    """Nearly contiguous ids. No bucket (id % 1000) loses two posts to holes, so that none is empty."""
    first, size = _first_id(world, year), _batch_size(world, year)
    total = size + _hole_count(size)
    rng = Random(f"{world.seed}:{world.posts}:holes")
    spare = rng.sample(range(1000), 1000)  # the same order each year, continued from year to year
    taken = sum(_hole_count(_batch_size(world, earlier)) for earlier in range(FIRST_YEAR, year))
    holes: set[int] = set()
    for residue in spare[taken % 1000 :] + spare[: taken % 1000]:
        if len(holes) == total - size:
            break
        candidates = range(first + 4 + (residue - first - 4) % 1000, first + total - 1, 1000)
        if candidates:
            holes.add(rng.choice(candidates))
    yield from (i for i in range(first, first + total) if i not in holes)


def _deal_kinds(rng: Random, count: int) -> list[Kind]:
    each = max(1, count // 400)
    awkward = [kind for kind in AWKWARD for _ in range(each)][: count * 11 // 20]
    kinds = awkward + rng.choices(tuple(_SHARES), weights=tuple(_SHARES.values()), k=count - len(awkward))
    rng.shuffle(kinds)
    return kinds


def _choose_times(rng: Random, count: int, year: int) -> list[datetime]:
    """Ascending upload times; the edges of a year are the same in every world.

    A later year begins with one post half an hour after midnight UTC, when it is still the old year on the site's clock
    in New York, and a few more in early January. Every year ends with a post a tenth of a second before the cutoff.
    """
    last = datetime(year, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC)
    if year == FIRST_YEAR:
        span = (last - OPENED).total_seconds()
        # The site grows: the square root puts more posts into later years.
        return [_at(OPENED, span * math.sqrt(share)) for share in sorted(rng.random() for _ in range(count - 1))] + [
            last
        ]
    start = datetime(year, 1, 1, 0, 30, tzinfo=UTC)
    early = max(1, min(count // 6, 12))
    days = [3600.0 + 86400 * 9 * rng.random() for _ in range(early)]
    days += [86400 * (12 + 351 * rng.random()) for _ in range(count - early - 2)]
    return [start, *(_at(start, seconds) for seconds in sorted(days)), last]


def _at(start: datetime, seconds: float) -> datetime:
    moment = start + timedelta(seconds=seconds)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _make_post(world: World, post_id: int, kind: Kind, created_at: datetime) -> Post:
    rng = Random(f"post:{world.seed}:{post_id}")
    tags = describe_scene(choose_scene(world.seed, post_id, with_figure=kind.needs_figure)) | _kind_tags(kind)
    if rng.random() < 0.4:
        tags.add(rng.choice(("commentary", "commentary_request", "translated")))
    return Post(
        id=post_id,
        created_at=created_at,
        updated_at=_at(created_at, rng.uniform(30, 86400 * 2)),
        rating=rng.choices("sqe", weights=(75, 15, 10))[0],
        kind=kind,
        tags=tuple(sorted(tags)),
        is_pending=rng.random() < 0.004,
        is_flagged=rng.random() < 0.003,
        parent_id=post_id - 1 if post_id > 4 and rng.random() < 0.04 else None,
    )


def _kind_tags(kind: Kind) -> set[str]:
    tags = {
        Kind.ZIP: {"animated", "ugoira"},
        Kind.MP4: {"animated", "video"},
        Kind.WEBM: {"animated", "video"},
        Kind.SWF: {"animated"},
        Kind.PNG_STICKER: {"transparent_background"},
        Kind.PNG_PALETTE: {"transparent_background"},
        Kind.PNG_GREY: {"monochrome", "greyscale"},
        Kind.JPG_GREY: {"monochrome", "greyscale"},
    }
    if kind.value.endswith("animated"):
        return {"animated"}
    if kind.value.endswith("lines"):
        return {"transparent_background", "lineart", "monochrome"}
    return tags.get(kind, set())


def _mark_special(posts: list[Post], rng: Random, *, wrong_md5s: int) -> list[Post]:
    """Mark deleted, banned and restricted posts and wrong MD5s: never two on one post, and never at a year's edges."""
    numbers = Counter(post.kind for post in posts)
    free = list(range(2, len(posts) - 1))
    rng.shuffle(free)
    # If possible the only file of a kind stays visible, so that even small worlds show every kind.
    free.sort(key=lambda i: numbers[posts[i].kind] == 1)
    plain = [i for i in free if posts[i].kind in {Kind.JPG, Kind.PNG}]
    for i in _take(free, plain, wrong_md5s):
        posts[i] = replace(posts[i], has_wrong_md5=True)
    for i in _take(free, free, len(posts) * 0.01):
        posts[i] = replace(posts[i], is_restricted=True, tags=tuple(sorted({*posts[i].tags, RESTRICTED_TAG})))
    for i in _take(free, free, len(posts) * 0.004):
        posts[i] = replace(posts[i], is_banned=True)
    for i in _take(free, free, len(posts) * 0.05):
        posts[i] = replace(posts[i], is_deleted=True)
    return posts


def _apply_year(before: Sequence[Post], rng: Random, year: int) -> Iterator[Post]:
    """Apply one year of changes to existing posts: at least one of each kind if there is room."""
    posts = list(before)
    free = [i for i, post in enumerate(posts) if i > 1 and not post.is_hidden and not post.has_wrong_md5]
    rng.shuffle(free)
    gone = _take_expunged(posts, free, rng)
    # Changes that fit fewer posts choose first, so that small worlds see all of them.
    for i in _take(free, [j for j in free if posts[j].rating in "qe"], len(posts) * 0.015):
        posts[i] = _touch(replace(posts[i], rating="s"), rng, year)
    plain = [j for j in free if posts[j].kind in {Kind.JPG, Kind.PNG}]
    plain = plain or [j for j in free if posts[j].kind.ext in {"jpg", "png"}]
    for number, i in enumerate(_take(free, plain, len(posts) * 0.01)):
        # The first replaced file, and many others, get another extension.
        kind = posts[i].kind if number and rng.random() < 0.4 else _other_kind(posts[i].kind)
        posts[i] = _touch(replace(posts[i], kind=kind, revision=posts[i].revision + 1), rng, year)
    for i in _take(free, free, len(posts) * 0.003):
        posts[i] = _touch(replace(posts[i], is_banned=True), rng, year)
    for i in _take(free, [j for j in free if not posts[j].is_deleted], len(posts) * 0.01):
        posts[i] = _touch(replace(posts[i], is_deleted=True), rng, year)
    for i in _take(free, [j for j in free if posts[j].rating in "gs"], len(posts) * 0.015):
        posts[i] = _touch(replace(posts[i], rating="q"), rng, year)
    for i in _take(free, free, len(posts) * 0.02):
        posts[i] = _touch(replace(posts[i], tags=_retag(posts[i].tags, rng)), rng, year)
    for i, post in enumerate(posts):
        if i not in gone:
            yield replace(_adopt_general_rating(post), is_pending=False, is_flagged=False)


def _take(free: list[int], wanted: Iterable[int], count: float) -> list[int]:
    """Take the first `count` (rounded, but at least 1 unless 0) of the wanted posts out of `free`."""
    taken = list(wanted)[: max(1, round(count)) if count else 0]
    for i in taken:
        free.remove(i)
    return taken


def _take_expunged(posts: Sequence[Post], free: list[int], rng: Random) -> set[int]:
    """Choose posts to expunge whose buckets keep two others, so that no bucket of a full-size world is empty."""
    sizes: dict[int, int] = {}
    for post in posts:
        sizes[post.id % 1000] = sizes.get(post.id % 1000, 0) + 1
    roomy = [i for i in free if sizes[posts[i].id % 1000] > 2 or len(posts) < 1000]
    rng.shuffle(roomy)
    chosen: dict[int, int] = {posts[i].id % 1000: i for i in roomy[: max(1, round(len(posts) * 0.003))]}
    for i in chosen.values():
        free.remove(i)
    return set(chosen.values())


def _other_kind(kind: Kind) -> Kind:
    return Kind.PNG if kind.ext == "jpg" else Kind.JPG


def _touch(post: Post, rng: Random, year: int) -> Post:
    return replace(post, updated_at=_at(datetime(year, 2, 1, tzinfo=UTC), rng.uniform(0, 86400 * 330)))


def _retag(tags: tuple[str, ...], rng: Random) -> tuple[str, ...]:
    """Add a new tag, and sometimes remove one."""
    left = set(tags) | {rng.choice([tag for tag in RETAGS if tag not in tags])}
    if rng.random() < 0.3:
        left.discard("solo")
    return tuple(sorted(left))


def _adopt_general_rating(post: Post) -> Post:
    """The rating "general" exists since May 2022: most new safe posts have it, and some old ones were moved to it."""
    if post.rating != "s":
        return post
    share = 0.7 if post.created_at.year > FIRST_YEAR else 0.1
    is_general = Random(f"general:{post.id}").random() < share
    return replace(post, rating="g") if is_general else post
