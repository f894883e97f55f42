"""Verification of a release, from its folder alone: no store, no network, no trust in what the folder says of itself.

Whatever is damaged becomes a finding and the rest is still checked. Paths that a release names are checked before they
are used; symbolic links are not followed. By default images are checked by name and size, and all papers by content.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.release.release_json import RELEASE_JSON, SIGNATURE, Release, read_release
from danbooru_pipeline.release.signing import Signature, check_signature
from danbooru_pipeline.release.verify.checksums import check_sums
from danbooru_pipeline.release.verify.findings import Findings, Kind, VerifyReport
from danbooru_pipeline.release.verify.images import ImageChecks
from danbooru_pipeline.release.verify.manifest import check_numbers, check_rows, count_tags, manifest_batches
from danbooru_pipeline.release.verify.metadata import check_archive, check_jsonl, check_posts
from danbooru_pipeline.release.verify.tables import check_image_rows, check_side_tables

__all__ = ["verify_release", "verify_tree"]


def verify_release(
    folder: Path,
    *,
    full: bool = False,
    bucket: str | None = None,
    signers: Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Verify a release.

    Args:
        folder: the release, under any name.
        full: hash every image, and not only look at its size.
        bucket: check this bucket's images, by content, and nothing else but what that needs.
        signers: keys that may have signed it, as ``ssh-keygen -Y`` reads them; default those in the release itself.
        threads: that hash; default one a core.
        progress: told about papers and buckets.

    Raises:
        NotARelease: the folder has no RELEASE.json.
        ValueError: `bucket` is not the name of one.
    """
    if bucket is not None and bucket not in BUCKETS:
        raise ValueError(f"a bucket is 0000 to 0999, not {bucket!r}")
    release: Release | None = None
    findings = Findings()
    if (folder / RELEASE_JSON).is_file() and not (folder / RELEASE_JSON).is_symlink():
        try:
            release = read_release(folder)
        except ReleaseError as error:
            findings.add(Kind.RELEASE_UNREADABLE, RELEASE_JSON, str(error))
    else:
        raise NotARelease(f"{folder} has no {RELEASE_JSON}; give the folder of a finished release")
    signature = check_signature(folder, signers)
    if signature is Signature.BAD or (signers is not None and signature is not Signature.GOOD):
        findings.add(Kind.SIGNATURE, SIGNATURE, f"the signature is {signature}, and not good by a key that may sign")
    report = verify_tree(
        folder, release, full=full, bucket=bucket, threads=threads, progress=progress, findings=findings
    )
    return dataclasses.replace(report, signature=signature.value)


def verify_tree(
    folder: Path,
    release: Release | None,
    *,
    full: bool = False,
    bucket: str | None = None,
    known: Sequence[Path] = (),
    threads: int | None = None,
    progress: Progress = silent,
    findings: Findings | None = None,
) -> VerifyReport:
    """Verify a tree against a RELEASE.json that is, or is not yet, in it.

    `known` are published releases: a file that is one of theirs, under the same sum, was hashed when they were made.
    """
    found = Findings() if findings is None else findings
    threads = threads or os.cpu_count() or 1
    altered = check_sums(folder, release, found, bucket=bucket, threads=threads, progress=progress)
    images = ImageChecks(
        folder,
        found,
        known=known,
        sfw=release.sfw_ratings if release else None,
        full=full or bucket is not None,
        threads=threads,
        progress=progress,
    )
    with images:
        numbers = _gather(folder, release, images, found, altered)
        if numbers is not None:
            images.check(bucket)
            if bucket is None:
                images.check_lists()
    if bucket is None:
        _check_rest(folder, release, numbers, found, altered)
    return VerifyReport(
        folder=folder,
        version=release.version if release else None,
        findings=tuple(found.kept),
        counts={kind.value: count for kind, count in found.counts.items()},
        posts=numbers.posts if numbers else 0,
        files=images.files,
        hashed=images.hashed,
    )


def _gather(
    folder: Path,
    release: Release | None,
    images: ImageChecks,
    found: Findings,
    altered: frozenset[str],
) -> ManifestSummary | None:
    """Check the manifest's rows and hand them on; None when not all of them can be read."""
    tally = Tally()
    for table in manifest_batches(folder, found, altered):
        if table is None:
            return None
        check_rows(table, release, found)
        tally.add(table)
        images.add(table)
    return tally.summary()


def _check_rest(
    folder: Path,
    release: Release | None,
    numbers: ManifestSummary | None,
    found: Findings,
    altered: frozenset[str],
) -> None:
    """Check metadata and numbers; those that need the manifest only when it can be read."""
    if numbers is not None:
        check_posts(folder, found, altered)
        check_image_rows(folder, found, altered)
        check_numbers(release, numbers, count_tags(folder, found, altered), found)
    check_jsonl(folder, release, found, manifest=numbers is not None)
    check_side_tables(folder, release, found, altered)
    check_archive(folder, found)
