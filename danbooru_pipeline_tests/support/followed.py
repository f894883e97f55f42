"""A store that follows the embedded booru, on the booru's clock."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline import sources
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.operate.follow import follow, open_follower
from danbooru_pipeline.posts.report import load_posts_report
from danbooru_pipeline.release.release_json import Bytes, Counts, Inputs, Release, Tool
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import FollowReport
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.originals import OriginalsReport, build_originals
from danbooru_pipeline_tests.support.sites import Record
from danbooru_pipeline_tests.support.small_world import OPTIONS, make_release

#: When the booru is seen "as of" a year, in tests and in the demo.
JANUARY = {year: datetime(year + 1, 1, 12, tzinfo=UTC) for year in (2021, 2022)}
#: The small booru is quiet until August 2022; these are after three of its posts of that year, after four, and later.
SPRING, SUMMER, AUTUMN = (datetime(2022, month, day, tzinfo=UTC) for month, day in ((9, 1), (10, 1), (10, 25)))


@dataclass
class Follower:
    """One root that follows the booru.

    Attributes:
        clock: of root and booru, a list of the one moment that it is.
    """

    booru: BooruProcess
    context: RunContext
    clock: list[datetime] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """Its paths."""
        return self.context.layout

    @property
    def settings(self) -> Settings:
        """The operator's choices."""
        return self.context.settings

    def go_to(self, moment: datetime) -> None:
        """Move both clocks."""
        self.clock[:] = [moment]
        self.booru.set_clock(moment)
        self.booru.reset_requests()

    def follow(self, moment: datetime | None = None, *, dry_run: bool = False) -> FollowReport:
        """Follow once, at a moment."""
        if moment is not None:
            self.go_to(moment)
        self.booru.reset_requests()
        return follow(self.context, dry_run=dry_run)

    def bring(self, year: int) -> None:
        """Sweep and split the posts of a year in its January."""
        self.go_to(JANUARY[year])
        now = self.context.now()
        sources.bring_posts(self.context.source, self.layout, year, now=now, progress=lambda _line: None)
        sources.split_by_bucket(self.layout, year)
        self.booru.reset_requests()

    def build(self, post: Record, year: int) -> OriginalsReport:
        """Build the bucket of a post."""
        return build_originals(self.context, bucket_of(post["id"]), year)

    def release(self, year: int) -> Path:
        """Build the release of a year in its January."""
        self.go_to(JANUARY[year])
        make_release(self.context, year, options=OPTIONS)
        return self.layout.release(year)

    def follow_year(self, *, days: int) -> None:
        """Follow through 2022, every so many days, and in the night before its January."""
        moment = JANUARY[2021]
        while moment < JANUARY[2022] - timedelta(days=1):
            self.follow(moment)
            moment += timedelta(days=days)
        self.follow(JANUARY[2022] - timedelta(hours=8))

    def row_of(self, post: Record) -> LedgerRow | None:
        """The row of a post in the ledger."""
        return read_ledger(self.layout.ledger(bucket_of(post["id"]))).get(post["id"])

    @property
    def files_asked(self) -> int:
        """Requests for files since the last reset."""
        return len(self.booru.requested_files())

    def files_and_rows(self) -> dict[str, bytes]:
        """Everything in the store but what following notes for itself."""
        found = content_of(self.layout.store).items()
        return {name: data for name, data in found if not name.startswith("follow/")}


@contextmanager
def following(booru: BooruProcess, settings: Settings, moment: datetime = JANUARY[2021]) -> Iterator[Follower]:
    """A root that follows a booru, from a moment on."""
    clock = [moment]
    with open_follower(settings.replace(workers=1), now=lambda: clock[0]) as context:
        yield Follower(booru, context, clock)


def shown(booru: BooruProcess, choose: Callable[[Record], bool], year: int = 2021) -> Record:
    """The first visible post of this kind, with a file that has the MD5 of the metadata."""
    wrong = set(booru.kinds(year)["wrong_md5"])
    posts = (post for post in booru.truth(year) if post.get("md5") and post["id"] not in wrong)
    return next(post for post in posts if choose(post))


def old_jpg(booru: BooruProcess) -> Record:
    """A post of 2021 that nothing happens to in 2022."""
    later = {post["id"]: post for post in booru.truth(2022)}
    return shown(booru, lambda post: post["file_ext"] == "jpg" and later.get(post["id"], {}).get("md5") == post["md5"])


def new_post(booru: BooruProcess, *, before: datetime = SUMMER) -> Record:
    """A visible post that came in 2022, after its January."""
    return shown(booru, lambda post: JANUARY[2021] < datetime.fromisoformat(post["created_at"]) < before, year=2022)


def current(booru: BooruProcess, post: Record) -> Record:
    """A post as the site shows it in the January after 2022."""
    return next(each for each in booru.truth(2022) if each["id"] == post["id"])


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path, but for hidden ones: locks, and the record of the pace."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def publish(follower: Follower, year: int, **of_posts: Any) -> None:
    """Let a release of the posts of a year seem published; its RELEASE.json describes them, with some changes."""
    path = follower.layout.release_json(year)
    path.parent.mkdir(parents=True, exist_ok=True)
    release = Release(
        name=path.parent.name,
        year=year,
        version=f"{year}.0",
        cutoff="",
        last_id=0,
        sfw_ratings=[],
        counts=Counts(posts=0, originals=0, px512=0, tags=0, tag_instances=0, pending=0, rejected=0),
        bytes=Bytes(originals=0, px512=0, saved=0),
        reasons={},
        sources=[load_posts_report(follower.layout, year).source | of_posts],
        inputs=Inputs(manifest="", posts="", side_tables={}),
        sha256sums_sha256="",
        created_at="",
        tool=Tool(name="tests", version="0"),
    )
    path.write_bytes(msgspec.json.encode(release))


def keep_a_file(follower: Follower, post: Record, at: datetime) -> Path:
    """Let a post that following knows be replaced, and its new file be kept."""
    before = set(kept(follower))
    follower.go_to(at)
    follower.booru.change(post["id"], "replaced")
    follower.follow()
    (path,) = set(kept(follower)) - before
    return path


def kept(follower: Follower) -> list[Path]:
    """Files that are kept under their MD5."""
    return sorted(follower.layout.store.glob("replaced/*/[0-9]*"))
