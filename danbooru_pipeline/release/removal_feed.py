"""``removals.jsonl``: which posts are gone, and since which version, for whoever made something from a release.

One line a post, sorted by id: ``{"id":1001,"gone_from":"2021.1"}``. It is cumulative, and says neither why a post is
gone nor what its file was. The first release that lacks the post is named; later ones carry the line along.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.layout import INT64_MAX

#: The most bytes that are read of a feed: two million removals.
LONGEST: Final = 64 * 2**20
#: A version from which posts can be gone.
VERSION: Final = re.compile(r"[0-9]{4}\.(0|[1-9][0-9]{0,8})")


def feed_lines(ids: Collection[int], known: Mapping[int, str], *, version: str) -> bytes:
    """The feed of a release that lacks these posts; those that no earlier one lacks are gone from this version on."""
    return "".join(f'{{"id":{id_},"gone_from":"{known.get(id_, version)}"}}\n' for id_ in sorted(ids)).encode()


def parse_feed(data: bytes) -> dict[int, str]:
    """Id -> version of a feed.

    Raises:
        ValueError: a line is not one of a feed, or does not ascend.
    """
    found: dict[int, str] = {}
    last = 0
    for number, text in enumerate(data.splitlines(), start=1):
        id_, version = _parsed(text)
        if id_ is None or version is None or not last < id_ <= INT64_MAX:
            raise ValueError(f"line {number} is not the next removal: {text[:80].decode(errors='replace')}")
        found[id_] = version
        last = id_
    return found


def _parsed(text: bytes) -> tuple[int | None, str | None]:
    try:
        line = parse(text)
    except ValueError:
        return None, None
    id_, version = (line.get("id"), line.get("gone_from")) if isinstance(line, dict) else (None, None)
    is_version = isinstance(version, str) and VERSION.fullmatch(version)
    return (id_ if type(id_) is int else None), (version if is_version else None)
