"""Errors that stop a run. What happens to a single post is never an error but an outcome (see `outcomes`).

::

    DanbooruPipelineError
    ├── SettingsError            settings are missing or wrong                          exit code 2
    ├── StoreError               the root cannot be used: permissions, space, a lock    exit code 2
    │   └── DiskFull                 no space or no inodes left for a file
    ├── SourceError              the source cannot be used                              exit code 2
    │   ├── SourceUnreachable        it does not answer
    │   ├── SourceBlocked            it refuses us as a client
    │   ├── SourceUnusable           its answer is not a booru's answer
    │   └── SourceStale              it ends before the release does
    ├── NotifyError              a message could not be delivered                       exit code 2
    └── ReleaseError             a release cannot be made or read                       exit code 2
        ├── ReleaseRefused           metadata and files do not reconcile                exit code 1
        └── NotARelease              the folder is not a release                        exit code 2

Every message is one line and ends by saying what to do; only `SettingsError` has a line for each wrong setting, and
`consume.NoImage` gives the reason where nothing can be done.
"""

import contextlib
import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

#: What scripts may rely on; help and README show it.
EXIT_CODES: Final = {
    0: "done",
    1: "finished with work left over (pending posts, a refused release, failed verification)",
    2: "wrong usage or settings, or a source, store or release that cannot be used",
}


class DanbooruPipelineError(Exception):
    """Base of everything that this project raises on purpose.

    Attributes:
        exit_code: of a command that ends with it, one of `EXIT_CODES`.
    """

    exit_code = 2


class SettingsError(DanbooruPipelineError):
    """Settings are missing or wrong.

    Takes one complaint for each of them, and prints as that many lines: whoever sets up a machine wants to see all.
    """

    def __init__(self, *complaints: str) -> None:
        super().__init__(*complaints)

    def __str__(self) -> str:
        return "\n".join(self.args)


class StoreError(DanbooruPipelineError):
    """The root cannot be used as it is."""


class DiskFull(StoreError):  # noqa: N818 - the name says what is wrong
    """The disk of the root has no space or no inodes left for a file; a smaller one may still fit."""


class SourceError(DanbooruPipelineError):
    """The source of posts or files cannot be used."""


class SourceUnreachable(SourceError):  # noqa: N818 - the family name is the suffix
    """The source does not answer."""


class SourceBlocked(SourceError):  # noqa: N818
    """The source refuses us as a client: until that is resolved, nothing it says about posts can be believed."""


class SourceUnusable(SourceError):  # noqa: N818
    """The source's answer is not a booru's answer."""


class SourceStale(SourceError):  # noqa: N818
    """The source ends before the release does."""


class NotifyError(DanbooruPipelineError):
    """A message could not be delivered."""


class ReleaseError(DanbooruPipelineError):
    """A release cannot be made or read."""


class ReleaseRefused(ReleaseError):  # noqa: N818
    """Metadata and files do not reconcile.

    Attributes:
        rows: one line for each row that does not reconcile, ``"<id>: <what is wrong>"``.
    """

    exit_code = 1

    def __init__(self, message: str, *, rows: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)


class NotARelease(ReleaseError):  # noqa: N818
    """The folder is not a release: it has no RELEASE.json."""


_DISK_IS_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: What SQLite, in which Dagster keeps its runs, says about a full disk.
_SQLITE_ON_A_FULL_DISK = ("database or disk is full", "disk I/O error")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is about a disk without space or inodes."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:
            return True
        if "sqlite3" in type(error).__module__ and any(text in str(error) for text in _SQLITE_ON_A_FULL_DISK):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Raise `DiskFull`, one line about `folder`, when the work in this block meets a full disk."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"the disk of {folder} is full; free some space, then run again") from error
        raise
