"""Whether the file of a post may be taken, as far as its row and the operator say. Pure, and fails closed.

Tags of another source may be text in another form: a list of JSON, an array or a vector of Postgres, words between
commas or bars. Tags themselves may hold all of these characters but spaces. So an excluded tag is found wherever it
stands between two of them, in capitals or not. Only the decision reads tags in this way; metadata stays as it is.
"""

import re
from functools import lru_cache
from typing import Final

from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts.post import Post

#: What may stand between two tags, as the inside of a class of characters.
_BETWEEN: Final = r"\s,;|\0\"'\[\]{}:"


def why_not_fetched(post: Post, *, exclude_tags: frozenset[str] = frozenset()) -> Reason | None:
    """The reason why the file of a post is not requested at all; None if it may be. The status follows from the reason.

    Without `exclude_tags`, only the reasons that follow from the metadata alone.
    """
    if post.is_expunged:
        return Reason.EXPUNGED
    if post.is_banned:
        return Reason.BANNED
    if not post.visible:
        return Reason.RESTRICTED
    return _why_not_taken(post, exclude_tags) if post.names_a_file else Reason.BAD_ROW


def _why_not_taken(post: Post, exclude_tags: frozenset[str]) -> Reason | None:
    """The operator's reason. A post whose tags are unknown may have one of those that are excluded."""
    if not exclude_tags:
        return None
    if post.tags is None:
        return Reason.TAGS_UNKNOWN
    named = any(names_any(tags, exclude_tags) for tags in (post.tags, post.more_tags))
    return Reason.EXCLUDED_TAG if named else None


def names_any(tags: str, wanted: frozenset[str]) -> bool:
    """Whether a text of tags may name one of these."""
    text = tags.casefold()
    # Looking for the mere characters first takes a tenth of the time, and hardly any post has them.
    return any(tag in text and alone.search(text) is not None for tag, alone in _patterns(wanted))


@lru_cache(maxsize=16)
def _patterns(tags: frozenset[str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Each tag in one case, and what finds it where no other tag goes on."""
    folded = sorted({tag.casefold() for tag in tags})
    return tuple((tag, re.compile(f"(?<![^{_BETWEEN}]){re.escape(tag)}(?![^{_BETWEEN}])")) for tag in folded)
