"""Which code this is: a number from the git tags, and the commit. Nothing else in the package may know either.

A wheel or an sdist carries the answer in ``version.json``, which ``hatch_build.py`` writes when it builds one, so an
installed pipeline never starts git. A clone has no such file: there git is asked once a process, and only when someone
wants to know. Standard library only, since the build reads this file before anything is installed.
"""

import functools
import json
import os
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

#: The version that the next tag will name: what a tree says that has neither a tag, nor git, nor a stamp.
NEXT = "0.3.0"

#: Written into wheels and sdists, never into a clone: a stamp there would go stale with the next commit.
STAMP = "version.json"

_DESCRIBE = ("describe", "--tags", "--match=v[0-9]*", "--long", "--dirty", "--always", "--abbrev=40")
_DESCRIPTION = re.compile(
    r"(?:v(?P<tag>\d+\.\d+\.\d+)-(?P<distance>\d+)-g)?(?P<commit>[0-9a-f]{7,64})(?P<dirty>-dirty)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """Which code this is.

    Attributes:
        number: a PEP 440 version: ``0.2.0`` at a tag, ``0.2.1.dev3+g0123456789`` three commits later; ``.dirty`` at its
            end says that files differed from the commit.
        commit: the full hash; None when nobody knows it, as in a tree that was copied without its ``.git``.
    """

    number: str
    commit: str | None

    def as_json(self) -> str:
        """What `STAMP` holds."""
        return json.dumps(asdict(self)) + "\n"


@functools.cache
def version() -> Version:
    """Which code is running. Looked up once a process: code that is loaded does not change any more."""
    package = Path(__file__).parent
    stamp = package / STAMP
    if stamp.exists():
        return Version(**json.loads(stamp.read_text()))
    return parse_description(describe(package.parent))


def describe(root: Path) -> str:
    """What ``git describe`` says of a clone, or nothing when the folder is not a clone or git cannot tell."""
    # An installed package may lie inside somebody else's repository, whose tags are not ours.
    if not (root / ".git").exists():
        return ""
    # Inside a git hook GIT_DIR names that hook's repository. No lock is taken: builds may run beside a commit.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(  # noqa: S603 - constants, and the folder of this very file
            ["git", "-C", str(root), *_DESCRIBE],  # noqa: S607 - whichever git made the clone
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def parse_description(text: str) -> Version:
    """The version that an answer of ``git describe`` stands for; `NEXT` as a development version without one."""
    found = _DESCRIPTION.fullmatch(text.strip())
    if found is None:
        return Version(number=f"{NEXT}.dev0", commit=None)
    tag, commit, dirty = found["tag"], found["commit"], found["dirty"]
    distance = int(found["distance"] or 0)
    if tag and not distance and not dirty:
        return Version(number=tag, commit=commit)
    number = f"{_after(tag)}.dev{distance}" if tag else f"{NEXT}.dev0"
    return Version(number=f"{number}+g{commit[:10]}{'.dirty' if dirty else ''}", commit=commit)


def _after(tag: str) -> str:
    """The next patch version, so that a development version sorts after the tag that it follows."""
    major, minor, patch = tag.split(".")
    return f"{major}.{minor}.{int(patch) + 1}"
