"""Errors that stop a run. What happens to a single post is never an error but an outcome (see `outcomes`).

::

    DanbooruPipelineError
    ├── SettingsError        a setting is missing or wrong                        exit code 2
    ├── StoreError           the root cannot be used: permissions, space, a lock  exit code 2
    │   └── DiskFull             no space or inodes for a file
    ├── SourceError          the source cannot be used                            exit code 2
    │   ├── SourceUnreachable    no answer at all
    │   ├── SourceBlocked        it answers, and refuses us as a client
    │   ├── SourceUnusable       it answers with something that is not a booru's answer
    │   └── SourceStale          it ends before the release does
    ├── NotifyError          a message could not be delivered                     exit code 2
    └── ReleaseError
        ├── ReleaseRefused   metadata and files do not reconcile                  exit code 1
        └── NotARelease      a folder given as a release is none                  exit code 2

Every message is one line and ends by saying what to do.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path


class DanbooruPipelineError(Exception):
    """Base of everything this project raises on purpose."""

    exit_code = 2


class SettingsError(DanbooruPipelineError):
    """A setting is missing or wrong."""


class StoreError(DanbooruPipelineError):
    """The root cannot be used as it is."""


class DiskFull(StoreError):  # noqa: N818 - says what is the matter
    """The disk of the root has no space or no inodes left for a file; a smaller one may still fit."""


class SourceError(DanbooruPipelineError):
    """The source of posts or files cannot be used."""


class SourceUnreachable(SourceError):  # noqa: N818 - the family name is the suffix
    """The source gives no answer."""


class SourceBlocked(SourceError):  # noqa: N818
    """The source refuses us as a client: nothing it says about posts can be believed until that is settled."""


class SourceUnusable(SourceError):  # noqa: N818
    """The source answers with something that is not a booru's answer."""


class NotifyError(DanbooruPipelineError):
    """A message could not be delivered."""


class SourceStale(SourceError):  # noqa: N818
    """The source ends before the release does."""


class ReleaseError(DanbooruPipelineError):
    """A release cannot be made or read."""


class ReleaseRefused(ReleaseError):  # noqa: N818
    """Metadata and files do not reconcile.

    Attributes:
        rows: one line for each row that does not, ``"<id>: <what is wrong>"``.
    """

    exit_code = 1

    def __init__(self, message: str, *, rows: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class NotARelease(ReleaseError):  # noqa: N818
    """A folder that was given as a release has no RELEASE.json."""


_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What SQLite, in which Dagster keeps its runs, says of a full disk.
_SQLITE_ON_A_FULL_DISK = ("database or disk is full", "disk I/O error")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is about a disk without space or inodes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
            return True
        if "sqlite3" in type(error).__module__ and any(text in str(error) for text in _SQLITE_ON_A_FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Tell a full disk, met by work on `folder`, as a `DiskFull` of one line."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"the disk of {folder} is full; free some space, then run again") from error
        raise
