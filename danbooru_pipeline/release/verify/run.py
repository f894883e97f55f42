"""Verification of a release, from its folder alone: no store, no network, no trust in the folder's own claims.

Whatever is damaged becomes a finding, and the rest is still checked. Paths that a release names are checked before they
are used; symbolic links are not followed. By default all documents are checked by content, images by name and size.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.io.hash_processes import FileHasher
from danbooru_pipeline.io.memory import give_back
from danbooru_pipeline.io.untrusted import is_plain, plain_names
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.manifest.summary import ManifestSummary, Tally
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release.signing import Signature, check_signature, is_signed_by
from danbooru_pipeline.release.tables.tag_totals import POSTS_COLUMNS, TagTally
from danbooru_pipeline.release.verify.beside import Beside
from danbooru_pipeline.release.verify.carried import check_carried
from danbooru_pipeline.release.verify.change_lists import check_changes
from danbooru_pipeline.release.verify.changed_metadata import check_changed_metadata
from danbooru_pipeline.release.verify.checksums import check_sums
from danbooru_pipeline.release.verify.described import check_descriptions
from danbooru_pipeline.release.verify.domains import DomainChecks
from danbooru_pipeline.release.verify.findings import Findings, Kind, VerifyReport
from danbooru_pipeline.release.verify.first_releases import check_first_releases
from danbooru_pipeline.release.verify.footers import check_footers
from danbooru_pipeline.release.verify.images import ImageChecks
from danbooru_pipeline.release.verify.kept_lines import check_kept_lines
from danbooru_pipeline.release.verify.lines import check_ids, check_lines
from danbooru_pipeline.release.verify.manifest import check_rows, manifest_batches
from danbooru_pipeline.release.verify.metadata import check_archive, check_posts, year_of
from danbooru_pipeline.release.verify.numbers import check_content, check_numbers
from danbooru_pipeline.release.verify.parquet import batches, readable_shards, tables_in, whole_table
from danbooru_pipeline.release.verify.parts import check_parts
from danbooru_pipeline.release.verify.provenance import check_provenance
from danbooru_pipeline.release.verify.removed import check_metadata, check_not_removed, read_removed
from danbooru_pipeline.release.verify.schemas import check_schemas
from danbooru_pipeline.release.verify.tables import check_image_rows, check_side_tables, check_tag_counts
from danbooru_pipeline.release.verify.tag_lists import TAG_LISTS, TagIdChecks, check_tag_lists
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release.verify.walk import check_folder_mode, image_modes, walk_documents
from danbooru_pipeline.release_paths import (
    ALLOWED_SIGNERS,
    CORRECTIONS,
    DUPLICATES,
    INDEX,
    POST_VECTORS,
    RELEASE_JSON,
    SIGNATURE,
)


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
    run = Verification(folder=folder, release=release, threads=count, found=found, published=True, **choices)
    return dataclasses.replace(_verify(run), signature=signature.value)


_UNSIGNED: Final = "the release is not signed"
_OF_SIGNATURES: Final = {
    Signature.NONE: _UNSIGNED,
    Signature.BAD: "the signature is bad",
    Signature.UNTRUSTED: "the signature is good, and its key may not sign by {signers}",
    Signature.UNCHECKED: "the signature was not checked; install ssh-keygen",
}


def _check_signature(folder: Path, signers: Path | None, found: Findings) -> Signature:
    """The signature; a finding when it is bad, or not by one of the given signers."""
    signature = check_signature(folder, signers)
    wrong = {Signature.BAD, Signature.UNTRUSTED} if signers is None else {*Signature} - {Signature.GOOD}
    if signature in wrong:
        said = _OF_SIGNATURES[signature].format(signers=signers or ALLOWED_SIGNERS)
        found.add(Kind.SIGNATURE, SIGNATURE, said if is_plain(folder, SIGNATURE) else _UNSIGNED)
    return signature


def _read_release(folder: Path, found: Findings) -> Release | None:
    """RELEASE.json; None, and a finding, when it cannot be read."""
    try:
        return read_release(folder)
    except NotARelease:
        raise
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
    if not is_signed_by(folder, release.signer):
        run.found.add(Kind.SIGNATURE, SIGNATURE, "the tree is not signed by the key that it names")
    return _verify(run)


def _verify(run: Verification) -> VerifyReport:
    with FileHasher(run.folder, workers=run.threads, rule=image_modes(run)) as hasher:
        sums, altered = check_sums(run, walk_documents(run), hasher)
        run = dataclasses.replace(run, sums=sums, altered=altered)
        removed = read_removed(run)
        with Beside(run) as beside, ImageChecks(beside.run, hasher) as images:
            numbers = _read_manifest(run, images, removed)
            if numbers is not None:
                beside.start(images.check_all)
            rest = dataclasses.replace(run, found=Findings())
            decoded = _decode(rest) if numbers is not None and run.pixels else 0
            covered = check_content(rest)
            check_provenance(rest)
            if run.bucket is None:
                check_folder_mode(rest, run.folder)
                check_parts(rest)
                _check_rest(rest, numbers, removed)
            beside.wait()
    for more in (beside.run.found, rest.found):
        run.found.take(more)
    if run.full and run.bucket is None and not run.found.counts:
        check_descriptions(run)  # of files that are wrong themselves, nothing more need be said
        if run.published:  # a tree's were made a moment ago
            _check_rendered(run)
    return VerifyReport(
        folder=run.folder,
        version=run.release.version if run.release else None,
        findings=tuple(run.found.kept),
        counts={kind.value: count for kind, count in run.found.counts.items()},
        posts=numbers.posts if numbers else 0,
        files=images.files,
        hashed=images.hashed,
        covered=covered,
        unchecked=tuple(run.found.unchecked),
        decoded=decoded,
    )


def _decode(run: Verification) -> int:
    from danbooru_pipeline.release.verify.pixels import check_pixels  # noqa: PLC0415 - loads libvips; others need none

    return check_pixels(run)


def _read_manifest(run: Verification, images: ImageChecks, removed: set[int] | None) -> ManifestSummary | None:
    """Check the manifest's rows and pass them on; None when not all of them can be read."""
    tally, domains = Tally(), DomainChecks(run)
    for table in manifest_batches(run):
        if table is None:
            return None
        check_rows(run, table)
        domains.add(table)
        check_not_removed(run, removed, table, "manifest/files-*.parquet")
        tally.add(table)
        images.add(table)
    return tally.summary()


