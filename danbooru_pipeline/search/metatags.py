"""The metatags: each is declared once, with its meaning and with what differs from the site; docs/search.md shows them.

A metatag turns its value into a condition, or raises `ValueError` with what it expects. Those of the site that ask for
what a release does not have are in `UNSUPPORTED`, so that they are told apart from tags.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from danbooru_pipeline.images.words import Quality
from danbooru_pipeline.layout import EXTENSIONS, MD5_FORM
from danbooru_pipeline.search import ranges
from danbooru_pipeline.search.nodes import Among, And, Node, Not, Or, Pool, Present, Range, Text, Within
from danbooru_pipeline.search.ranges import Reader, parse_ranges
from danbooru_pipeline.search.splits import NAMES
from danbooru_pipeline.years import RATINGS

#: What makes a post not active.
STATUSES: Final = ("deleted", "pending", "flagged", "banned")
#: Warnings in ``px512_flags``.
QUALITIES: Final = tuple(map(str, Quality))
DUPLICATES: Final = ("identical", "recompressed", "cropped", "variant")
FILES: Final = ("ok", "missing", "withheld", "removed", "quarantined", "pending")
#: Posts of the site's table of notes, commentaries or comments.
SIDES: Final = {"notes": "notes", "commentary": "artist_commentaries", "comments": "comments"}

_ACTIVE: Final = Not(Among("status", STATUSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metatag:
    """One metatag.

    Attributes:
        read: value -> condition.
        example: of it, for the docs.
        meaning: for the docs.
        differs: from the site, for the docs; empty where it does not.
    """

    read: Callable[[str], Node]
    example: str
    meaning: str
    differs: str = ""


def _number(field: str, value: str, *, read: Reader = ranges.integer, nullable: bool = False) -> Node:
    if nullable and value.lower() in {"none", "any"}:
        return Present(field) if value.lower() == "any" else Not(Present(field))
    return Within(field, parse_ranges(value, read))


def _about(field: str, value: str, *, read: Reader) -> Node:
    return Within(field, ranges.nearly(parse_ranges(value, read)))


def _words(field: str, value: str, *, known: tuple[str, ...]) -> Node:
    words = tuple(word.lower() for word in value.split(","))
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"has no {unknown[0]!r}, only {', '.join(known)}")
    return Among(field, words)


def _presence(field: str, value: str, *, known: tuple[str, ...] = ()) -> Node:
    if value.lower() == "none":
        return Not(Among(field, known)) if known else Not(Present(field))
    if value.lower() == "any":
        return Among(field, known) if known else Present(field)
    if known:
        return _words(field, value, known=known)
    raise ValueError("expects any or none")


def _rating(value: str) -> Node:
    letters = []
    for word in value.lower().split(","):
        letter = "s" if word == "safe" else word[:1]
        if letter not in RATINGS or not (RATINGS[letter].startswith(word) or word == "safe"):
            raise ValueError(f"has no {word!r}, only {', '.join(RATINGS)} or their names")
        letters.append(letter)
    return Among("rating", tuple(letters))


def _status(value: str) -> Node:
    parts: list[Node] = []
    for word in value.lower().split(","):
        if word in {"any", "all"}:
            return And()
        if word == "active":
            parts.append(_ACTIVE)
        elif word in {"modqueue", "unmoderated"}:
            parts.append(Among("status", ("pending", "flagged")))
        elif word in STATUSES:
            parts.append(Among("status", (word,)))
        else:
            raise ValueError(f"has no {word!r}, only active, {', '.join(STATUSES)}, modqueue, any")
    return parts[0] if len(parts) == 1 else Or(tuple(parts))


def _age(value: str) -> Node:
    return Within("age", parse_ranges(value, ranges.age))


def _parent(value: str) -> Node:
    """Children of a post and the post itself, as on the site."""
    if value.lower() in {"none", "any"}:
        return _number("parent", value, nullable=True)
    found = parse_ranges(value, ranges.integer)
    return Or((Within("parent", found), Within("id", found)))


def _child(value: str) -> Node:
    if value.lower() in {"none", "any"}:
        has = Among("children", ("any",))
        return has if value.lower() == "any" else Not(has)
    return Within("child", parse_ranges(value, ranges.integer))


def _source(value: str) -> Node:
    if value.lower() == "none":
        return Not(Present("source"))
    return Text("source", value if value.endswith("*") else f"{value}*")


def _pool(value: str) -> Node:
    if value.lower() in {"none", "any"}:
        return _presence("pool", value)
    return Pool(value)


def _hashes(field: str, value: str) -> Node:
    words = tuple(value.lower().split(","))
    if not all(re.fullmatch(MD5_FORM, word) for word in words):
        raise ValueError("expects an MD5 of 32 digits")
    return Among(field, words)


def _side(field: str, value: str) -> Node:
    word = value.lower()
    if word in {"true", "any"}:
        return Among("has", (field,))
    if word in {"false", "none"}:
        return Not(Among("has", (field,)))
    raise ValueError("expects any or none; the text of it is not indexed")


_IS: Final[dict[str, Node]] = {
    "parent": Among("children", ("any",)),
    "child": Present("parent"),
    "sfw": Among("rating", ("g", "s")),
    "nsfw": Among("rating", ("q", "e")),
    "active": _ACTIVE,
    **{name: Among("status", (name,)) for name in STATUSES},
    **{name: Among("rating", (letter,)) for letter, name in RATINGS.items()},
    **{ext: Among("filetype", (ext,)) for ext in sorted(EXTENSIONS)},
}
_HAS: Final[dict[str, Node]] = {
    "parent": Present("parent"),
    "children": Among("children", ("any",)),
    "source": Present("source"),
    "pools": Present("pool"),
    **{name: Among("has", (name,)) for name in SIDES},
}


def _choice(choices: Mapping[str, Node], value: str) -> Node:
    found = [choices.get(word) for word in value.lower().split(",")]
    known = [node for node in found if node is not None]
    if len(known) < len(found):
        raise ValueError(f"has only {', '.join(choices)}")
    return known[0] if len(known) == 1 else Or(tuple(known))


def _bucket(value: str) -> Node:
    found = parse_ranges(value.replace("-", "..") if re.fullmatch(r"\d+-\d+", value) else value, ranges.integer)
    return Within("bucket", found)


def _counted(name: str, what: str) -> Metatag:
    return Metatag(read=partial(_number, name), example=f"{name}:1", meaning=f"number of {what} tags")


_FAVORITES: Final = Metatag(read=partial(_number, "favcount"), example="favcount:>50", meaning="number of favorites")
_USER: Final = "by number only: a release has no table of users"

METATAGS: Final[dict[str, Metatag]] = {
    "id": Metatag(read=partial(_number, "id"), example="id:1..1000", meaning="the post's id"),
    "rating": Metatag(read=_rating, example="rating:g,s", meaning="general, sensitive, questionable, explicit"),
    "score": Metatag(read=partial(_number, "score"), example="score:>=10", meaning="score"),
    "upvotes": Metatag(read=partial(_number, "upvotes"), example="upvotes:>20", meaning="votes for the post"),
    "downvotes": Metatag(read=partial(_number, "downvotes"), example="downvotes:0", meaning="votes against the post"),
    "favcount": _FAVORITES,
    "fav": Metatag(
        read=partial(_number, "favcount"),
        example="fav:>50",
        meaning="the same as favcount",
        differs="the site takes the name of a user; a release does not say who likes what",
    ),
    "width": Metatag(read=partial(_number, "width"), example="width:>1200", meaning="pixels, by the site"),
    "height": Metatag(read=partial(_number, "height"), example="height:800..", meaning="pixels, by the site"),
    "mpixels": Metatag(
        read=partial(_about, "mpixels", read=ranges.decimal),
        example="mpixels:2..",
        meaning="million pixels; a single number means within 5 %",
    ),
    "ratio": Metatag(
        read=partial(_number, "ratio", read=ranges.ratio), example="ratio:16:9", meaning="width by height, two decimals"
    ),
    "filesize": Metatag(
        read=partial(_about, "filesize", read=ranges.size),
        example="filesize:>2mb",
        meaning="size at the source; a single number means within 5 %",
    ),
    "filetype": Metatag(
        read=partial(_words, "filetype", known=tuple(sorted(EXTENSIONS))),
        example="filetype:png,webp",
        meaning="extension of the original, by the site",
    ),
    "date": Metatag(
        read=partial(_number, "date", read=ranges.date),
        example="date:2020-01-01..2020-12-31",
        meaning="day of upload; also a month or a year",
        differs="days are those of UTC; yesterday and the like do not exist",
    ),
    "age": Metatag(
        read=_age,
        example="age:<2weeks",
        meaning="time since the upload: s, mi, h, d, w, mo, y",
        differs="counted from the release's cutoff, not from today",
    ),
    "tagcount": Metatag(read=partial(_number, "tagcount"), example="tagcount:>20", meaning="number of all tags"),
    "gentags": _counted("gentags", "general"),
    "arttags": _counted("arttags", "artist"),
    "chartags": _counted("chartags", "character"),
    "copytags": _counted("copytags", "copyright"),
    "metatags": _counted("metatags", "meta"),
    "status": Metatag(
        read=_status,
        example="status:deleted",
        meaning="active, deleted, pending, flagged, banned, modqueue, any",
        differs="deleted posts are found unless `-status:deleted` is given",
    ),
    "parent": Metatag(
        read=_parent,
        example="parent:none",
        meaning="none, any, or the id of a parent, which is found with its children",
    ),
    "child": Metatag(read=_child, example="child:any", meaning="none, any, or the id of a child"),
    "pool": Metatag(
        read=_pool,
        example="pool:name_of_it",
        meaning="number or name of a pool, with wildcards; none, any",
        differs="`series` and `collection` are taken for names",
    ),
    "source": Metatag(read=_source, example="source:*pixiv*", meaning="beginning of the source, with wildcards; none"),
    "pixiv_id": Metatag(
        read=partial(_number, "pixiv_id", nullable=True), example="pixiv_id:any", meaning="number at Pixiv; none, any"
    ),
    "pixiv": Metatag(read=partial(_number, "pixiv_id", nullable=True), example="pixiv:1..99", meaning="as pixiv_id"),
    "md5": Metatag(read=partial(_hashes, "md5"), example=f"md5:{'0' * 32}", meaning="MD5 of the file, by the site"),
    "user_id": Metatag(
        read=partial(_number, "user_id", nullable=True), example="user_id:1", meaning="the uploader", differs=_USER
    ),
    "approver_id": Metatag(
        read=partial(_number, "approver_id", nullable=True),
        example="approver_id:any",
        meaning="the approver; none, any",
        differs=_USER,
    ),
    "is": Metatag(
        read=partial(_choice, _IS),
        example="is:sfw",
        meaning="parent, child, sfw, nsfw, a status, a rating or an extension",
    ),
    "has": Metatag(
        read=partial(_choice, _HAS), example="has:notes", meaning=", ".join(_HAS), differs="`appeals` and the like: no"
    ),
    "note": Metatag(read=partial(_side, "notes"), example="note:any", meaning="has notes; none", differs="no text"),
    "commentary": Metatag(
        read=partial(_side, "commentary"), example="commentary:any", meaning="has a commentary; none", differs="no text"
    ),
    "comment": Metatag(
        read=partial(_side, "comments"), example="comment:any", meaning="has comments; none", differs="no text"
    ),
    "duplicate": Metatag(
        read=partial(_presence, "duplicate", known=DUPLICATES),
        example="duplicate:none",
        meaning=f"is in a pair of duplicates: {', '.join(DUPLICATES)}, any, none",
        differs="ours",
    ),
    "quality": Metatag(
        read=partial(_presence, "quality", known=QUALITIES),
        example="-quality:few_colors",
        meaning=f"warnings of its 512px image: {', '.join(QUALITIES)}, any, none",
        differs="ours",
    ),
    "file": Metatag(
        read=partial(_words, "file", known=FILES),
        example="file:ok",
        meaning=f"what became of the original: {', '.join(FILES)}",
        differs="ours",
    ),
    "image": Metatag(
        read=partial(_words, "image", known=("512px", "original")),
        example="image:512px",
        meaning="the release has this file of the post: 512px, original",
        differs="ours",
    ),
    "side": Metatag(
        read=partial(_number, "side"),
        example="side:>=512",
        meaning="shortest side of the file, in pixels, as it was measured",
        differs="ours",
    ),
    "bucket": Metatag(read=_bucket, example="bucket:0-9", meaning="id modulo 1000", differs="ours"),
    "split": Metatag(
        read=partial(_words, "split", known=NAMES),
        example="split:train",
        meaning="90 % train, 5 % validation, 5 % test, by a hash of the id; the same each year",
        differs="ours",
    ),
}

_PEOPLE: Final = "the release has no table of users; use user_id: or approver_id: with a number"
_NOT_PUBLIC: Final = "the site does not publish it"
#: Metatags of the site that ask for what no release has -> why.
UNSUPPORTED: Final[dict[str, str]] = {
    **dict.fromkeys(("user", "uploader", "approver"), _PEOPLE),
    **dict.fromkeys(("commenter", "comm", "noter", "noteupdater", "artcomm", "commentaryupdater"), _PEOPLE),
    **dict.fromkeys(("flagger", "appealer", "upvote", "downvote", "upvoter", "downvoter"), _NOT_PUBLIC),
    **dict.fromkeys(("ordfav", "favgroup", "ordfavgroup", "disapproved", "search", "reacted"), _NOT_PUBLIC),
    **dict.fromkeys(("embedded", "exif", "duration", "pixelhash", "ai", "unaliased"), "a release does not have it"),
    "ordpool": "use pool: and sort the ids as the table pools does",
}

#: Names of `order:` -> the number that is compared, and whether the smallest comes first.
ORDERS: Final[dict[str, tuple[str, bool]]] = {
    **{name: (name, False) for name in ("score", "upvotes", "downvotes", "favcount", "mpixels", "filesize", "width")},
    **{name: (name, False) for name in ("height", "tagcount", "gentags", "arttags", "chartags", "copytags")},
    **{name: (name, False) for name in ("metatags", "date", "ratio", "side")},
    "id": ("id", True),
    "created_at": ("date", False),
    "change": ("change", False),
    "landscape": ("ratio", False),
    "portrait": ("ratio", True),
    "random": ("random", False),
}


def read_order(value: str) -> tuple[str, bool]:
    """The number that an order compares, and whether the smallest comes first.

    Raises:
        ValueError: there is no such order.
    """
    name = value.lower()
    for ending, ascending in (("_asc", True), ("_desc", False)):
        if name.endswith(ending) and name.removesuffix(ending) in ORDERS:
            return ORDERS[name.removesuffix(ending)][0], ascending
    if name in ORDERS:
        return ORDERS[name]
    raise ValueError(f"has no {value!r}, only {', '.join(ORDERS)}, each also with _asc or _desc")


def whole_number(value: str) -> int:
    """A number of posts, or a seed.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise ValueError("expects a whole number")
    return int(value)


__all__ = ["METATAGS", "ORDERS", "UNSUPPORTED", "Metatag", "Range", "read_order", "whole_number"]
