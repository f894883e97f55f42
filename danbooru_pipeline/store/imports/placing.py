"""Gives a proven file its name in the store: a link where that is possible, and only if it is what was proven still."""

import os
import stat
from pathlib import Path

from danbooru_pipeline.io.atomic import READ_ONLY, commit_part, copy_file, link_or_copy, part_path
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.store.imports.candidates import Identity


def place_proven(source: Path, target: Path, *, sha256: str | None, seen: Identity | None, move: bool) -> bool | None:
    """Give a file another name, or copy it. Returns whether it is a link; None if it is not what was proven.

    Somebody else may put another file in its place at any time, so what the store then has is compared: a link by what
    it leads to, a copy by its bytes.

    Args:
        source: the file.
        target: its name in the store, whose folder is there.
        sha256: of the bytes that were proven.
        seen: what the file was then.
        move: it is removed from where it is, so its mode is ours to set.
    """
    part = part_path(target)
    try:
        if linked := _may_be_linked(source, move=move):
            linked = link_or_copy(source, part)
        else:
            copy_file(source, part, flush=True)
        is_proven = Identity.of(part.lstat()) == seen if linked else sha256_of(part) == sha256
        if not is_proven:
            return None
        commit_part(part, target, flush_folder=False)
    except FileNotFoundError:
        if os.path.lexists(source):
            raise
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
