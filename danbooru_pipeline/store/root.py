"""``ROOT/version.json``: which version of the layout of files a root has, and what brings an older one up to date.

Code that meets a newer root refuses it, since it could not know what it would damage. Every change of a file's format
that older code cannot read raises `ROOT_FORMAT` and adds its migration here; there is no other place for one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from danbooru_pipeline.errors import DamagedFile, StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.version import version

#: The format of this code. Roots of 0.1 and 0.2 have no version file, and every file of theirs is read as it is.
ROOT_FORMAT: Final = 1
#: format -> what brings a root of the format before it there.
MIGRATIONS: Final[Mapping[int, Callable[[Layout], None]]] = {1: lambda _layout: None}


@dataclass(frozen=True, slots=True)
class RootVersion:
    """What the file says.

    Attributes:
        format: of the root; 0 without a file.
        written_by: version of the code that wrote it.
    """

    format: int = 0
    written_by: str = ""


def require_known_root(layout: Layout) -> RootVersion:
    """Refuse a root of newer code.

    Raises:
        StoreError: it is, or its version cannot be read.
    """
    path = layout.root_version
    try:
        found = msgspec.json.decode(path.read_bytes(), type=RootVersion)
    except (FileNotFoundError, NotADirectoryError):
        return RootVersion()
    except ValueError as error:
        raise DamagedFile(path, str(error)) from error
    if found.format > ROOT_FORMAT:
        raise StoreError(
            f"{layout.root} was written by danbooru-pipeline {found.written_by or 'of a later time'} (format "
            f"{found.format}; this is {version().number}, format {ROOT_FORMAT}); run that version or a newer one on it"
        )
    return found


def bring_up_to_date(layout: Layout) -> None:
    """Migrate a root of older code, step by step, and say which version it has.

    Raises:
        StoreError: it is of newer code.
    """
    found = require_known_root(layout)
    for number in range(found.format + 1, ROOT_FORMAT + 1):
        MIGRATIONS[number](layout)
        stamp = RootVersion(number, version().number)
        write_atomic(layout.root_version, msgspec.json.encode(stamp) + b"\n")
