"""Plans which files following takes. Pure: compares what the site says with rows and with the files that are kept.

The rule that keeps earlier releases as they are: a post without a row gets its first file where a build would put it; a
file of a post that has a row, under another MD5, is kept beside the store's originals.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from danbooru_pipeline.layout import replaced_path
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts import Fetch, Post
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.store.ledger import LedgerRow
from danbooru_pipeline.years import cutoff


@dataclass(frozen=True, slots=True)
class Seen:
    """A post as the site shows it now.

    Attributes:
        post: with the files that it had until they were replaced in `former`, as far as the site still has them.
    """

    post: Post
    created_at: datetime
    is_deleted: bool
    former: tuple[Post, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """The files to fetch for one bucket.

    Attributes:
        first: first files of posts that are new to the store, by the release that will hold them.
        further: files to be kept under their MD5.
    """

    first: Mapping[int, tuple[Fetch, ...]]
    further: tuple[Fetch, ...]

    @property
    def files(self) -> tuple[Fetch, ...]:
        """All of them."""
        return (*(fetch for fetches in self.first.values() for fetch in fetches), *self.further)


def plan_follow(
    posts: Iterable[Seen],
    ledger: Mapping[int, LedgerRow],
    *,
    kept: Collection[str],
    start_id: int,
    swept: int,
    swept_up_to: int = 0,
    exclude_tags: frozenset[str],
) -> FollowPlan:
    """Which files to fetch.

    Args:
        posts: of the bucket.
        ledger: its rows by id.
        kept: names of the files that are kept under their MD5 already.
        start_id: posts up to this one that have no row are in no release of ours, and are left alone.
        swept: the newest year whose posts were swept; what is new belongs to a later one.
        swept_up_to: the last id of that sweep; posts of its time up to this one that have no row are left to its build.
        exclude_tags: tags whose posts get no file.
    """
    first: dict[int, list[Fetch]] = {}
    further: dict[str, Fetch] = {}
    for seen in posts:
        post, row = seen.post, ledger.get(seen.post.id)
        is_swept = post.id <= swept_up_to and seen.created_at <= cutoff(swept)
        is_known = row is not None or (post.id > start_id and not is_swept)
        if not is_known or why_not_fetched(post, exclude_tags=exclude_tags) is not None:
            continue
        for each in (post, *seen.former):
            if not each.names_a_file or _is_held(each, row):
                continue
            fetch = Fetch.of(each)
            if row is None and each is post:
                first.setdefault(max(seen.created_at.year, swept + 1), []).append(fetch)
            elif (name := replaced_path(fetch.id, fetch.md5, fetch.ext).rpartition("/")[2]) not in kept:
                further[name] = fetch
    return FollowPlan({year: tuple(files) for year, files in sorted(first.items())}, tuple(further.values()))


def _is_held(post: Post, row: LedgerRow | None) -> bool:
    return row is not None and row.status is Status.OK and (row.md5, row.ext) == (post.md5, post.ext)
