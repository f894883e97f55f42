"""JSON records of posts, tags and pools, with the columns, order and types of the real site. No HTTP, no queries."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cached_property
from random import Random
from typing import Any

from danbooru_pipeline.demo.art.scenes import CATEGORIES, TAG_IDS
from danbooru_pipeline.demo.site.files import FileFacts, FileStore
from danbooru_pipeline.demo.site.history import Change, ChangeKind, changes_until, posts_at, year_of
from danbooru_pipeline.demo.site.world import OPENED, Post, World

Record = dict[str, Any]

_FIRST_YEAR_WITH_NEW_PREVIEWS = 2023
_HIDDEN_KEYS = ("md5", "file_url", "large_file_url", "preview_file_url")
_STATIC = frozenset({"jpg", "png", "webp", "gif"})
_VARIANTS = (("180x180", 180, "jpg"), ("360x360", 360, "jpg"), ("720x720", 720, "webp"), ("sample", 850, "jpg"))
_FILE_KEY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CATEGORY_NAMES = {0: "general", 1: "artist", 3: "copyright", 4: "character", 5: "meta"}


def _nth_sunday(year: int, month: int, number: int) -> date:
    """The n-th Sunday of a month; 0 means the last one of October."""
    if number == 0:
        last = date(year, 10, 31)
        return last - timedelta(days=(last.weekday() + 1) % 7)
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))


def format_time(moment: datetime) -> str:
    """Format a time as the site does: with milliseconds, and New York's offset on that day.

    The rule is spelled out so that the demo needs no time zone files.
    """
    moment = moment.astimezone(UTC)
    year = moment.year
    # Since 2007: second Sunday of March to first of November. Before: first Sunday of April to last of October.
    start = _nth_sunday(year, 3, 2) if year >= 2007 else _nth_sunday(year, 4, 1)
    end = _nth_sunday(year, 11, 1) if year >= 2007 else _nth_sunday(year, 10, 0)
    summer = (
        datetime(year, start.month, start.day, 7, tzinfo=UTC)
        <= moment
        < datetime(year, end.month, end.day, 6, tzinfo=UTC)
    )
    return moment.astimezone(timezone(timedelta(hours=-4 if summer else -5))).isoformat(timespec="milliseconds")


def shown_md5(post: Post, facts: FileFacts) -> str:
    """The MD5 in the metadata and in the file's address, which for a few posts is not that of the file."""
    return hashlib.md5(facts.md5.encode(), usedforsecurity=False).hexdigest() if post.has_wrong_md5 else facts.md5


def file_path(md5: str, ext: str, *, size: str = "original") -> str:
    """Path on the CDN; `size` is ``original`` or the name of a smaller variant."""
    prefix = "sample-" if size == "sample" else ""
    return f"/{size}/{md5[:2]}/{md5[2:4]}/{prefix}{md5}.{ext}"


@dataclass(frozen=True)
class Site:
    """Everything the site shows at one moment.

    Attributes:
        moment: an aware datetime.
        made: changes that whoever controls the demo asked for.
    """

    world: World
    moment: datetime
    store: FileStore
    cdn_url: str
    made: tuple[Change, ...] = ()

    @property
    def year(self) -> int:
        """The last year that the site had left behind."""
        return year_of(self.moment)

    @cached_property
    def posts(self) -> dict[int, Post]:
        """Posts by ascending id."""
        return posts_at(self.world, self.moment, self.made)

    @cached_property
    def changes(self) -> list[Change]:
        """What happened to posts so far, oldest first."""
        return changes_until(self.world, self.moment, self.made)

    @cached_property
    def events(self) -> list[Record]:
        """The public record of what happened, oldest first: uploads, replacements, and what moderators did."""
        return _describe_events(self)

    @cached_property
    def replacements(self) -> list[Record]:
        """Files that were replaced, by ascending id."""
        replaced = [(change.old, change.new, change) for change in self.changes if change.kind is ChangeKind.REPLACED]
        return [
            {"id": number, "post_id": old.id, "created_at": format_time(change.at)}
            | {f"old_{name}": value for name, value in self._file_of(old).items()}
            | (self._file_of(new) if new else {})
            for number, (old, new, change) in enumerate(replaced, 1)
        ]

    def _file_of(self, post: Post) -> Record:
        facts = self.store.facts(post)
        return {"md5": shown_md5(post, facts), "file_ext": post.kind.ext, "file_size": facts.size}

    @cached_property
    def records(self) -> dict[int, Record]:
        """Posts as anonymous clients see them, by ascending id."""
        children = Counter(p.parent_id for p in self.posts.values() if p.parent_id is not None)
        return {number: self.describe_post(post, children) for number, post in self.posts.items()}

    @cached_property
    def expunged(self) -> list[Record]:
        """Expunged posts, as last seen."""
        return [self.describe_post(post, {}) for post in self.world.expunged(self.year)]

    @cached_property
    def tags(self) -> dict[int, Record]:
        """Tags in use, by ascending id."""
        counts = Counter(tag for post in self.posts.values() for tag in post.tags)
        return {TAG_IDS[name]: _describe_tag(name, counts[name]) for name in TAG_IDS if name in counts}

    @cached_property
    def pools(self) -> dict[int, Record]:
        """Pools, by ascending id."""
        return {pool["id"]: pool for pool in _describe_pools(list(self.posts), self.world)}

    def describe_post(self, post: Post, children: Mapping[int, int]) -> Record:
        """The record of a post. `children`: post id -> number of child posts."""
        facts = self.store.facts(post)
        md5 = shown_md5(post, facts)
        record = _describe_upload(post, facts, md5) | _describe_counts(post, facts)
        parent = post.parent_id if post.parent_id in self.posts else None
        has_children = post.id in children
        record |= {"parent_id": parent, "has_children": has_children}
        record |= {"has_active_children": has_children, "has_visible_children": has_children}
        record["media_asset"] = _describe_asset(post, facts, md5, self.cdn_url)
        record |= _describe_tags(post.tags) | _describe_urls(post, facts, md5, self)
        for key in _HIDDEN_KEYS if post.is_hidden else ():
            del record[key]
        return record


