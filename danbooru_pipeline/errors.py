"""Errors that stop a run. What happens to a single post is never an error but an outcome (see `outcomes`).

::

    DanbooruPipelineError
    ├── SettingsError            settings are missing or wrong                          exit code 2
    ├── StoreError               the root cannot be used: permissions, space, a lock    exit code 2
    │   ├── DiskFull                 no space or no inodes left for a file
    │   ├── DamagedFile              a file of ours cannot be what we wrote
    │   ├── LeaseLost                this process stood still, and another one took its bucket over
    │   └── NewerFile                a later version of this program wrote it
    ├── SourceError              the source cannot be used                              exit code 2
    │   ├── SourceUnreachable        it does not answer
    │   ├── SourceBlocked            it refuses us as a client
    │   ├── SourceUnusable           its answer is not a booru's answer
    │   └── SourceStale              it ends before the release does
    ├── PublishError             a place of published releases cannot be used          exit code 2
    ├── NotifyError              a message could not be delivered                       exit code 2
    ├── OutputLost               standard output cannot be written                      exit code 2
    ├── InternalError            a fault of this program                                exit code 70
    └── ReleaseError             a release cannot be made or read                       exit code 2
        ├── ReleaseRefused           metadata and files do not reconcile                exit code 1
        ├── NotARelease              the folder is not a release                        exit code 2
        └── ReleaseReplaced          it was replaced while it was read                  exit code 75

Every message is one line and ends by saying what to do; only `SettingsError` has a line for each wrong setting, and
`consume.NoImage` gives the reason where nothing can be done.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

#: What scripts may rely on; help and README show it.
EXIT_CODES: Final[dict[int | str, str]] = {
    0: "done",
    1: "finished with work left over (pending posts, a refused release, failed verification)",
    2: "wrong usage or settings, or a source, store or release that cannot be used",
    70: "a fault of this program; the message names the file that has its traceback",
    75: "the release was replaced while it was read; run it again",
    "128 + n": "stopped by signal n, like 130 for Ctrl-C and 143 for SIGTERM; run it again to resume",
}


def without_login(address: str) -> str:
    """An address as a message may show it: a login inside it is a secret."""
    return re.sub(r"//[^/?#]*@", "//***@", address)


def on_one_line(text: str) -> str:
    r"""A text as a line of a message: what would end the line or steer a terminal is escaped, like ``\n``.

    Names of files come from releases, archives and folders of other people.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


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


class OutputLost(DanbooruPipelineError):  # noqa: N818 - the name says what is wrong
    """Standard output cannot be written, so what was asked for did not arrive."""


class InternalError(DanbooruPipelineError):
    """A fault of this program that was met and recorded on the way."""

    exit_code = 70


class DiskFull(StoreError):  # noqa: N818 - the name says what is wrong
    """The disk of the root has no space or no inodes left for a file; a smaller one may still fit."""


class DamagedFile(StoreError):  # noqa: N818 - the name says what is wrong
    """A file of ours in the root cannot be what we wrote.

    Attributes:
        path: of the file.
        why: that is known.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why)
        self.path, self.why = path, why

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged ({self.why}); run danbooru-pipeline doctor --repair, which makes it again or says "
            "what does"
        )


class LeaseLost(StoreError):  # noqa: N818 - the name says what is wrong
    """This process stood still for minutes, or was cut off, and another one took over what it worked on."""


class NewerFile(StoreError):  # noqa: N818 - the name says what is wrong
    """A later version of this program wrote a file of the root; it is whole, and nothing is done to it.

    Attributes:
        path: of the file.
        what: of it this version does not know.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return (
            f"{self.path} is of a later version of danbooru-pipeline (this one does not know its {self.what}); run "
            "that version, or take the file from a backup of before"
        )


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


class PublishError(DanbooruPipelineError):
    """A place that releases are published to, or fetched from, cannot be used."""


class NotifyError(DanbooruPipelineError):
    """A message could not be delivered.

    Attributes:
        accepted: the channels that took it nevertheless.
    """

    def __init__(self, message: str, *, accepted: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)


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


class ReleaseReplaced(ReleaseError):  # noqa: N818
    """The release was replaced by a newer version while it was read."""

    exit_code = 75


#: EFBIG is a limit of the process (``ulimit -f``) or of the file system on the size of one file.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: What SQLite, in which Dagster keeps its runs, says about a full disk.
_SQLITE_ON_A_FULL_DISK = ("database or disk is full", "disk I/O error")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is about a disk without space or inodes for a file."""
    return _of_full_disk(error) is not None


def _of_full_disk(error: BaseException | None) -> BaseException | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return error
        if "sqlite3" in type(error).__module__ and any(text in str(error) for text in _SQLITE_ON_A_FULL_DISK):
            return error
        error = error.__cause__ or error.__context__
    return None


def disk_full(error: BaseException, folder: Path) -> DiskFull:
    """What such an error says about the disk of a folder."""
    found = _of_full_disk(error)
    if isinstance(found, OSError) and found.errno == errno.EFBIG:
        return DiskFull(
            f"{folder} takes no file of this size ({found.strerror}); raise the limit (ulimit -f), or choose a file "
            "system without one, then run again"
        )
    return DiskFull(f"the disk of {folder} is full; free some space, then run again")


#: What an operator does about an error of the file system.
_REMEDIES: Final = {
    errno.EACCES: "give this user the permission to use it",
    errno.EPERM: "give this user the permission to use it",
    errno.EISDIR: "a folder is where a file belongs; move it elsewhere",
    errno.ENOTDIR: "a file is where a folder belongs; move it elsewhere",
    errno.EEXIST: "something else is in its place; move it elsewhere",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EROFS: "mount it so that it can be written, or choose another folder",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENFILE: "allow more open files on this machine",
    errno.EIO: "check the disk",
    errno.ELOOP: "remove the symbolic link that leads to itself",
    errno.ESTALE: "mount its file system again",
    errno.ENOMEM: "free some memory",
    errno.ENOENT: "restore it, or see docs/runbook.md for what makes it again",
}


#: What a file that is open already may meet: the machine's fault, though the error does not name the file.
_OF_THE_MACHINE: Final = frozenset({errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOMEM})


def os_error_line(error: BaseException | None, root: Path) -> str | None:
    """One line for an error of the file system: the file, what is wrong, what to do.

    Where the error names no file, the work was most likely on one of `root`.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return None
    name = error.filename if error.filename2 is None else error.filename2
    if name is None:
        if error.errno not in _OF_THE_MACHINE:
            return None
        name = f"a file, most likely below {root}"
    path = os.fsdecode(name) if isinstance(name, bytes | str) else str(name)
    remedy = _REMEDIES.get(error.errno, "check the disk and the permissions of its folder")
    return f"{path}: {error.strerror or type(error).__name__}; {remedy}, then run again"


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Raise `DiskFull`, one line about `folder`, when the work in this block meets a full disk."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(error, folder) from error
        raise
