"""Damaged files of ours: found when they are read, set aside under a name that nothing reads, and reported.

Whoever can make the file again does so at its old name; what was there stays for whoever wants to look at it.
"""

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa

from danbooru_pipeline.errors import DamagedFile
from danbooru_pipeline.io.formats import require_known_format

#: Between the name of a file and when it was set aside.
DAMAGED: Final = ".damaged-"
_log = logging.getLogger("danbooru_pipeline")


def set_aside(path: Path, why: str, *, folder: Path | None = None) -> Path:
    """Rename a damaged file or folder, and say so on standard error. Returns its new name.

    Args:
        path: of what is damaged.
        why: that is known.
        folder: where it goes, where its own folder is made again as a whole.
    """
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    place = folder or path.parent
    aside = place / f"{path.name}{DAMAGED}{stamp}"
    number = 1
    while aside.exists():
        number += 1
        aside = place / f"{path.name}{DAMAGED}{stamp}-{number}"
    path.rename(aside)
    _log.warning(
        "danbooru-pipeline: %s was damaged (%s); it is made again, and the old one is %s", path, why, aside.name
    )
    return aside


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise `DamagedFile` where the block cannot read a file for what is in it.

    An error of the file system, as one of permissions, is no damage and stays what it is; so does a missing file. What
    a later version wrote raises `NewerFile` instead: it must not be set aside.
    """
    try:
        yield
    except DamagedFile:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from error
    except (pa.ArrowException, ValueError, KeyError, TypeError, EOFError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedFile:
    require_known_format(path)
    return DamagedFile(path, _line(error))


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:160] or type(error).__name__