def _describe_upload(post: Post, facts: FileFacts, md5: str) -> Record:
    """The first half of the columns before the tags, in the site's order; `parent_id` and children are placeholders."""
    rng = Random(f"upload:{post.id}")
    score, fav_count, _ = _count_votes(post)
    page = f"https://i.pximg.net/img-original/img/{post.created_at:%Y/%m/%d/%H/%M/%S}"
    pixiv_id = _pixiv_id(post)
    return {
        "id": post.id,
        "created_at": format_time(post.created_at),
        "uploader_id": rng.randint(1, 90_000),
        "score": score,
        "source": f"{page}/{pixiv_id}_p0.{post.kind.ext}"
        if pixiv_id
        else rng.choice(("", f"https://art.example/{post.id}")),
        "md5": md5,
        "last_comment_bumped_at": None,
        "rating": post.rating,
        "image_width": facts.width,
        "image_height": facts.height,
        "tag_string": " ".join(post.tags),
        "fav_count": fav_count,
        "file_ext": post.kind.ext,
        "last_noted_at": None,
        "parent_id": None,
        "has_children": False,
        "approver_id": rng.randint(1, 900) if rng.random() < 0.2 else None,
    }


def _describe_counts(post: Post, facts: FileFacts) -> Record:
    """The second half of the columns before the tags."""
    counts = Counter(CATEGORIES[tag] for tag in post.tags)
    score, _, down_score = _count_votes(post)
    return {
        "tag_count_general": counts[0],
        "tag_count_artist": counts[1],
        "tag_count_character": counts[4],
        "tag_count_copyright": counts[3],
        "file_size": facts.size,
        "up_score": score - down_score,
        "down_score": down_score,
        "is_pending": post.is_pending,
        "is_flagged": post.is_flagged,
        "is_deleted": post.is_deleted,
        "tag_count": len(post.tags),
        "updated_at": format_time(post.updated_at),
        "is_banned": post.is_banned,
        "pixiv_id": _pixiv_id(post),
        "last_commented_at": None,
        "has_active_children": False,
        "bit_flags": 0,
        "tag_count_meta": counts[5],
        "has_large": _has_sample(post, facts),
        "has_visible_children": False,
    }


def _count_votes(post: Post) -> tuple[int, int, int]:
    """Score, favourites, and down votes as a negative number."""
    rng = Random(f"votes:{post.id}")
    up, down = int(rng.expovariate(0.12)), -int(rng.expovariate(1.5))
    return up + down, up * 3 // 2, down


def _pixiv_id(post: Post) -> int | None:
    return 1_000_000 + post.id * 173 if Random(f"source:{post.id}").random() < 0.5 else None


def _has_sample(post: Post, facts: FileFacts) -> bool:
    return post.kind.ext in _STATIC and facts.duration is None and facts.width > 850


def _describe_tags(tags: Iterable[str]) -> Record:
    by_category: dict[int, list[str]] = {category: [] for category in (0, 4, 3, 1, 5)}
    for tag in tags:
        by_category[CATEGORIES[tag]].append(tag)
    return {f"tag_string_{_CATEGORY_NAMES[category]}": " ".join(names) for category, names in by_category.items()}


