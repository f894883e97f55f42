"""Gives a proven file its name in the store, as a link where that is right, and only if it is still what was proven."""

import os
import stat
from pathlib import Path

from danbooru_pipeline.io.atomic import READ_ONLY, commit_part, copy_file, link_or_copy, part_path
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.store.imports.candidates import Stamp, stamp_of


def place_file(source: Path, target: Path, *, sha256: str | None, stamp: Stamp | None, move: bool) -> bool | None:
    """Give a file another name, or copy it.

    Args:
        source: the file.
        target: its name in the store.
        sha256: what a copy must have.
        stamp: what a link must have: the file may have been replaced or written to since it was proven.
        move: whether its other name will go.

    Returns:
        Whether it is a link; None if it is not what was proven.
    """
    part = part_path(target)
    try:
        if linked := _may_be_linked(source, move=move):
            linked = link_or_copy(source, part)
        else:
            copy_file(source, part, flush=True)
        if (linked and (stamp is None or stamp_of(part) != stamp)) or (not linked and sha256_of(part) != sha256):
            return None
        commit_part(part, target, flush_folder=False)
    except FileNotFoundError:  # of the source: the folder of the target was made
        return None
    finally:
        part.unlink(missing_ok=True)  # renaming onto another name of the same file leaves both
    return linked


def _may_be_linked(source: Path, *, move: bool) -> bool:
    """Whether a release may make a file read-only for all, which it then is under its other names as well.

    Most are readable for all and lose no more than the leave to be written; to copy those, terabytes, would be the
    greater surprise. What others may not read is not opened to them, and another user's mode is not ours to set.
    """
    facts = source.stat()
    mode, is_ours = stat.S_IMODE(facts.st_mode), os.geteuid() in {0, facts.st_uid}
    return mode == READ_ONLY or (is_ours and (move or mode & READ_ONLY == READ_ONLY))
