"""What one verification works on, handed from check to check."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from danbooru_pipeline.errors import is_disk_full
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.verify.findings import Findings, Kind

_LAST_BEFORE_0_3: Final = (0, 2, 0)
_NUMBER: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def is_of_before_0_3(release: Release | None) -> bool:
    """Whether a release says that a version of before 0.3 made it: it may lack what every one has now."""
    number = _NUMBER.match(release.tool.version) if release is not None else None
    return number is not None and tuple(map(int, number.groups())) <= _LAST_BEFORE_0_3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """A tree that is being verified, how, and what was found so far.

    Attributes:
        folder: the tree.
        release: its RELEASE.json; None when it cannot be read.
        full: hash every image, instead of comparing its size only.
        pixels: decode the originals, too.
        sample: of so many only; None for all.
        bucket: the one bucket to check, by content; None for the whole tree.
        published: it is a finished release, and not a tree that becomes one: its modes and RELEASE.json count, too.
        known: published releases. An image that is also one of theirs, under the same sum, was hashed when they were
            made.
        threads: that hash.
        progress: called with counts of documents and buckets.
        found: collects findings.
        sums: path -> SHA-256 of the documents that SHA256SUMS lists. Empty before `checksums.check_sums` has run.
        altered: documents whose content is not the listed one, and tables whose columns are not those of a release;
            those in binary formats must not be read.
    """

    folder: Path
    release: Release | None
    full: bool = False
    pixels: bool = False
    sample: int | None = None
    bucket: str | None = None
    published: bool = False
    known: Sequence[Path] = ()
    threads: int = 1
    progress: Progress = silent
    found: Findings = field(default_factory=Findings)
    sums: Mapping[str, str] = field(default_factory=dict)
    altered: frozenset[str] = frozenset()

    def add(self, kind: Kind, where: str, message: str) -> None:
        """Record a finding; `where` is a path in the release or the id of a post."""
        self.found.add(kind, where, message)

    @contextmanager
    def reading(self, kind: Kind, where: str, said: str = "cannot be read") -> Iterator[None]:
        """Work on a file that may be anything: whatever its reader raises is a finding, and the rest is still checked.

        A full disk is not the file's fault, and passes.
        """
        try:
            yield
        except Exception as error:
            if is_disk_full(error):
                raise
            self.add(kind, where, f"{said}: {error or type(error).__name__}")

    def has(self, name: str) -> bool:
        """Whether a name is a regular file of the tree, in folders that are no links."""
        return is_plain(self.folder, name)

    def is_readable(self, name: str) -> bool:
        """Whether a document is there with the content that is listed, so that a reader of its format may have it."""
        return name not in self.altered and self.has(name)
