"""What all exports share: a plan that can be printed, progress, a place that appears whole, and a README in it.

An export is made in ``.TARGET.part`` beside its target and renamed when it is complete. A killed one leaves that hidden
folder, which the next export to the same target continues, if its form can be continued and the request is the same,
or removes. Posts whose file this copy of the release lacks, or that cannot be made, are left out and named in
``left_out.csv`` with their reason; the others go on.
"""

import csv
import os
from collections import Counter
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline import stop
from danbooru_pipeline.consume.select import Chosen, ChosenPosts, Selection
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.atomic import copy_file, link_or_copy
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.release.release_json import Release

#: Table of the posts that were left out, in a folder or beside a file.
LEFT_OUT: Final = "left_out.csv"
#: The reason of a post whose file is not in this copy of the release.
MISSING: Final = "missing_file"
#: The reason of a post whose file is of a type that the readers of a form do not read.
OTHER_TYPE: Final = "other_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    """A form that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of export.

    Attributes:
        write: writes it to `Job.target`, a folder that exists; a form that is one file writes it to `Job.file`.
        options: class of its options; each of its fields is an option of the command.
        is_file: whether the target is one file; its README then lies beside it.
        resumes: whether a killed one is continued.
        select: adapts what was asked for.
        size: posts, bytes of their files, options -> bytes of the export, about.
        takes_files: whether its posts must have a file.
    """

    write: Callable[["Job"], None]
    options: type[Any] = NoOptions
    is_file: bool = False
    resumes: bool = False
    select: Callable[[Selection, Any, Release], Selection] = lambda selection, _options, _about: selection
    size: Callable[[int, int, Any], int] = lambda _posts, size, _options: size
    takes_files: bool = True


@dataclass(slots=True, kw_only=True)
class Job:
    """One export that is being written.

    Attributes:
        about: the release's RELEASE.json.
        release: its folder.
        target: an unfinished folder.
        name: of the final target.
        chosen: the posts.
        options: of the form.
        copy: whether files are copied where they could be linked.
        meter: of progress.
        notes: lines for the README, added by the form.
    """

    about: Release
    release: Path
    target: Path
    name: str
    chosen: ChosenPosts
    options: Any
    copy: bool
    meter: Meter
    notes: list[str] = field(default_factory=list)
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def file(self) -> Path:
        """Where a form that is one file writes it."""
        return self.target / self.name

    @property
    def threads(self) -> int:
        """How many threads an export may use."""
        return os.cpu_count() or 1

    def posts(self, *, only: Container[str] | None = None) -> Iterator[Chosen]:
        """The posts whose file is here, and of one of these types; each counts once the next is asked for."""
        for post in self.chosen:
            if self.has_file(post, only=only):
                yield post
                self.count(post.size)

    def has_file(self, post: Chosen, *, only: Container[str] | None = None) -> bool:
        """Whether a post's file is here and of one of these types; else the post is left out.

        Raises:
            ReleaseError: something else has its name: a link, or what lies below a link. Nobody copies a release so.
            Stopped: a signal asked this process to stop.
        """
        stop.check()
        if only is not None and post.path.rpartition(".")[2] not in only:
            self.leave_out(post.id, OTHER_TYPE)
        elif not is_plain(self.release, post.path):
            path = self.release / post.path
            if os.path.lexists(path):
                raise ReleaseError(f"{path} is a link, below a link or no file; fetch it again, or verify the release")
            self.leave_out(post.id, MISSING)
        else:
            return True
        return False

    def count(self, size: int) -> None:
        """Count a post that was written."""
        self.written += 1
        self.meter.count_file(size, None)
        self.meter.count_step()

    def leave_out(self, post_id: int, reason: str) -> None:
        """Name a post that is not in the export, and why."""
        path = self.target / LEFT_OUT
        is_new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            if is_new:
                rows.writerow(("id", "reason"))
            rows.writerow((post_id, reason))
        self.left_out[reason] += 1
        self.meter.count_file(0, reason)
        self.meter.count_step()

    def place(self, post: Chosen, path: Path) -> None:
        """Give a post's file a name in the export: a hard link, or a copy where that was asked for or is all there is.

        A copy can be edited; a link shares the file with the release, which is read-only.
        """
        if self.copy:
            copy_file(self.release / post.path, path, flush=False)
        else:
            link_or_copy(self.release / post.path, path, flush=False)
