"""Gold samples: random posts of a tag, some that have it and some that lack it, for estimates that nothing steers.

The posts that lack it are drawn more from where the model thinks it likely, and weighted accordingly; see `estimate`.
"""

import random
import secrets
from pathlib import Path
from typing import Final

from danbooru_pipeline.consume.find import find
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.review.queue import PAGE_POSTS, Question, Sheet
from danbooru_pipeline.curate.saved_candidates import likely_posts
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import px512_path
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.search import Search
from danbooru_pipeline.search.nodes import And, Not, Tag

#: Bounds of the probability between strata of posts that lack the tag; those without a candidate are the lowest.
STRATA: Final = (0.0, 0.05, 0.2, 0.5)


def draw_gold(release: Path, folder: CurationFolder, tag: str, *, count: int, seed: int = 0) -> list[Sheet]:
    """Pages with a sample of a tag: half of posts with it, half without, these in equal parts from each stratum.

    Raises:
        ReleaseError: no post has the tag, or there are no candidates.
    """
    draw = random.Random(f"{tag}:{seed}")  # noqa: S311 - a sample that can be drawn again
    have = [int(post) for post in find(release, Search(root=Tag(tag))).ids]
    lack = [int(post) for post in find(release, Search(root=And((Not(Tag(tag)),)))).ids]
    likely = likely_posts(folder, read_release(release).year, [tag]).get(tag, {})
    strata = [[post for post in lack if stratum_of(likely.get(post, 0.0)) == number] for number in range(len(STRATA))]
    drawn = _pick(draw, have, count // 2, release)
    for posts in strata:
        drawn += _pick(draw, posts, count // 2 // len(STRATA), release)
    draw.shuffle(drawn)
    return [
        Sheet(
            secrets.token_hex(8),
            tag,
            "gold",
            "gold",
            tuple(Question(post, likely.get(post), "", {}) for post in drawn[start : start + PAGE_POSTS]),
        )
        for start in range(0, len(drawn), PAGE_POSTS)
    ]


def stratum_of(p: float) -> int:
    """Which stratum a post without the tag is in."""
    return max(number for number, bound in enumerate(STRATA) if p >= bound)


def _pick(draw: random.Random, posts: list[int], count: int, release: Path) -> list[int]:
    """Some posts with a picture, at random."""
    order = list(posts)
    draw.shuffle(order)
    found: list[int] = []
    for post in order:
        if len(found) == count:
            break
        if is_plain(release, px512_path(post)):
            found.append(post)
    return found