def _describe_urls(post: Post, facts: FileFacts, md5: str, site: Site) -> Record:
    original = site.cdn_url + file_path(md5, post.kind.ext)
    sample = site.cdn_url + file_path(md5, "jpg", size="sample")
    preview = "180x180" if site.year >= _FIRST_YEAR_WITH_NEW_PREVIEWS else "preview"
    return {
        "file_url": original,
        "large_file_url": sample if _has_sample(post, facts) else original,
        "preview_file_url": site.cdn_url + file_path(md5, "jpg", size=preview),
    }


def _describe_asset(post: Post, facts: FileFacts, md5: str, cdn_url: str) -> Record:
    rng = Random(f"asset:{post.id}:{post.revision}")
    asset: Record = {
        "id": post.id * 3 + post.revision,
        "created_at": format_time(post.created_at - timedelta(minutes=3)),
        "updated_at": format_time(post.created_at - timedelta(minutes=2)),
        "md5": md5,
        "file_ext": post.kind.ext,
        "file_size": facts.size,
        "image_width": facts.width,
        "image_height": facts.height,
        "duration": facts.duration,
        "status": "active",
        "file_key": "".join(rng.choices(_FILE_KEY_LETTERS, k=9)),
        "is_public": True,
        "pixel_hash": facts.pixel_hash,
        "variants": list(_describe_variants(post, facts, md5, cdn_url)),
    }
    for key in ("md5", "file_key", "variants") if post.is_hidden else ():
        del asset[key]
    return asset


def _describe_variants(post: Post, facts: FileFacts, md5: str, cdn_url: str) -> Iterable[Record]:
    for name, side, ext in _VARIANTS:
        if name == "sample" and not _has_sample(post, facts):
            continue
        longest = facts.width if name == "sample" else max(facts.width, facts.height)
        scale = min(1.0, side / longest)
        yield {
            "type": name,
            "url": cdn_url + file_path(md5, ext, size=name),
            "width": max(1, round(facts.width * scale)),
            "height": max(1, round(facts.height * scale)),
            "file_ext": ext,
        }
    url = cdn_url + file_path(md5, post.kind.ext)
    yield {"type": "original", "url": url, "width": facts.width, "height": facts.height, "file_ext": post.kind.ext}


def _describe_events(site: Site) -> list[Record]:
    """One row of the site's view ``post_events`` each; it has no ids, and says nothing of expunged posts."""
    uploads = ((post.created_at, "Post", post.id) for post in site.posts.values())
    # Not an attribute of the view: which moderator action it was. Danbooru shows that on the page of a post only.
    models: dict[ChangeKind | None, str] = {ChangeKind.REPLACED: "PostReplacement"}
    told = (each for each in site.changes if each.kind is not ChangeKind.RERATED and each.old.id in site.posts)
    actions = ((each.at, models.get(each.kind, "ModAction"), each.old.id) for each in told)
    return [
        {
            "model_type": model,
            "model_id": post_id if model == "Post" else number,
            "post_id": post_id,
            "creator_id": Random(f"event:{post_id}:{at}").randint(1, 900),
            "event_at": format_time(at),
        }
        for number, (at, model, post_id) in enumerate(sorted([*uploads, *actions]), 1)
    ]


def _describe_tag(name: str, count: int) -> Record:
    created = OPENED + timedelta(days=TAG_IDS[name] % 3000)
    return {
        "id": TAG_IDS[name],
        "name": name,
        "post_count": count,
        "category": CATEGORIES[name],
        "created_at": format_time(created),
        "updated_at": format_time(created + timedelta(days=200)),
        "is_deprecated": False,
        "words": [word.strip("()") for word in name.split("_")],
    }


def _describe_pools(ids: Sequence[int], world: World) -> Iterable[Record]:
    """Series of consecutive posts and collections of scattered ones; none contains an expunged post."""
    for number in range(1, max(2, world.posts // 100) + 1):
        rng = Random(f"pool:{world.seed}:{number}")
        start, step = rng.randint(1, max(1, world.posts - 20)), rng.choice((1, 1, 3))
        members = set(range(start, start + step * rng.randint(4, 14), step))
        created = OPENED + timedelta(days=number * 11 % 5000)
        post_ids = [i for i in ids if i in members]
        yield {
            "id": number,
            "name": f"{'Story' if step == 1 else 'Finds'}_No._{number}",
            "created_at": format_time(created),
            "updated_at": format_time(created + timedelta(days=90)),
            "description": f"Made for the demo; {len(post_ids)} posts.",
            "is_active": True,
            "is_deleted": False,
            "post_ids": post_ids,
            "category": "series" if step == 1 else "collection",
            "post_count": len(post_ids),
        }
