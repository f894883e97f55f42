"""What one verification works on, handed from check to check."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.verify.findings import Findings, Kind


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
        known: published releases. An image that is also one of theirs, under the same sum, was hashed when they were
            made.
        threads: that hash.
        progress: called with counts of documents and buckets.
        found: collects findings.
        altered: documents whose content is not the listed one; those in binary formats must not be read. Empty before
            `checksums.check_sums` has run.
    """

    folder: Path
    release: Release | None
    full: bool = False
    pixels: bool = False
    sample: int | None = None
    bucket: str | None = None
    known: Sequence[Path] = ()
    threads: int = 1
    progress: Progress = silent
    found: Findings = field(default_factory=Findings)
    altered: frozenset[str] = frozenset()

    def add(self, kind: Kind, where: str, message: str) -> None:
        """Record a finding; `where` is a path in the release or the id of a post."""
        self.found.add(kind, where, message)

    def name_of(self, path: Path) -> str:
        """The path of a file of the tree, relative to it."""
        return path.relative_to(self.folder).as_posix()
