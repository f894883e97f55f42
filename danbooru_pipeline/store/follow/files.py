"""Fetches what a plan of following names for one bucket. The caller holds the bucket's lock."""

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.fetch import Downloaded, download_file, part_names
from danbooru_pipeline.io.atomic import fsync_folder, remove_parts
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.follow.plan import FollowPlan
from danbooru_pipeline.store.open_ledger import OpenLedger
from danbooru_pipeline.store.originals import fetch_ahead


@dataclass(slots=True)
class Brought:
    """What became of the files of a bucket.

    Attributes:
        files: first files of posts that came.
        kept: further files that came.
        bytes: of both.
        left: ids of posts whose present file did not come.
    """

    files: int = 0
    kept: int = 0
    bytes: int = 0
    left: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class BucketFiles:
    """Brings files into one bucket.

    Attributes:
        now: the time that kept files get; it says which sweeps came later (see `operate.follow`).
    """

    context: RunContext
    ledger: OpenLedger
    bucket: str
    meter: Meter
    now: datetime

    def bring(self, plan: FollowPlan, *, current: Collection[tuple[int, str | None]]) -> Brought:
        """Fetch all files of a plan, and write the ledger.

        Args:
            plan: of the bucket.
            current: id and MD5 of each post now; a file that it had before is not asked for again.

        Raises:
            SourceError: the file host cannot be used.
            DiskFull: there was no room for a file.
        """
        brought = self._fetch_first(plan)
        for fetch, got in self._fetch_further(plan.further):
            if got.reason is None:
                brought.kept += 1
                brought.bytes += got.size or 0
            elif (fetch.id, fetch.md5) in current:
                brought.left.add(fetch.id)
        return brought

    def _fetch_first(self, plan: FollowPlan) -> Brought:
        brought = Brought()
        for year, files in plan.first.items():
            ahead = fetch_ahead(self.context, self.ledger, files, year=year, meter=self.meter)
            brought.files += ahead.files
            brought.bytes += ahead.bytes
            brought.left |= ahead.left
            if ahead.full is not None:
                self.ledger.write()
                raise ahead.full
        self.ledger.write()
        return brought

    def _fetch_further(self, files: Sequence[Fetch]) -> Iterator[tuple[Fetch, Downloaded]]:
        """Fetch files to be kept under their MD5. Nothing but the file that the MD5 names stays."""
        if not files:
            return
        layout, client = self.context.layout, self.context.client
        folder = layout.replaced_bucket(self.bucket)
        targets = {fetch: layout.replaced(fetch.id, fetch.md5, fetch.ext) for fetch in files}
        remove_parts(
            folder, keep={name for fetch, path in targets.items() for name in part_names(path.name, fetch.md5)}
        )
        downloads = self.context.downloads
        running: dict[Future[Downloaded], Fetch] = {
            downloads.submit(download_file, client, fetch, path): fetch for fetch, path in targets.items()
        }
        try:
            for future, fetch in running.items():
                got = future.result()
                if got.in_place and got.md5 != fetch.md5:
                    targets[fetch].unlink(missing_ok=True)
                elif got.in_place:
                    os.utime(targets[fetch], times=(self.now.timestamp(), self.now.timestamp()))
                self.meter.count_file(got.size or 0, got.reason)
                yield fetch, got
        finally:  # nothing may go on writing once the lock is gone
            wait([future for future in running if not future.cancel()])
        if folder.is_dir():
            fsync_folder(folder)
