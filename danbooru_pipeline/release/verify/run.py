"""Verification of a release, from its folder alone: no store, no network, no trust in the folder's own claims.

Whatever is damaged becomes a finding, and the rest is still checked. Paths that a release names are checked before they
are used; symbolic links are not followed. By default all documents are checked by content, images by name and size.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.layout import BUCKETS, RELEASE_JSON
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.release.release_json import SIGNATURE, Release, read_release
from danbooru_pipeline.release.signing import Signature, check_signature
from danbooru_pipeline.release.verify.checksums import check_sums, is_plain_file
from danbooru_pipeline.release.verify.duplicates import check_duplicates
from danbooru_pipeline.release.verify.findings import Findings, Kind, VerifyReport
from danbooru_pipeline.release.verify.images import ImageChecks
from danbooru_pipeline.release.verify.manifest import check_numbers, check_rows, manifest_batches
from danbooru_pipeline.release.verify.metadata import check_archive, check_jsonl, check_posts
from danbooru_pipeline.release.verify.tables import check_image_rows, check_side_tables
from danbooru_pipeline.release.verify.verification import Verification


def verify_release(
    folder: Path,
    *,
    full: bool = False,
    pixels: bool = False,
    sample: int | None = None,
    bucket: str | None = None,
    signers: Path | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Verify a release.

    Args:
        folder: the release, under any name.
        full: hash every image, instead of comparing its size only.
        pixels: decode the originals and compare their pixel hashes with the manifest's.
        sample: of so many originals only; the same ones each time.
        bucket: check the images of this bucket by content, and nothing else but what that needs.
        signers: keys that may have signed it, as ``ssh-keygen -Y`` reads them; default those in the release itself.
        threads: that hash; default one per core.
        progress: called with counts of documents and buckets.

    Raises:
        NotARelease: the folder has no RELEASE.json.
        ValueError: `bucket` is not the name of a bucket.
    """
    if bucket is not None and bucket not in BUCKETS:
        raise ValueError(f"a bucket is 0000 to 0999, not {bucket!r}")
    choices: dict[str, Any] = {"full": full, "pixels": pixels, "sample": sample, "bucket": bucket, "progress": progress}
    found = Findings()
    release = _read_release(folder, found)
    signature = _check_signature(folder, signers, found)
    count = threads or os.cpu_count() or 1
    run = Verification(folder=folder, release=release, threads=count, found=found, **choices)
    return dataclasses.replace(_verify(run), signature=signature.value)


def _check_signature(folder: Path, signers: Path | None, found: Findings) -> Signature:
    """The signature; a finding when it is bad, or not by one of the given signers."""
    signature = check_signature(folder, signers)
    if signature is Signature.BAD or (signers is not None and signature is not Signature.GOOD):
        found.add(Kind.SIGNATURE, SIGNATURE, f"the signature is {signature}, and not good by a key that may sign")
    return signature


def _read_release(folder: Path, found: Findings) -> Release | None:
    """RELEASE.json; None, and a finding, when it cannot be read."""
    if not is_plain_file(folder / RELEASE_JSON):
        raise NotARelease(f"{folder} has no {RELEASE_JSON}; give the folder of a finished release")
    try:
        return read_release(folder)
    except ReleaseError as error:
        found.add(Kind.RELEASE_UNREADABLE, RELEASE_JSON, str(error))
        return None


def verify_tree(
    folder: Path,
    release: Release,
    *,
    full: bool = False,
    known: Sequence[Path] = (),
    threads: int | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Verify a tree against a RELEASE.json that is not written yet.

    Args:
        folder: the tree.
        release: what will become its RELEASE.json.
        full: hash every image, instead of comparing its size only.
        known: published releases. An image that is also one of theirs, under the same sum, was hashed when they were
            made, and is not hashed again.
        threads: that hash; default one per core.
        progress: called with counts of documents and buckets.
    """
    run = Verification(
        folder=folder,
        release=release,
        full=full,
        known=known,
        threads=threads or os.cpu_count() or 1,
        progress=progress,
    )
    return _verify(run)


def _verify(run: Verification) -> VerifyReport:
    run = dataclasses.replace(run, altered=check_sums(run))
    with ImageChecks(run) as images:
        numbers = _read_manifest(run, images)
        if numbers is not None:
            images.check()
            if run.bucket is None:
                images.check_lists()
    decoded = _decode(run) if numbers is not None and run.pixels else 0
    if run.bucket is None:
        _check_rest(run, numbers)
    return VerifyReport(
        folder=run.folder,
        version=run.release.version if run.release else None,
        findings=tuple(run.found.kept),
        counts={kind.value: count for kind, count in run.found.counts.items()},
        posts=numbers.posts if numbers else 0,
        files=images.files,
        hashed=images.hashed,
        decoded=decoded,
    )


def _decode(run: Verification) -> int:
    from danbooru_pipeline.release.verify.pixels import check_pixels  # noqa: PLC0415 - loads libvips; others need none

    return check_pixels(run)


def _read_manifest(run: Verification, images: ImageChecks) -> ManifestSummary | None:
    """Check the manifest's rows and pass them on; None when not all of them can be read."""
    tally = Tally()
    for table in manifest_batches(run):
        if table is None:
            return None
        check_rows(run, table)
        tally.add(table)
        images.add(table)
    return tally.summary()


def _check_rest(run: Verification, numbers: ManifestSummary | None) -> None:
    """Check metadata and numbers; what needs the manifest only if that is readable."""
    if numbers is not None:
        check_posts(run)
        check_image_rows(run)
        if not run.found.counts[Kind.POSTS_DIFFER]:
            check_duplicates(run)
        check_numbers(run, numbers)
    check_jsonl(run, manifest=numbers is not None)
    check_side_tables(run)
    check_archive(run)
