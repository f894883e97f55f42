"""The ledger of a bucket in flight: rows in memory, each journalled at once, the whole written every ten seconds.

Order on disk, so a crash at any point never leaves a row that describes a missing file: the file under its final name
first, its row after. A file without a row is adopted by the next build (see `adoption`).
"""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Final

from danbooru_pipeline.errors import LeaseLost, SourceError, StoreError, is_disk_full
from danbooru_pipeline.io.atomic import fsync_folder, remove_parts_of
from danbooru_pipeline.io.leases import Lease, leased
from danbooru_pipeline.io.sha256 import sha256_or_none
from danbooru_pipeline.layout import STORED_EXTENSIONS, Layout
from danbooru_pipeline.outcomes import Status
from danbooru_pipeline.posts.takedowns import removed_posts
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LedgerRow, write_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.store.recovery import ledger_or_recovered

#: Time between two writes of the ledger: the rows since the last one are checked against their files after a crash.
CHECKPOINT_SECONDS: Final = 10.0


@contextlib.contextmanager
def open_ledger(layout: Layout, bucket: str) -> Iterator["OpenLedger"]:
    """Hold a bucket's lock and its ledger for the length of a block. Runs of two years may meet in one bucket.

    The block writes the ledger when it is done. When the source or the disk gives out, what was learned until then is
    written here. A process that stood still, and lost the bucket to another one, writes no row any more; of a file that
    was in flight then, the next plan sees that its size is not the ledger's.

    Raises:
        LeaseLost: that happened.
    """
    with leased(layout.bucket_lock(bucket)) as lease:
        remove_parts_of(layout.ledger(bucket))  # of a process that was killed while it wrote it
        ledger = OpenLedger(layout, bucket, lease)
        try:
            yield ledger
        except LeaseLost:
            _remove_taken_down(layout, bucket)
            raise
        except (SourceError, StoreError):
            with contextlib.suppress(OSError):  # a full disk may not take even this
                ledger.write()
            raise
        finally:
            ledger.close()


class OpenLedger:
    """The rows of one bucket, for the thread that holds its lock.

    Attributes:
        known: rows by id, as earlier builds left them, without posts that were taken down since; never changed, so
            other threads may read it.
        rows: rows by id, as they are now.
    """

    def __init__(self, layout: Layout, bucket: str, lease: Lease) -> None:
        self._layout, self._bucket, self._lease = layout, bucket, lease
        self._journal = Journal(layout.ledger_journal(bucket))
        self._written = ledger_or_recovered(layout, bucket)
        self._written_at = time.monotonic()
        found = self._written | {row.id: row for row in self._journal.read() if _row_matches_file(layout, row)}
        gone = removed_posts(layout)
        self.known = {id_: row for id_, row in found.items() if id_ not in gone}
        self.rows = dict(self.known)

    def settle(self, rows: Iterable[LedgerRow]) -> None:
        """Take rows that a plan settles or keeps. They are not journalled: after a crash they are planned again."""
        self.rows |= {row.id: row for row in rows}

    def record(self, row: LedgerRow) -> None:
        """Take the row of a file that was worked on.

        Raises:
            LeaseLost: the bucket is another process's now.
        """
        self._lease.check()
        self.rows[row.id] = row
        try:
            self._journal.add(row)
        except OSError as error:
            if not is_disk_full(error):
                raise
            # After a crash the file is adopted without its row, by a hash.
        if time.monotonic() - self._written_at > CHECKPOINT_SECONDS:
            self.write()
            self._written_at = time.monotonic()

    def write(self) -> None:
        """Write the ledger if a row changed; the journal starts anew.

        Raises:
            LeaseLost: the bucket is another process's now.
        """
        self._lease.check()
        if self.rows != self._written:
            folder = self._layout.original_bucket(self._bucket)
            if folder.is_dir():
                fsync_folder(folder)  # names first: no row may outlive the file that it describes
            write_ledger(self._layout.ledger(self._bucket), self.rows.values())
            self._written = dict(self.rows)
        self._journal.clear()

    def close(self) -> None:
        """Close the journal; its rows stay for the next build unless they were written."""
        self._journal.close()


def _remove_taken_down(layout: Layout, bucket: str) -> None:
    """Remove files that were in flight while another process took the bucket over and removed their posts."""
    gone = removed_posts(layout)
    for folder in (layout.original_bucket(bucket), layout.px512_bucket(bucket)):
        for name in list_files(folder):
            stem = name.partition(".")[0]
            if stem.isdigit() and int(stem) in gone:
                (folder / name).unlink(missing_ok=True)


def _row_matches_file(layout: Layout, row: LedgerRow) -> bool:
    """Whether a row that a killed build left describes the very file that is there."""
    if row.status is not Status.OK or row.held_ext not in STORED_EXTENSIONS:
        return row.status is not Status.OK
    return row.sha256 is not None and sha256_or_none(layout.original(row.id, row.held_ext)) == row.sha256
