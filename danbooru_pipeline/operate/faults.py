"""Errors that nobody foresaw: each becomes one line, and a fault of this program leaves its traceback in a file.

An operator gets what is wrong, where, and what to do; whoever mends the program gets the file.
"""

import contextlib
import os
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from danbooru_pipeline.errors import (
    DanbooruPipelineError,
    InternalError,
    ReleaseReplaced,
    StoreError,
    disk_full,
    is_disk_full,
    os_error_line,
)
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.release_json import published


def as_ours(error: Exception, root: Path) -> DanbooruPipelineError:
    """The error as one of ours, whose text is one line; `root` takes the traceback of a fault of this program."""
    if isinstance(error, DanbooruPipelineError):
        return error
    if is_disk_full(error):
        return disk_full(error, root)
    replaced = _replaced_release(error, Layout(root))
    if replaced is not None:
        return ReleaseReplaced(f"{replaced} was replaced while it was read; run again")
    line = os_error_line(error, root)
    return StoreError(line) if line else internal_error(error, root)


def _replaced_release(error: Exception, layout: Layout) -> Path | None:
    """The release that a missing file belonged to, if it is whole: a newer version took its place meanwhile."""
    if not isinstance(error, FileNotFoundError) or not isinstance(error.filename, str | os.PathLike):
        return None
    path = Path(os.fspath(error.filename))
    return next((folder for folder in published(layout).values() if path.is_relative_to(folder)), None)


def internal_error(error: BaseException, root: Path) -> InternalError:
    """A fault of this program; its traceback goes to a file, which the message names."""
    what = " ".join(str(error).split())[:200]
    return _recorded(
        f"{type(error).__name__}{f': {what}' if what else ''}", "".join(traceback.format_exception(error)), root
    )


def internal_failure(text: str, trace: str, root: Path) -> InternalError:
    """The same for an error of which only texts are left."""
    return _recorded(" ".join(text.split())[:300], trace, root)


def _recorded(what: str, trace: str, root: Path) -> InternalError:
    where = _write(trace, root)
    kept = f"; its traceback is in {where}" if where else ""
    return InternalError(f"{what}: this is a fault of danbooru-pipeline{kept}; report it, then run again with --debug")


def _write(trace: str, root: Path) -> Path | None:
    """Write a traceback below the root, or where temporary files go. Returns its path; None where nothing takes it."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    folders = [Layout(root).errors] if root.is_dir() else []
    for folder in (*folders, Path(tempfile.gettempdir()) / "danbooru-pipeline-errors"):
        with contextlib.suppress(OSError):
            path = folder / name
            write_atomic(path, trace.encode(errors="replace"))
            return path
    return None
