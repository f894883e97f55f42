"""Work on buckets of the embedded booru, and what it left."""

from collections.abc import Callable
from dataclasses import dataclass

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import OriginalsReport, build_originals

#: The fixture ``bring_posts``: sweeps and splits the posts of a year.
BringPosts = Callable[[int], None]


def buckets_of(context: RunContext, year: int) -> list[str]:
    """The buckets that have posts."""
    return sorted(path.stem for path in context.layout.posts_by_bucket(year).iterdir())


def build_all(context: RunContext, year: int) -> dict[str, OriginalsReport]:
    """Work on every bucket that has posts."""
    return {bucket: build_originals(context, bucket, year) for bucket in buckets_of(context, year)}


def ledger_of(context: RunContext, post_id: int) -> LedgerRow:
    """The row of a post."""
    return read_ledger(context.layout.ledger(bucket_of(post_id)))[post_id]


@dataclass(frozen=True, slots=True)
class SitePost:
    """A visible post of the booru, as far as tests of its file need it."""

    id: int
    md5: str
    ext: str

    @property
    def bucket(self) -> str:
        """Where its file is."""
        return bucket_of(self.id)


def first_of(booru: BooruProcess, ext: str = "jpg") -> SitePost:
    """The first visible post with files of an extension."""
    found = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == ext)
    return SitePost(id=found["id"], md5=found["md5"], ext=ext)
