"""Plans from what is on disk: one bucket, or all buckets of a year. Touches nothing.

A build plans its year once, after the sweep, and hands the `YearPlan` on: to the check of free space, to the choice of
buckets for a retry, and to the count of what other buckets have left. A new sweep makes a plan stale, and work on a
bucket that bucket's part of it.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import Fetch, Post, read_posts
from danbooru_pipeline.posts.takedowns import removed_posts
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.plan import BucketPlan, list_files, plan_bucket
from danbooru_pipeline.years import sfw_ratings


def read_bucket_posts(layout: Layout, bucket: str, year: int, *, pixel_hashes: bool = False) -> list[Post]:
    """The posts of a bucket with what was learned since the sweep; empty when the split made no file for it.

    Posts that were taken down are left out, since the sweep may have begun before the takedown.
    """
    path, refreshed = layout.posts_bucket(year, bucket), layout.refreshed(year, bucket)
    gone = removed_posts(layout)
    return [post for post in read_posts(path, refreshed=refreshed, pixel_hashes=pixel_hashes) if post.id not in gone]


def require_posts(layout: Layout, year: int) -> None:
    """See that the posts of a year were brought: a bucket without a file then has no posts, and nothing to do.

    Raises:
        StoreError: they were not, so nobody knows what a bucket should hold.
    """
    if not layout.posts_by_bucket(year).is_dir():
        raise StoreError(
            f"the posts of {year} are not there yet, so no bucket of it can be built; materialise the assets posts and "
            f"posts_by_bucket of {year} first, or run: danbooru-pipeline build {year}"
        )


def plan_stored_bucket(
    layout: Layout,
    bucket: str,
    year: int,
    *,
    ledger: Mapping[int, LedgerRow],
    exclude_tags: frozenset[str],
    recheck: frozenset[Reason] = frozenset(),
) -> BucketPlan:
    """What a build has to do in a bucket, given its ledger's rows by id."""
    return plan_bucket(
        read_bucket_posts(layout, bucket, year, pixel_hashes=True),
        ledger,
        list_files(layout.original_bucket(bucket)),
        exclude_tags=exclude_tags,
        release=year,
        recheck=recheck,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketCounts:
    """What a bucket has to do, counted.

    Attributes:
        posts: of the release in this bucket.
        expunged: posts of earlier releases that the source no longer has; they are not of this one.
        rows: that its ledger will have, including those of expunged and later posts.
        fetch: files to fetch.
        kept: of these, how many following has kept under their MD5, so nobody is asked for them.
        fetch_bytes: of the others with a size in the metadata.
        unsized: how many of the others have none.
        pending: how many of them an earlier build left pending.
        settle: rows to write without a request.
        recheck: posts to ask the source about again.
        untried: originals whose 512px image no build has tried, as after one that was killed between its stages.
        statuses: posts by the status of their original; those that no build reached are left out.
        reasons: the same posts by reason.
    """

    bucket: str
    posts: int
    expunged: int
    rows: int
    fetch: int
    kept: int
    fetch_bytes: int
    unsized: int
    pending: int
    settle: int
    recheck: int
    untried: int
    statuses: Mapping[str, int]
    reasons: Mapping[str, int]

    @property
    def has_work(self) -> bool:
        """Whether a build would write anything."""
        return bool(self.fetch or self.settle or self.recheck or self.untried)

    @property
    def is_untouched(self) -> bool:
        """Whether there is work that no build has tried: anything but files left pending."""
        return self.fetch > self.pending or self.settle > 0 or self.untried > 0


@dataclass(frozen=True, slots=True)
class YearPlan:
    """What a build of a year has to do in each of the 1000 buckets."""

    year: int
    buckets: tuple[BucketCounts, ...]

    @property
    def fetch_bytes(self) -> int:
        """Bytes of all files to fetch, as far as the metadata has their sizes."""
        return sum(each.fetch_bytes for each in self.buckets)

    def without(self, chosen: Collection[str]) -> "YearPlan":
        """The plan of the other buckets."""
        others = set(BUCKETS) - set(chosen)
        return YearPlan(self.year, tuple(each for each in self.buckets if each.bucket in others))


def plan_year(
    layout: Layout, year: int, *, exclude_tags: frozenset[str], recheck: frozenset[Reason] = frozenset()
) -> YearPlan:
    """Plan all buckets of a year: reads its posts, all ledgers and the names of all originals."""
    return YearPlan(
        year,
        tuple(_count_bucket(layout, bucket, year, exclude_tags=exclude_tags, recheck=recheck) for bucket in BUCKETS),
    )


def _count_bucket(
    layout: Layout, bucket: str, year: int, *, exclude_tags: frozenset[str], recheck: frozenset[Reason]
) -> BucketCounts:
    ledger = read_ledger(layout.ledger(bucket))
    posts = read_bucket_posts(layout, bucket, year)
    files = list_files(layout.original_bucket(bucket))
    plan = plan_bucket(posts, ledger, files, exclude_tags=exclude_tags, release=year, recheck=recheck)
    ids = {post.id for post in posts}
    replaced = list_files(layout.replaced_bucket(bucket))
    asked = [each for each in plan.fetch if layout.replaced(each.id, each.md5, each.ext).name not in replaced]
    sizes = [fetch.file_size for fetch in asked if fetch.file_size]
    waiting = [row for fetch in plan.fetch if (row := ledger.get(fetch.id)) and row.status is Status.PENDING]
    # What is due to be asked about again is what its row says until the source says otherwise.
    due = [row for id_ in plan.recheck if (row := ledger.get(id_))]
    rows = {row.id: row for row in (*plan.keep, *waiting, *due) if row.id in ids}.values()
    sfw = sfw_ratings(year)
    return BucketCounts(
        bucket=bucket,
        posts=len(posts),
        expunged=sum(row.reason is Reason.EXPUNGED and row.id not in ids for row in (*plan.keep, *plan.settle)),
        rows=len(plan.fetch) + len(plan.keep) + len(plan.settle),
        fetch=len(plan.fetch),
        kept=len(plan.fetch) - len(asked),
        fetch_bytes=sum(sizes),
        unsized=len(asked) - len(sizes),
        pending=sum(_is_pending(ledger.get(fetch.id), fetch) for fetch in plan.fetch),
        settle=len(plan.settle),
        recheck=len(plan.recheck),
        untried=sum(post.rating in sfw and _is_untried(ledger.get(post.id)) for post in posts),
        statuses=Counter(str(row.status) for row in rows),
        reasons=Counter(str(row.reason) for row in rows if row.reason is not None),
    )


def _is_untried(row: LedgerRow | None) -> bool:
    """Whether an original is there, and no build has tried to make its 512px image."""
    return row is not None and row.status is Status.OK and row.px512_settings is None


def _is_pending(row: LedgerRow | None, fetch: Fetch) -> bool:
    """Whether an earlier build tried to fetch this very file, and left it pending."""
    return row is not None and row.status is Status.PENDING and (row.md5, row.ext) == (fetch.md5, fetch.ext)


def with_neighbours(buckets: Sequence[str], chosen: Collection[str]) -> list[str]:
    """The chosen ones of some buckets and all others of their hundreds, so that few runs, each a range, cover them.

    A neighbour with nothing left costs milliseconds and no request.
    """
    hundreds = {bucket[:2] for bucket in buckets if bucket in chosen}
    return [bucket for bucket in buckets if bucket[:2] in hundreds]
