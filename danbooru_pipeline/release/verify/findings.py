"""What verification can find, as one closed list, and the report of it.

The names of kinds are an interface: scripts read them from ``verify --json``. They still call documents papers.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import on_one_line
from danbooru_pipeline.progress import counted

#: How many findings of one kind are kept; all are counted. A tree without images would otherwise fill the memory.
KEPT_PER_KIND = 1000
#: Characters of a path or a message that are kept; a release may have names of any length.
_MOST = 500


class Kind(StrEnum):
    """What is wrong."""

    RELEASE_UNREADABLE = "release_unreadable"
    RELEASE_NUMBERS = "release_numbers"
    SUMS_MISSING = "sums_missing"
    SUMS_LINE = "sums_line"
    SUMS_DIFFER = "sums_differ"
    SIGNATURE = "signature"
    PAPER_MISSING = "paper_missing"
    PAPER_ALTERED = "paper_altered"
    PAPER_UNLISTED = "paper_unlisted"
    PAPER_DIFFERS = "paper_differs"
    STRAY_FILE = "stray_file"
    PART_FILE = "part_file"
    NOT_A_FILE = "not_a_file"
    EMPTY_FOLDER = "empty_folder"
    MODE = "mode"
    UNSAFE_PATH = "unsafe_path"
    MANIFEST_UNREADABLE = "manifest_unreadable"
    MANIFEST_ROW = "manifest_row"
    IMAGE_MISSING = "image_missing"
    IMAGE_EXTRA = "image_extra"
    IMAGE_SIZE = "image_size"
    IMAGE_ALTERED = "image_altered"
    PIXELS_DIFFER = "pixels_differ"
    WRONG_BUCKET = "wrong_bucket"
    NOT_SFW = "not_sfw"
    CHECKSUMS_DIFFER = "checksums_differ"
    FILELIST_DIFFERS = "filelist_differs"
    NSFW_IDS_DIFFER = "nsfw_ids_differ"
    POSTS_DIFFER = "posts_differ"
    METADATA_DIFFERS = "metadata_differs"
    METADATA_TRUNCATED = "metadata_truncated"
    METADATA_UNREADABLE = "metadata_unreadable"
    PARQUET_UNREADABLE = "parquet_unreadable"
    IMAGE_ROWS_DIFFER = "image_rows_differ"
    TABLES_DIFFER = "tables_differ"
    DUPLICATES_DIFFER = "duplicates_differ"
    TAG_COUNTS_DIFFER = "tag_counts_differ"
    INDEX_DIFFERS = "index_differs"
    VECTORS_DIFFER = "vectors_differ"
    CORRECTIONS_DIFFER = "corrections_differ"
    CHANGES_DIFFER = "changes_differ"
    CARRIED_DIFFER = "carried_differ"
    PROVENANCE_DIFFERS = "provenance_differs"
    REMOVED_DIFFER = "removed_differ"
    ARCHIVE_DIFFERS = "archive_differs"
    ARCHIVE_UNREADABLE = "archive_unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, where it is (a path in the release or the id of a post), and a sentence."""

    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}  {self.where}: {self.message}"


class Findings:
    """Collects findings. All are counted, and at most `KEPT_PER_KIND` of a kind are kept."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[Kind] = Counter()
        self.unchecked: list[str] = []

    def add(self, kind: Kind, where: str, message: str) -> None:
        """Record one."""
        self.counts[kind] += 1
        if self.counts[kind] <= KEPT_PER_KIND:
            # Text from a damaged file may contain anything; a finding must stay one line.
            self.kept.append(Finding(kind, on_one_line(where)[:_MOST], on_one_line(message)[:_MOST]))

    def take(self, others: "Findings") -> None:
        """Take those that another one has collected, behind these."""
        before = self.counts.copy()
        self.counts += others.counts
        room = {kind: KEPT_PER_KIND - before[kind] for kind in others.counts}
        for finding in others.kept:
            if room[finding.kind] > 0:
                room[finding.kind] -= 1
                self.kept.append(finding)
        self.unchecked += others.unchecked


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What verification found.

    Attributes:
        findings: in the order in which they were found, at most `KEPT_PER_KIND` of a kind.
        counts: kind -> number of findings.
        files: images whose size or content was checked.
        hashed: images whose content was checked.
        decoded: originals whose pixel hash was computed again.
        covered: whether SHA256SUMS, and so the signature, covers what RELEASE.json says; not in releases of before 0.3.
        unchecked: sentences about what could not be checked where it ran.
        signature: ``good``, ``bad``, ``none``, or ``unchecked`` where ssh-keygen is not installed.
    """

    folder: Path
    version: str | None
    findings: tuple[Finding, ...]
    counts: dict[str, int]
    posts: int
    files: int
    hashed: int
    signature: str = "none"
    covered: bool = True
    unchecked: tuple[str, ...] = ()
    decoded: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "release": str(self.folder),
            "version": self.version,
            "ok": self.ok,
            "posts": self.posts,
            "files": self.files,
            "hashed": self.hashed,
            "decoded": self.decoded,
            "signature": self.signature,
            "covers_release_json": self.covered,
            "unchecked": list(self.unchecked),
            "counts": self.counts,
            "findings": [{"kind": f.kind.value, "where": f.where, "message": f.message} for f in self.findings],
        }

    def lines(self) -> list[str]:
        """The report for people."""
        lines = [str(finding) for finding in self.findings]
        if hidden := sum(self.counts.values()) - len(self.findings):
            lines.append(f"… and {hidden:,} more of these kinds")
        if self.signature == "good" and not self.covered:
            lines.append(
                "the signature is good for all files but RELEASE.json, which it does not cover, as before version 0.3"
            )
        lines += self.unchecked
        checked = f"{counted(self.posts, 'post')}, {counted(self.files, 'image')}, {self.hashed:,} of them by content"
        if self.decoded:
            checked += f", {self.decoded:,} by their pixels"
        found = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items()) or "all is well"
        return [*lines, f"{self.folder.resolve().name} {self.version or ''}: {checked}: {found}"]
