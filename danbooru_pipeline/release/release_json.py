"""RELEASE.json: what a release is, in numbers. It is written last; a tree without it is not a release.

SHA256SUMS cannot list it, since it names the SHA-256 of that list. So the list has `CONTENT`, which is RELEASE.json
without that one line: whoever trusts the list, or its signature, has everything that RELEASE.json says. Both files are
read and written here and nowhere else.
"""

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.formats import require_known_json
from danbooru_pipeline.io.typed_json import decode, parse
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.progress import counted, human_bytes
from danbooru_pipeline.release_paths import RELEASE_JSON

#: RELEASE.json without the line `_MARK`; a document like others. Releases of before 0.3 lack it.
CONTENT = "RELEASE.content.json"

#: The line of RELEASE.json that says which SHA256SUMS it belongs to; the line after it in every version.
_MARK = re.compile(rb'^  "sha256sums_sha256": "[^"\n]*",\n', re.MULTILINE)
_AFTER_MARK = re.compile(rb'^  "created_at": ', re.MULTILINE)
#: The most bytes that are read of a RELEASE.json; it has some ten thousand.
LONGEST = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRef:
    """One exact release, named by another."""

    name: str
    version: str
    sha256sums_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What made a release.

    Attributes:
        commit: the full hash of the code; None in releases of 0.1, and when the code did not know it.
    """

    name: str
    version: str
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of a release. `rejected` records of the source are not posts of the release."""

    posts: int
    originals: int
    px512: int
    tags: int
    tag_instances: int
    pending: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """Bytes of the files as shipped, and what optimisation took off the originals."""

    originals: int
    px512: int
    saved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryCount:
    """Tags of one category: how many there are, how many are new, and how often posts carry one of them."""

    tags: int
    new: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingCount:
    """Posts of one rating, and how many tags they carry together."""

    posts: int
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TagStatistics:
    """Totals of the tag counts.

    Attributes:
        tags_per_post: mean, median and most tags of a post.
        new_tags: tags that no post from before the release's year has.
    """

    posts: int = 0
    tags: int = 0
    tag_instances: int = 0
    tags_per_post: dict[str, float] = field(default_factory=dict)
    new_tags: int = 0
    by_category: dict[str, CategoryCount] = field(default_factory=dict)
    by_rating: dict[str, RatingCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCounts:
    """Pairs of ``parquet/duplicates-….parquet`` by kind.

    Attributes:
        unlinked: pairs that look like parent and child, but whose posts do not say so.
    """

    identical: int = 0
    recompressed: int = 0
    cropped: int = 0
    variant: int = 0
    unlinked: int = 0

    @property
    def pairs(self) -> int:
        """Pairs of all kinds."""
        return self.identical + self.recompressed + self.cropped + self.variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Digests of what a release was made from; equal inputs make an equal release.

    Attributes:
        corrections: of what people decided about tags; None where nobody has.
    """

    manifest: str
    posts: str
    side_tables: dict[str, str]
    corrections: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An earlier release, as the history of later ones has it.

    Attributes:
        removed: posts that had been taken down by then.
    """

    name: str
    version: str
    created_at: str
    posts: int
    originals: int
    bytes: int
    tags: int
    tag_instances: int
    last_id: int
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """RELEASE.json.

    Attributes:
        version: ``2021.0`` first; ``2021.1`` when the year's release is made again from other inputs.
        previous: the newest release of an earlier year.
        replaces: the version of the same year that this one replaced.
        options: what the operator chose about the documents.
        history: all earlier releases, oldest first, as far as its makers knew.
        tag_statistics: totals of ``parquet/tag_counts-….parquet``.
        duplicates: totals of ``parquet/duplicates-….parquet``.
        taken_down: posts that are no longer in any release; ``removed.txt`` names them.
    """

    name: str
    year: int
    version: str
    cutoff: str
    last_id: int
    sfw_ratings: list[str]
    counts: Counts
    bytes: Bytes
    reasons: dict[str, dict[str, int]]
    sources: list[dict[str, Any]] = field(default_factory=list)
    image_settings: dict[str, Any] = field(default_factory=dict)
    inputs: Inputs
    previous: ReleaseRef | None = None
    replaces: ReleaseRef | None = None
    options: dict[str, Any] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    tag_statistics: TagStatistics = field(default_factory=TagStatistics)
    duplicates: DuplicateCounts = field(default_factory=DuplicateCounts)
    taken_down: int = 0
    sha256sums_sha256: str
    created_at: str
    tool: Tool

    @property
    def ref(self) -> ReleaseRef:
        """How other releases refer to this one."""
        return ReleaseRef(name=self.name, version=self.version, sha256sums_sha256=self.sha256sums_sha256)

    @property
    def signer(self) -> str:
        """The key that signs it, as its options name it; empty if none does."""
        return str(self.options.get("signer") or "")

    @property
    def event(self) -> Event:
        """How the history of later releases has this one."""
        return Event(
            name=self.name,
            version=self.version,
            created_at=self.created_at,
            posts=self.counts.posts,
            originals=self.counts.originals,
            bytes=self.bytes.originals + self.bytes.px512,
            tags=self.counts.tags,
            tag_instances=self.counts.tag_instances,
            last_id=self.last_id,
            removed=self.taken_down,
        )


def patch_of(version: str) -> int:
    """The number of a version within its year: 1 of ``2021.1``."""
    return int(version.rpartition(".")[2])


def version_after(version: str) -> str:
    """The version one above: ``2021.1`` after ``2021.0``. Which one a release gets, `tree.versions` says."""
    return f"{version.partition('.')[0]}.{patch_of(version) + 1}"


def instant_text(instant: datetime) -> str:
    """An instant in the form of RELEASE.json: ``2021-12-31T23:59:59.999Z``."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def is_instant(text: str) -> bool:
    """Whether a text has that form."""
    try:
        return instant_text(datetime.fromisoformat(text)) == text
    except (ValueError, OverflowError):
        return False


def named_in(history: Iterable[Event], *refs: ReleaseRef | None) -> list[Event]:
    """Of a history, the releases that are referred to."""
    named = {(ref.name, ref.version) for ref in refs if ref is not None}
    return [event for event in history if (event.name, event.version) in named]


def write_content(folder: Path, release: Release) -> None:
    """Write what RELEASE.json will say, before SHA256SUMS is written."""
    write_atomic(folder / CONTENT, content_of(_text(release)))


def write_release(folder: Path, release: Release) -> None:
    """Write RELEASE.json, read-only."""
    path = folder / RELEASE_JSON
    write_atomic(path, _text(release))
    path.chmod(0o444)


def _text(release: Release) -> bytes:
    values = dataclasses.asdict(release)
    if release.inputs.corrections is None:  # the bytes of earlier versions, where nobody decided about tags
        del values["inputs"]["corrections"]
    return json.dumps(values, indent=2, ensure_ascii=False).encode() + b"\n"


def content_of(text: bytes) -> bytes:
    """RELEASE.json without the line that names its SHA256SUMS. A second line of that form stays: it has none."""
    return _MARK.sub(b"", text, count=1)


def text_of(content: bytes, sha256sums_sha256: str) -> bytes | None:
    """The one RELEASE.json that goes with a content and a SHA256SUMS; None for a content that no version writes."""
    place = _AFTER_MARK.search(content)
    if place is None:
        return None
    mark = f'  "sha256sums_sha256": "{sha256sums_sha256}",\n'.encode()
    return content[: place.start()] + mark + content[place.start() :]


def read_text(folder: Path) -> bytes:
    """The bytes of RELEASE.json.

    Raises:
        NotARelease: the folder has none, or something else of that name.
        ReleaseError: it is longer than any RELEASE.json is, or the disk cannot read it.
    """
    path = folder / RELEASE_JSON
    if not is_plain(folder, RELEASE_JSON):
        raise NotARelease(f"{folder} has no {RELEASE_JSON}; give the folder of a finished release")
    try:
        return read_bytes(folder, RELEASE_JSON, limit=LONGEST)
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); take it from another copy of the release") from error


def read_release(folder: Path) -> Release:
    """Read RELEASE.json.

    Raises:
        NotARelease: the folder has none.
        NewerFile: it is of a later version, and says that this one would misread it.
        ReleaseError: it cannot be read, or lacks what every version writes.
    """
    text = read_text(folder)
    try:
        require_known_json(folder / RELEASE_JSON, parse(text))
        return decode(text, Release)
    except ValueError as error:
        raise ReleaseError(
            f"{folder / RELEASE_JSON} cannot be read ({error}); take it from another copy of the release"
        ) from error


def published(layout: Layout) -> dict[int, Path]:
    """Year -> folder of every published release, oldest first."""
    return {year: folder for year, folder in layout.there(layout.release).items() if (folder / RELEASE_JSON).is_file()}


def newest_before(layout: Layout, year: int) -> Path | None:
    """Folder of the newest release of an earlier year."""
    return next(iter(years_before(layout, year)), None)


def years_before(layout: Layout, year: int) -> list[Path]:
    """Folders of the releases of earlier years, newest first."""
    return [folder for other, folder in reversed(published(layout).items()) if other < year]


def release_lines(release: Release, folder: Path) -> list[str]:
    """What a release holds, for people."""
    counts, size = release.counts, release.bytes
    reasons = [
        f"  {what}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(by_reason.items()))
        for what, by_reason in release.reasons.items()
        if by_reason
    ]
    headline = (
        f"{release.name} {release.version}: {counted(counts.posts, 'post')} up to id {release.last_id:,}, "
        f"{counts.originals:,} originals ({human_bytes(size.originals)}, {human_bytes(size.saved)} saved), "
        f"{counts.px512:,} 512px images ({human_bytes(size.px512)}), "
        f"{counted(counts.tags, 'tag')} in {counts.tag_instances:,} instances"
    )
    return [
        headline,
        *reasons,
        f"  at {folder}",
    ]
