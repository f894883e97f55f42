"""The demo site's state: its year, its request log and its faults. No HTTP."""

import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

from danbooru_pipeline.demo.bigquery.mirror import Mirror, load_site
from danbooru_pipeline.demo.site.faults import Faults
from danbooru_pipeline.demo.site.files import FileFacts, FileStore
from danbooru_pipeline.demo.site.history import Change, ChangeKind, edit_tags, kept_files, make_change
from danbooru_pipeline.demo.site.limits import LeakyBucket
from danbooru_pipeline.demo.site.records import Record, Site, file_path, shown_md5
from danbooru_pipeline.demo.site.world import World, january_after


class RequestLog:
    """The requests since the last reset. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._files: list[str] = []

    def count(self, kind: str) -> None:
        """Count a request of a kind."""
        with self._lock:
            self._counts[kind] += 1

    def count_file(self, path: str) -> None:
        """Count a request for a file."""
        with self._lock:
            self._counts["files"] += 1
            self._files.append(path)

    def counts(self) -> dict[str, int]:
        """Number of requests by kind."""
        with self._lock:
            return dict(self._counts)

    def files(self) -> list[str]:
        """Paths of files in the order of their requests."""
        with self._lock:
            return list(self._files)

    def reset(self) -> None:
        """Clear the log."""
        with self._lock:
            self._counts.clear()
            self._files.clear()


class Booru:
    """One running demo site.

    Attributes:
        log: its requests.
        faults: what goes wrong on purpose.
        limiter: None if the API accepts any number of requests.
        mirror: its tables in the embedded BigQuery; None if that is not served.
    """

    def __init__(
        self, world: World, files: Path, *, cdn_url: str, rate_limit: bool, mirror: Mirror | None = None
    ) -> None:
        self.mirror = mirror
        self.log = RequestLog()
        self.faults = Faults()
        self.limiter = LeakyBucket() if rate_limit else None
        self.seconds_ahead = 0.0  # of the clock that dates answers, whatever moment the posts are of
        self._world = world
        self._store = FileStore(files, seed=world.seed)
        self._cdn_url = cdn_url
        self._lock = threading.Lock()
        self._sites: dict[datetime, Site] = {}
        self._made: tuple[Change, ...] = ()
        self._now: Site | None = None
        self._paths: dict[str, FileFacts] = {}

    @property
    def now(self) -> Site:
        """The site at its present year."""
        if self._now is None:
            raise RuntimeError("the demo site has no year yet; call set_year first")
        return self._now

    def site(self, year: int) -> Site:
        """The site in the January after any year. Creates that year's files, which takes a while the first time."""
        return self._site_at(january_after(year))

    def _site_at(self, moment: datetime) -> Site:
        with self._lock:
            if moment not in self._sites:
                site = Site(self._world, moment, self._store, self._cdn_url, self._made)
                former = (post for change in site.changes for post in (change.old, change.new) if post)
                self._store.make([*site.posts.values(), *former])
                self._sites[moment] = site
            return self._sites[moment]

    def set_year(self, year: int) -> None:
        """Switch the site to the January after a year."""
        self.set_clock(january_after(year))

    def set_clock(self, moment: datetime) -> None:
        """Switch the site to a moment. Files that were replaced less than thirty days before are still served."""
        site = self._site_at(moment)
        # Hidden posts keep their files: a client that knows the MD5 can request them, and the log shows it.
        shown = [*kept_files(site.changes, moment), *site.posts.values()]
        found = ((post, self._store.facts(post)) for post in shown)
        self._paths = {file_path(shown_md5(post, facts), post.kind.ext): facts for post, facts in found}
        self._now = site
        if self.mirror is not None:
            load_site(self.mirror, site.records.values(), {"tags": site.tags.values(), "pools": site.pools.values()})

    def change(self, post_id: int, kind: ChangeKind, *, revision: int | None = None) -> None:
        """Let something happen to a post now; see `history.make_change`.

        Raises:
            KeyError: there is no such post.
        """
        at = self.now.moment
        self._made += (make_change(self.now.posts[post_id], kind, at=at, revision=revision),)
        with self._lock:
            self._sites.clear()
        self.set_clock(at)

    def edit(self, post_id: int, script: str) -> None:
        """Add and remove tags of a post now, as ``smile -frown`` says; whoever edits it meanwhile loses nothing.

        Raises:
            KeyError: there is no such post.
            ValueError: a tag is unknown to this site, which knows all there are.
        """
        at = self.now.moment
        change = edit_tags(self.now.posts[post_id], script, at=at)
        self._made += (change,)
        with self._lock:
            self._sites.clear()
        self.set_clock(at)

    def forget_changes(self) -> None:
        """Undo every change that was asked for."""
        self._made = ()
        with self._lock:
            self._sites.clear()
        self.set_clock(self.now.moment)

    def find_file(self, path: str) -> FileFacts | None:
        """Facts of the file at a path of the CDN; None without one."""
        return self._paths.get(path)

    def read_file(self, facts: FileFacts) -> bytes:
        """All bytes of a file."""
        return self._store.read(facts)

    def truth(self, year: int, *, expunged: bool) -> list[Record]:
        """All posts as of a year, by ascending id."""
        site = self.site(year)
        records = [*site.records.values(), *(site.expunged if expunged else ())]
        return sorted(records, key=lambda record: int(record["id"]))

    def kinds(self, year: int) -> dict[str, list[int]]:
        """Post ids by kind of file and by role."""
        found: dict[str, list[int]] = {}
        for post in self.site(year).posts.values():
            roles = {
                "restricted": post.is_restricted,
                "banned": post.is_banned,
                "deleted": post.is_deleted,
                "wrong_md5": post.has_wrong_md5,
                "replaced": post.revision > 0,
            }
            for name in (post.kind.value, *(role for role, has_role in roles.items() if has_role)):
                found.setdefault(name, []).append(post.id)
        return found
