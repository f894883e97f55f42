"""The hidden folder in which ``apply-removals`` makes a release again, beside it. A killed one leaves it.

It lies among the published releases only where an earlier version was let loose on one of them, which is refused now; a
takedown clears it from there.
"""

import os
import re
from pathlib import Path
from typing import Final

from danbooru_pipeline.io.atomic import commit_part, remove_folder
from danbooru_pipeline.layout import PART_SUFFIX

#: In the part: the release as it was, between the two renames that put the new one in its place.
BEFORE: Final = "before"
_SUFFIX: Final = f".removals{PART_SUFFIX}"
_FORM: Final = re.compile(rf"\.(.+){re.escape(_SUFFIX)}")


def removal_part(folder: Path) -> Path:
    """Where a release is made again."""
    return folder.with_name(f".{folder.name}{_SUFFIX}")


def removal_parts(releases: Path) -> list[Path]:
    """All that were left in a folder."""
    return sorted(releases.glob(f".*{_SUFFIX}"))


def end_removal_part(part: Path) -> None:
    """Remove one; a release that it holds as the only one is put back as it was, since nobody signed the other."""
    match = _FORM.fullmatch(part.name)
    if match and (part / BEFORE).is_dir() and not os.path.lexists(part.with_name(match[1])):
        commit_part(part / BEFORE, part.with_name(match[1]))
    remove_folder(part)
