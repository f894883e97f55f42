"""A release, planned and made: hard links into a hidden tree, papers, verification, and one rename that publishes it.

`plan_snapshot` only looks. `apply_snapshot` makes; killed at any point it leaves the published releases as they were,
or finished, and running it again completes what was begun. A release of the same year is replaced as a whole.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline.errors import NotARelease, ReleaseError, ReleaseRefused, StoreError
from danbooru_pipeline.io.atomic import commit_part, fsync_folder
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout, release_name
from danbooru_pipeline.posts.takedowns import Takedowns, read_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.checksums import write_sha256sums
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.write import DocumentJob, write_documents
from danbooru_pipeline.release.manifest.summary import ManifestSummary
from danbooru_pipeline.release.manifest.write import read_summary
from danbooru_pipeline.release.release_json import (
    RELEASE_JSON,
    Bytes,
    Counts,
    Event,
    Inputs,
    Release,
    ReleaseRef,
    Tool,
    instant_text,
    published,
    read_release,
    write_release,
)
from danbooru_pipeline.release.signing import sign_sums
from danbooru_pipeline.release.tables.tag_counts import write_tag_counts
from danbooru_pipeline.release.tree.content import Content, store_content
from danbooru_pipeline.release.tree.inputs import read_posts_report, side_tables, table_digests
from danbooru_pipeline.release.tree.segments import SegmentStore
from danbooru_pipeline.release.tree.staging import Staging
from danbooru_pipeline.release.verify.run import verify_tree
from danbooru_pipeline.version import version
from danbooru_pipeline.years import cutoff, sfw_ratings

#: Writes more papers into a staged tree before it is summed up; gets the folder and the release so far.
MorePapers = Callable[[Path, Release], None]


class Action(StrEnum):
    """What a snapshot would do."""

    NEW = "new"
    UNCHANGED = "unchanged"
    NEW_VERSION = "new version"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """What a snapshot would do, and from what.

    Attributes:
        version: of the release after it.
        standing: the release of this year that is published, if any.
        earlier: folder of the newest release of an earlier year.
        content: the files that become the release.
        options: what the operator chose about the papers.
        takedowns: posts that are in no release any more.
        history: the releases before it.
    """

    layout: Layout
    year: int
    action: Action
    version: str
    files: int
    bytes: int
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

    def lines(self) -> list[str]:
        """The plan for people."""
        name = release_name(self.year)
        if self.action is Action.UNCHANGED:
            return [f"{name} {self.version} is published and nothing changed"]
        gib = self.bytes / 2**30
        lines = [f"{self.action}: {name} {self.version}", f"would link {self.files} files ({gib:.1f} GiB)"]
        if self.earlier is not None:
            lines.append(f"would carry the metadata of earlier years along from {self.earlier.name}")
        if self.standing is not None:
            lines.append(f"would take the place of {name} {self.standing.version}")
        return lines


def plan_snapshot(
    layout: Layout, year: int, *, image_settings: Mapping[str, Any], options: DocumentOptions | None = None
) -> SnapshotPlan:
    """Compare what there is with what is published. Changes nothing.

    Raises:
        ReleaseError: manifest or posts of the year are not there.
        ReleaseRefused: a takedown is not finished.
    """
    options = options or DocumentOptions()
    takedowns = read_takedowns(layout)
    if takedowns.unfinished:
        raise ReleaseRefused("a takedown was not finished; run danbooru-pipeline takedown --resume, then build again")
    summary = read_summary(layout, year)
    report = read_posts_report(layout, year)
    digests = table_digests(side_tables(layout, year))
    inputs = Inputs(manifest=summary.digest, posts=report.digest, side_tables=digests)
    standing = _standing(layout, year)
    earlier = newest_before(layout, year)
    # As RELEASE.json will give them back, so that a tuple is no difference.
    settings = msgspec.json.decode(msgspec.json.encode(dict(image_settings)))
    same = standing is not None and _made_of(standing) == (inputs, settings, options.as_dict())
    action = Action.NEW if standing is None else Action.UNCHANGED if same else Action.NEW_VERSION
    return SnapshotPlan(
        layout=layout,
        year=year,
        action=action,
        version=_version(year, standing, same=same),
        files=summary.originals + summary.px512,
        bytes=summary.originals_bytes + summary.px512_bytes,
        summary=summary,
        rejected=report.rejected,
        sources=(report.source,),
        inputs=inputs,
        image_settings=settings,
        standing=standing,
        previous=read_release(earlier).ref if earlier else None,
        earlier=earlier,
        content=store_content(layout, year, earlier=earlier),
        options=options,
        takedowns=takedowns,
        history=history_of(earlier, standing),
    )


def newest_before(layout: Layout, year: int) -> Path | None:
    """Folder of the newest release of an earlier year."""
    return next((folder for other, folder in reversed(published(layout).items()) if other < year), None)


def history_of(earlier: Path | None, standing: Release | None) -> tuple[Event, ...]:
    """The releases before one, as the release of an earlier year and the version it replaces remember them."""
    known = [release for release in (read_release(earlier) if earlier else None, standing) if release is not None]
    events = {(event.name, event.version): event for release in known for event in (*release.history, release.event)}
    return tuple(events[key] for key in sorted(events, key=lambda key: (key[0], int(key[1].rpartition(".")[2]))))


def _made_of(release: Release) -> tuple[Inputs, dict[str, Any], dict[str, Any]]:
    return release.inputs, release.image_settings, release.options


def _version(year: int, standing: Release | None, *, same: bool) -> str:
    if standing is None:
        return f"{year}.0"
    return standing.version if same else f"{year}.{int(standing.version.rpartition('.')[2]) + 1}"


def _standing(layout: Layout, year: int) -> Release | None:
    """The release of a year, also when a swap was killed half-way."""
    for folder in (layout.release(year), *_healing(layout, year)):
        if folder.exists():
            try:
                return read_release(folder)
            except NotARelease:
                raise StoreError(f"{folder} is in the way: it is not a release; move it elsewhere") from None
    return None


def _healing(layout: Layout, year: int) -> list[Path]:
    """Trees that may become the release of a year when a swap was killed between its two renames, best first."""
    retired, staging = layout.retired(year), layout.staging(year)
    if not retired.exists():
        return []
    return [staging, retired] if (staging / RELEASE_JSON).exists() else [retired]


def apply_snapshot(
    plan: SnapshotPlan,
    *,
    created_at: datetime,
    threads: int | None = None,
    progress: Progress = silent,
    signing_key: Path | None = None,
    more_documents: MorePapers | None = None,
) -> Release:
    """Make the release that a plan describes, and publish it under its year's name.

    Raises:
        ReleaseRefused: what was made does not verify, or the store changed since the plan.
        StoreError: another process is at it.
    """
    layout, year = plan.layout, plan.year
    busy = f"another process makes {release_name(year)}; wait for it to end, then run again"
    with exclusive(layout.release_lock(year), busy=busy):
        _heal(layout, year)
        standing = _standing(layout, year)
        if (standing and standing.ref) != (plan.standing and plan.standing.ref):
            raise ReleaseRefused(f"{release_name(year)} changed since it was planned; plan it again")
        if plan.action is Action.UNCHANGED and standing is not None:
            return standing
        staging = layout.staging(year)
        release = _finished(staging, plan)
        if release is None:
            if staging.exists():
                shutil.rmtree(staging)
            work = Staging(
                staging,
                plan.content,
                year=year,
                threads=threads or os.cpu_count() or 1,
                progress=progress,
                segments=SegmentStore(layout.segments),
            )
            release = _make(plan, work, created_at=created_at, signing_key=signing_key, more_documents=more_documents)
        _swap_in(layout, year)
        return release


def _finished(staging: Path, plan: SnapshotPlan) -> Release | None:
    """The release in a staging tree that a killed process had finished, if it is the one that is wanted."""
    try:
        release = read_release(staging)
    except ReleaseError:
        return None
    same = _made_of(release) == (plan.inputs, plan.image_settings, plan.options.as_dict())
    return release if same and (release.version, release.previous) == (plan.version, plan.previous) else None


def _make(
    plan: SnapshotPlan,
    work: Staging,
    *,
    created_at: datetime,
    signing_key: Path | None,
    more_documents: MorePapers | None,
) -> Release:
    tags = work.write_tables(plan.summary.posts, dialect_2017=plan.options.dialect_2017)
    work.link_images()
    work.write_lists()
    work.carry_metadata()
    work.write_archive()
    draft = replace(
        _release(plan, tags=tags.tags, instances=tags.instances, created_at=created_at, sums=""),
        tag_statistics=write_tag_counts(work.folder, plan.year, threads=work.threads),
    )
    if more_documents is not None:
        more_documents(work.folder, draft)
    standing = plan.layout.release(plan.year) if plan.standing else None
    write_documents(
        DocumentJob(
            folder=work.folder,
            release=draft,
            options=plan.options,
            takedowns=plan.takedowns,
            earlier=plan.earlier,
            standing=standing,
            threads=work.threads,
        )
    )
    work.seal()
    sums = write_sha256sums(work.folder, threads=work.threads)
    if signing_key is not None:
        sign_sums(work.folder, signing_key)
    release = replace(draft, sha256sums_sha256=sums)
    known = tuple(folder for folder in (standing, plan.earlier) if folder is not None)
    report = verify_tree(work.folder, release, full=True, known=known, threads=work.threads, progress=work.progress)
    if not report.ok:
        found = report.lines()
        raise ReleaseRefused(
            f"{release.name} does not verify ({found[0]}); build the manifest again, it names what to repair",
            rows=found,
        )
    write_release(work.folder, release)
    work.flush()
    return release


def _release(plan: SnapshotPlan, *, tags: int, instances: int, created_at: datetime, sums: str) -> Release:
    numbers = plan.summary
    return Release(
        name=release_name(plan.year),
        year=plan.year,
        version=plan.version,
        cutoff=instant_text(cutoff(plan.year)),
        last_id=numbers.last_id,
        sfw_ratings=list(sfw_ratings(plan.year)),
        counts=Counts(
            posts=numbers.posts,
            originals=numbers.originals,
            px512=numbers.px512,
            tags=tags,
            tag_instances=instances,
            pending=numbers.pending,
            rejected=plan.rejected,
        ),
        bytes=Bytes(originals=numbers.originals_bytes, px512=numbers.px512_bytes, saved=numbers.saved_bytes),
        reasons=numbers.reasons,
        sources=list(plan.sources),
        image_settings=plan.image_settings,
        inputs=plan.inputs,
        previous=plan.previous,
        replaces=plan.standing.ref if plan.standing else None,
        options=plan.options.as_dict(),
        history=list(plan.history),
        taken_down=len(plan.takedowns.posts),
        sha256sums_sha256=sums,
        created_at=instant_text(created_at),
        tool=Tool(name="danbooru-pipeline", version=version().number, commit=version().commit),
    )


def _swap_in(layout: Layout, year: int) -> None:
    """Publish the staging tree. `_heal` finishes what is killed between the renames."""
    target = layout.release(year)
    if target.exists():
        commit_part(target, layout.retired(year))
    commit_part(layout.staging(year), target)
    _drop_retired(layout, year)


def _heal(layout: Layout, year: int) -> None:
    """Finish a swap that was killed half-way, forwards if the new tree is whole and backwards if not."""
    target = layout.release(year)
    if not target.exists():
        for folder in _healing(layout, year)[:1]:
            commit_part(folder, target)
    _drop_retired(layout, year)


def heal_releases(layout: Layout) -> None:
    """Finish all swaps that were killed half-way; a release that hangs between its names is not published."""
    pattern = layout.retired(0).name.replace("0", "[0-9]" * 4)
    for folder in sorted(layout.releases.glob(pattern)):
        year = int(re.sub(r"\D", "", folder.name))
        with exclusive(layout.release_lock(year)):
            _heal(layout, year)


def _drop_retired(layout: Layout, year: int) -> None:
    """Take the old version's names away; files that the store or other releases hold live on."""
    retired = layout.retired(year)
    if retired.exists():
        shutil.rmtree(retired)
        fsync_folder(layout.releases)