def _check_rest(run: Verification, numbers: ManifestSummary | None, removed: set[int] | None) -> None:
    """Check metadata and numbers; what needs the manifest only if that is readable."""
    run = dataclasses.replace(run, altered=run.altered | check_schemas(run))
    posts = readable_shards(run, "parquet", "posts") or ()
    manifest = whole_table(run, "manifest", "files") if numbers is not None else ()
    tags = _count_tags(run, posts) if posts else None
    of_lists = run.found.counts[Kind.POSTS_DIFFER]  # which are in no other table
    if numbers is not None:
        check_numbers(run, numbers, tags, removed)
    if manifest and posts:
        check_posts(run, posts, manifest)
    agree = run.found.counts[Kind.POSTS_DIFFER] == of_lists
    if manifest:
        check_image_rows(run, posts if agree else (), manifest)
        give_back()
        if agree and posts:
            _check_duplicates(run, posts, manifest)
            _check_corrections(run, posts)
            _check_vectors(run, posts)
        give_back()
        carried = check_carried(run, removed)
        check_changes(run, manifest, carried, removed)
        if run.full and run.published:  # a tree's were made a moment ago
            check_changed_metadata(run, posts, carried)
        check_first_releases(run, manifest, carried)
    if tags is not None and run.release is not None:
        check_tag_counts(run, tags)
    _check_search_index(run, agree=agree and bool(manifest) and bool(posts))
    check_lines(run, year_of(run), posts)
    check_kept_lines(run, posts)
    if not (agree and posts) and manifest:
        check_ids(run, year_of(run), manifest)
    check_side_tables(run)
    if run.full and run.published:
        check_footers(run)
    check_metadata(run, removed)
    check_archive(run)


def _check_duplicates(run: Verification, posts: Sequence[str], manifest: Sequence[str]) -> None:
    """Check the table of duplicates, or say that this environment cannot."""
    try:
        from danbooru_pipeline.release.verify.duplicates import check_duplicates  # noqa: PLC0415 - needs numpy
    except ImportError as error:
        if DUPLICATES in tables_in(run, "parquet"):
            run.found.unchecked.append(f"parquet/duplicates-*.parquet was not compared: {error.name} is not installed")
        return
    check_duplicates(run, posts, manifest)


def _check_corrections(run: Verification, posts: Sequence[str]) -> None:
    """Check the layer of corrections, or say that this environment cannot."""
    try:
        from danbooru_pipeline.release.verify.corrections import check_corrections  # noqa: PLC0415 - needs numpy
    except ImportError as error:
        if is_plain(run.folder, CORRECTIONS):
            run.found.unchecked.append(f"{CORRECTIONS} was not compared: {error.name} is not installed")
        return
    check_corrections(run, posts)


def _check_vectors(run: Verification, posts: Sequence[str]) -> None:
    """Check the vectors of tags and posts, or say that this environment cannot."""
    try:
        from danbooru_pipeline.release.verify.vectors import check_vectors  # noqa: PLC0415 - needs numpy and scipy
    except ImportError as error:
        if POST_VECTORS in tables_in(run, "parquet"):
            run.found.unchecked.append(f"parquet/*_vectors-*.parquet was not compared: {error.name} is not installed")
        return
    check_vectors(run, posts)


def _check_search_index(run: Verification, *, agree: bool) -> None:
    """Check the index for searches, or say that this environment cannot."""
    try:
        from danbooru_pipeline.release.verify.search_index import (  # noqa: PLC0415 - needs numpy and pyroaring
            check_search_index,
        )
    except ImportError as error:
        if plain_names(run.folder, INDEX):
            run.found.unchecked.append(f"{INDEX}/ was not compared: {error.name} is not installed")
        return
    check_search_index(run, agree=agree)


def _check_rendered(run: Verification) -> None:
    """Compare documents with what this code writes, or say that this environment cannot."""
    try:
        from danbooru_pipeline.release.verify.rendered import check_rendered  # noqa: PLC0415 - needs jinja2 and DuckDB
    except ImportError:
        run.found.unchecked.append(
            "the words of documents, scripts and pages were not compared: that needs the whole danbooru-pipeline"
        )
        return
    check_rendered(run)


def _count_tags(run: Verification, posts: Sequence[str]) -> TagTally | None:
    """The tags of the posts; None, and a finding, when they cannot be read. Their lists are compared on the way."""
    tally = TagTally(run.release.year if run.release else 0)
    compares_lists = run.full and run.published  # a tree's were made a moment ago
    ids = TagIdChecks(run)
    for name in posts:
        counted = False
        with run.reading(Kind.PARQUET_UNREADABLE, name):
            for table in batches(run, name, columns=(*POSTS_COLUMNS, *([TAG_LISTS] if compares_lists else ()))):
                tally.add(table)
                if compares_lists:
                    check_tag_lists(run, table)
                    ids.add(table)
            counted = True
        if not counted:
            return None
    ids.finish()
    return tally
