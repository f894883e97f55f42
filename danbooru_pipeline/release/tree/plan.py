"""The plan of a release: what a snapshot would do, from what, and under which version.

A release names the very key that signs it, or none where none does: `signed_by` sees to that for whoever makes one.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import Takedowns
from danbooru_pipeline.progress import counted, human_bytes
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.manifest.summary import ManifestSummary
from danbooru_pipeline.release.mentions import removed_ids
from danbooru_pipeline.release.release_json import (
    Event,
    Inputs,
    Release,
    ReleaseRef,
    instant_text,
    is_instant,
    named_in,
    read_release,
)
from danbooru_pipeline.release.signing import has_signature, is_signed_by, public_key
from danbooru_pipeline.release.tree.content import Content
from danbooru_pipeline.release.tree.versions import next_version
from danbooru_pipeline.release_paths import release_name

_log = logging.getLogger("danbooru_pipeline")


class Action(StrEnum):
    """What a snapshot would do."""

    NEW = "new"
    UNCHANGED = "unchanged"
    NEW_VERSION = "new version"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """What a snapshot would do, and from what.

    Attributes:
        version: of the release when it is done.
        summary: of its manifest.
        rejected: records of the source that are not posts of the release.
        sources: reports of the reads of its posts, as RELEASE.json carries them.
        standing: the published release of this year, which it would replace.
        previous: the newest release of an earlier year.
        earlier: folder of that release.
        content: the files that become the release.
        options: what the operator chose about the documents.
        takedowns: posts that are no longer in any release.
        history: all earlier releases, oldest first.
    """

    layout: Layout
    year: int
    action: Action
    version: str
    summary: ManifestSummary
    rejected: int
    sources: tuple[dict[str, Any], ...]
    inputs: Inputs
    image_settings: dict[str, Any]
    standing: Release | None
    previous: ReleaseRef | None
    earlier: Path | None
    content: Content
    options: DocumentOptions
    takedowns: Takedowns
    history: tuple[Event, ...]

    @property
    def files(self) -> int:
        """How many images it has in both trees."""
        return self.summary.originals + self.summary.px512

    @property
    def bytes(self) -> int:
        """Bytes of these images."""
        return self.summary.originals_bytes + self.summary.px512_bytes

    @property
    def standing_folder(self) -> Path | None:
        """Folder of the release that it would replace."""
        return self.layout.release(self.year) if self.standing else None

    def is_plan_of(self, release: Release) -> bool:
        """Whether a release was made from the same inputs, with the same settings and options."""
        wanted = (self.inputs, self.image_settings, self.options.as_dict())
        return (release.inputs, release.image_settings, release.options) == wanted

    def lines(self) -> list[str]:
        """The plan for people."""
        name = release_name(self.year)
        if self.action is Action.UNCHANGED:
            return [f"{name} {self.version} is published and nothing changed"]
        lines = [
            f"{self.action}: {name} {self.version}",
            f"would link {counted(self.files, 'file')} ({human_bytes(self.bytes)})",
        ]
        if self.earlier is not None:
            lines.append(f"would carry the metadata of earlier years along from {self.earlier.name}")
        if self.standing is not None:
            lines.append(f"would replace {name} {self.standing.version}")
        return lines


def made_at(plan: SnapshotPlan, now: datetime) -> str:
    """When its release says that it was made: never before a release that it names, wherever the clock is.

    Grace periods, feeds and readers go by the order of these times. Nothing is refused, since one release that was made
    with a clock ahead would then stop every takedown until that time has come.
    """
    said = instant_text(now)
    known = named_in(plan.history, plan.previous, plan.standing.ref if plan.standing else None)
    before = max((event.created_at for event in known if is_instant(event.created_at)), default=said)
    if before <= said:
        return said
    later = instant_text(datetime.fromisoformat(before) + timedelta(seconds=1))
    _log.warning(
        "danbooru-pipeline: the clock says %s, but a release that %s %s names is of %s, so this one says %s; check the "
        "clock",
        *(said, release_name(plan.year), plan.version, before, later),
    )
    return later


def with_version(plan: SnapshotPlan) -> SnapshotPlan:
    """The plan with the version that its release gets."""
    left = finished(plan, of_any_version=True)
    return replace(plan, version=next_version(plan.layout, plan.year, left=left.ref if left is not None else None))


def finished(plan: SnapshotPlan, *, of_any_version: bool = False) -> Release | None:
    """The planned release, if a killed process finished it in the staging tree."""
    folder = plan.layout.staging(plan.year)
    try:
        release = read_release(folder)
    except ReleaseError:
        return None
    version, replaced = release.version if of_any_version else plan.version, plan.standing and plan.standing.ref
    same = (release.version, release.previous, release.replaces) == (version, plan.previous, replaced)
    is_whole = same and plan.is_plan_of(release) and removed_ids(folder) == plan.takedowns.ids
    return release if is_whole and is_signed_by(folder, plan.options.signer) else None


def signed_by(plan: SnapshotPlan, key: Path | None) -> SnapshotPlan:
    """The plan of a release that names the key that signs it, whatever its options said.

    Raises:
        ReleaseRefused: it is to be signed, and there is no key.
        SettingsError: the key cannot sign.
    """
    signer = public_key(key) if key is not None else ""
    if signer == plan.options.signer:
        return plan
    if not signer:
        raise ReleaseRefused(_unsigned(plan.standing, release_name(plan.year)))
    action = Action.NEW_VERSION if plan.standing else Action.NEW
    return with_version(replace(plan, action=action, options=replace(plan.options, signer=signer)))


def require_signed_again(folder: Path, release: Release, *, signs: bool) -> None:
    """Refuse to replace a release that is signed, or says that it is, by one that is not.

    Raises:
        ReleaseRefused: nothing would sign its next version.
    """
    if not signs and (release.signer or has_signature(folder)):
        raise ReleaseRefused(_unsigned(release, release.name))


def _unsigned(release: Release | None, name: str) -> str:
    version = f" {release.version}" if release else ""
    return (
        f"{name}{version} is signed, and the version after it would not be; set DANBOORU_SIGNING_KEY to the key that "
        "signs, or to a new one"
    )
