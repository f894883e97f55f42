"""Plans and makes a release: hard links into a hidden tree, documents, verification, and a swap that publishes it.

`plan_snapshot` only looks. `apply_snapshot` makes: killed at any point it leaves the published releases as they were or
finished, and running it again completes the work. A release of the same year is replaced as a whole.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline import stop
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.atomic import remove_folder
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import Takedowns, mark_of, read_takedowns
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.checksums import hash_documents, write_sha256sums
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.write import DocumentJob, write_documents
from danbooru_pipeline.release.manifest.write import read_summary
from danbooru_pipeline.release.mentions import Search, removed_ids
from danbooru_pipeline.release.provenance import PROVENANCE, write_provenance
from danbooru_pipeline.release.release_json import (
    Bytes,
    Counts,
    Release,
    Tool,
    instant_text,
    newest_before,
    published,
    read_release,
    write_content,
    write_release,
    years_before,
)
from danbooru_pipeline.release.signing import is_signed_by, sign_sums
from danbooru_pipeline.release.tables.corrections import write_corrections
from danbooru_pipeline.release.tables.duplicates.write import write_duplicates
from danbooru_pipeline.release.tables.tag_counts import write_tag_counts
from danbooru_pipeline.release.tables.vectors.write import write_vectors
from danbooru_pipeline.release.tree.content import Content, store_content
from danbooru_pipeline.release.tree.inputs import require_posts_report
from danbooru_pipeline.release.tree.plan import (
    Action,
    SnapshotPlan,
    finished,
    made_at,
    require_signed_again,
    signed_by,
    with_version,
)
from danbooru_pipeline.release.tree.segments import SegmentStore
from danbooru_pipeline.release.tree.staging import Staging
from danbooru_pipeline.release.tree.swap import heal, standing_release, swap_in
from danbooru_pipeline.release.tree.versions import history_of, record_published
from danbooru_pipeline.release.verify.findings import Kind, VerifyReport
from danbooru_pipeline.release.verify.run import verify_tree
from danbooru_pipeline.release_paths import release_name
from danbooru_pipeline.version import version
from danbooru_pipeline.years import cutoff, sfw_ratings

_RESUME = "run danbooru-pipeline takedown --resume, then build again"
_KEY = "look at DANBOORU_SIGNING_KEY, then run again"


def plan_snapshot(
    layout: Layout, year: int, *, image_settings: Mapping[str, Any], options: DocumentOptions | None = None
) -> SnapshotPlan:
    """Compare the store with what is published. Changes nothing.

    Raises:
        ReleaseError: the year has no manifest or no posts.
        ReleaseRefused: a takedown is not finished, something names a post that was taken down, or a release that is
            signed would be replaced by one that is not.
    """
    takedowns = _finished_takedowns(layout)
    summary, report = read_summary(layout, year), require_posts_report(layout, year)
    standing, earlier = standing_release(layout, year), newest_before(layout, year)
    content = store_content(layout, year, earlier=earlier)
    _require_cleared(layout, takedowns, content)
    plan = SnapshotPlan(
        layout=layout,
        year=year,
        action=Action.NEW,
        version=f"{year}.0",
        summary=summary,
        rejected=report.rejected,
        sources=(report.source,),
        inputs=content.inputs(manifest=summary.digest, posts=report.sha256),
        # In the form that RELEASE.json gives back, where a tuple is a list.
        image_settings=msgspec.json.decode(msgspec.json.encode(dict(image_settings))),
        standing=standing,
        previous=read_release(earlier).ref if earlier else None,
        earlier=earlier,
        content=content,
        options=options or DocumentOptions(),
        takedowns=takedowns,
        history=history_of(earlier, standing),
    )
    return with_version(plan) if standing is None else _compared(plan, standing)


def _compared(plan: SnapshotPlan, standing: Release) -> SnapshotPlan:
    """The plan, now that there is a release of its year."""
    folder, signer = plan.layout.release(plan.year), plan.options.signer
    require_signed_again(folder, standing, signs=bool(signer))
    # Between the two renames of a swap nothing is there whose signature could be looked at.
    if plan.is_plan_of(standing) and (not folder.exists() or is_signed_by(folder, signer)):
        return replace(plan, action=Action.UNCHANGED, version=standing.version)
    return with_version(replace(plan, action=Action.NEW_VERSION))


def _finished_takedowns(layout: Layout) -> Takedowns:
    takedowns = read_takedowns(layout)
    if takedowns.unfinished:
        raise ReleaseRefused(f"a takedown was not finished; {_RESUME}")
    return takedowns


def _require_cleared(layout: Layout, takedowns: Takedowns, content: Content) -> None:
    """Refuse content, or a published release, that names a post that was taken down: it came back from a backup."""
    search = Search(takedowns.ids)
    files = [content.posts, content.manifest, *content.tables.values(), *content.metadata.values()]
    found = search.of_files(path for path in files if layout.releases not in path.parents)
    for folder in (*published(layout).values(), *layout.superseded_releases):
        if not takedowns.ids <= removed_ids(folder):  # else it was made after all of them were taken down
            found |= search.of_release(folder)
    if found:
        named = ", ".join(map(str, sorted(found)))
        raise ReleaseRefused(f"posts that were taken down are here again ({named}); {_RESUME}")


def apply_snapshot(
    plan: SnapshotPlan,
    *,
    created_at: datetime,
    threads: int | None = None,
    progress: Progress = silent,
    signing_key: Path | None = None,
    keep_replaced: bool = False,
) -> Release:
    """Make the release that a plan describes, and publish it under its year's name.

    Args:
        plan: from `plan_snapshot`.
        created_at: the time that RELEASE.json records, unless it is before a release that this one names.
        threads: that link, hash and compress; default one per core.
        progress: called with counts of rows, buckets and segments.
        signing_key: private key for SHA256SUMS.sig, which the release then names; without it the release is not signed.
        keep_replaced: whether the version that it replaces may stay until `grace.end_grace` removes it.

    Raises:
        ReleaseRefused: the result does not verify, it lacks its key, or the releases changed since the plan.
        StoreError: another process is making this release.
    """
    layout, year = plan.layout, plan.year
    busy = f"another process makes {release_name(year)}; wait for it to end, then run again"
    with exclusive(layout.release_lock(year), busy=busy):
        heal(layout, year, keep=keep_replaced)
        standing = standing_release(layout, year)
        if (standing and standing.ref) != (plan.standing and plan.standing.ref):
            raise ReleaseRefused(f"{release_name(year)} changed since it was planned; plan it again")
        if (plan := signed_by(plan, signing_key)).action is Action.UNCHANGED and standing is not None:
            return standing
        with _watched(plan, progress) as watch:
            release = finished(plan)
            if release is None:
                work = _empty_staging(plan, threads=threads or os.cpu_count() or 1, progress=watch)
                release = _make(plan, work, created_at=created_at, signing_key=signing_key)
            _publish(plan, release)
        heal(layout, year, keep=keep_replaced)
        return release


def _publish(plan: SnapshotPlan, release: Release) -> None:
    """Give the finished tree its name, unless a signal came or a post was taken down meanwhile."""
    stop.check()  # after a signal nothing is published; the tree is whole, and the next run resumes here
    # Under this lock no id joins the list: what is taken down later finds this release by its name.
    with exclusive(plan.layout.publication_lock):
        _require_same_takedowns(plan)
        if not is_signed_by(plan.layout.staging(plan.year), plan.options.signer):
            raise ReleaseRefused(f"{release.name} is not signed by the key that it names; {_KEY}")
        record_published(plan.layout, release.ref)  # before anybody can see it, so its version is never used again
        swap_in(plan.layout, plan.year)


@contextmanager
def _watched(plan: SnapshotPlan, progress: Progress) -> Iterator[Progress]:
    """Stop at the next step after a takedown, and leave nothing of a tree that was made without knowing of it."""
    listed = mark_of(plan.layout.takedowns)

    def step(what: str, done: int, total: int, /) -> None:
        if mark_of(plan.layout.takedowns) != listed:
            _require_same_takedowns(plan)
        progress(what, done, total)

    try:
        _require_same_takedowns(plan)
        yield step
    except Exception:
        if _taken_down_since(plan):
            remove_folder(plan.layout.staging(plan.year))
            _require_same_takedowns(plan)  # whatever was missed first, this is why
        raise


def _taken_down_since(plan: SnapshotPlan) -> frozenset[int]:
    return read_takedowns(plan.layout).ids - plan.takedowns.ids


def _require_same_takedowns(plan: SnapshotPlan) -> None:
    if _taken_down_since(plan):
        raise ReleaseRefused(
            f"posts were taken down while {release_name(plan.year)} was made, so it is not published; "
            "end that takedown (danbooru-pipeline takedown --resume), then build again"
        )


def _empty_staging(plan: SnapshotPlan, *, threads: int, progress: Progress) -> Staging:
    folder = plan.layout.staging(plan.year)
    remove_folder(folder)
    segments = SegmentStore(plan.layout.segments)
    return Staging(folder, plan.content, year=plan.year, threads=threads, progress=progress, segments=segments)


def _make(plan: SnapshotPlan, work: Staging, *, created_at: datetime, signing_key: Path | None) -> Release:
    """Fill the staging tree and verify it. RELEASE.json comes last: with it the tree is a release."""
    tags = work.write_tables(plan.summary.posts, dialect_2017=plan.options.dialect_2017)
    work.link_images()
    work.write_lists()
    work.carry_metadata()
    work.write_archive()
    draft = replace(
        _release(plan, tags=tags.tags, instances=tags.instances, created_at=created_at),
        tag_statistics=write_tag_counts(work.folder, plan.year, threads=work.threads),
        duplicates=write_duplicates(work.folder),
    )
    write_vectors(work.folder, posts=plan.summary.posts)
    write_corrections(work.folder, plan.content.corrections, with_posts=plan.options.corrected)
    write_documents(
        DocumentJob(
            folder=work.folder,
            release=draft,
            options=plan.options,
            takedowns=plan.takedowns,
            earlier=years_before(plan.layout, plan.year),
            standing=plan.standing_folder,
            threads=work.threads,
        )
    )
    write_content(work.folder, draft)
    documents = hash_documents(work.folder, threads=work.threads)
    documents[PROVENANCE] = write_provenance(work.folder, draft, documents)
    work.seal()
    release = replace(draft, sha256sums_sha256=write_sha256sums(work.folder, documents))
    if signing_key is not None:
        sign_sums(work.folder, signing_key)
    _require_verified(plan, work, release)
    write_release(work.folder, release)
    work.flush()
    return release


def _require_verified(plan: SnapshotPlan, work: Staging, release: Release) -> None:
    """Refuse a tree that does not verify. Files that are also those of a published release were hashed already."""
    known = tuple(folder for folder in (plan.standing_folder, plan.earlier) if folder is not None)
    report = verify_tree(work.folder, release, full=True, known=known, threads=work.threads, progress=work.progress)
    if not report.ok:
        found = report.lines()
        raise ReleaseRefused(f"{release.name} does not verify ({found[0]}); {_remedy(plan, report)}", rows=found)


def _remedy(plan: SnapshotPlan, report: VerifyReport) -> str:
    """What to do about a tree that does not verify: it is signed, or made from the store, or from a release."""
    if Kind.SIGNATURE.value in report.counts:
        return _KEY
    if plan.content.images == plan.standing_folder:
        return f"verify {plan.standing_folder}, and put right what that names"
    return "build the manifest again, it names what to repair"


def _release(plan: SnapshotPlan, *, tags: int, instances: int, created_at: datetime) -> Release:
    """RELEASE.json as far as it is known before the documents are written."""
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
        sha256sums_sha256="",
        created_at=made_at(plan, created_at),
        tool=Tool(name="danbooru-pipeline", version=version().number, commit=version().commit),
    )
