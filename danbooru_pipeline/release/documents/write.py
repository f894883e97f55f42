"""Writes the documents of a tree whose tables, images and metadata are in place, in the order of their dependencies.

They are rendered from the numbers of RELEASE.json, from counts over the release's own tables and from the operator's
options, so the same release always gets the same documents, whoever makes them and whenever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.posts.takedowns import Takedowns
from danbooru_pipeline.release.changes import Changes, write_changes
from danbooru_pipeline.release.checksums import ARCHIVE, hash_documents
from danbooru_pipeline.release.documents.browser import write_browser
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.removals import known_removals
from danbooru_pipeline.release.documents.render import rendered
from danbooru_pipeline.release.documents.thumbnails import make_samples
from danbooru_pipeline.release.documents.torrent import write_torrent
from danbooru_pipeline.release.documents.values import address_of, document_values
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.removal_feed import feed_lines
from danbooru_pipeline.release.signing import allowed_signers
from danbooru_pipeline.release.tables.image_rows import write_image_rows
from danbooru_pipeline.release.tables.search_index import write_search_index
from danbooru_pipeline.release.tables.side_tables import side_table_files, write_side_tables
from danbooru_pipeline.release.tables.webdataset import write_webdataset
from danbooru_pipeline.release_paths import ALLOWED_SIGNERS, REMOVALS, REMOVED
from danbooru_pipeline.years import cutoff


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentJob:
    """A tree whose documents are to be written.

    Attributes:
        earlier: folders of the releases of earlier years, newest first; changes are listed from each of them.
        standing: folder of the published version of the same year, which this one replaces.
    """

    folder: Path
    release: Release
    options: DocumentOptions
    takedowns: Takedowns
    earlier: Sequence[Path]
    standing: Path | None
    threads: int


def write_documents(job: DocumentJob) -> None:
    """Write everything that is neither an image, nor metadata, nor a checksum."""
    folder, release = job.folder, job.release
    write_side_tables(folder, side_table_files(folder, release.year))
    write_atomic(folder / REMOVED, job.takedowns.tombstones)
    known = known_removals([*reversed(job.earlier), *([] if job.standing is None else [job.standing])])
    write_atomic(folder / REMOVALS, feed_lines(job.takedowns.ids, known, version=release.version))
    write_image_rows(folder)
    write_search_index(folder)
    write_browser(folder, release)
    if job.options.webdataset:
        write_webdataset(folder, folder, mtime=int(cutoff(release.year).timestamp()))
    if job.options.torrent:
        write_torrent(folder / ARCHIVE, url=address_of(release, job.options))
    if job.options.signer:
        write_atomic(folder / ALLOWED_SIGNERS, allowed_signers(job.options.signer))
    labels = list(_labels(job))
    values = document_values(folder, release, job.options, labels=labels, threads=job.threads, spill=folder)
    samples = list(make_samples(folder, values["stats"].samples))
    archive = sha256_of(folder / ARCHIVE)
    for name, data in rendered(folder, release, values, archive=archive, samples=samples):
        write_atomic(folder / name, data)
    _write_changes(job)


def _labels(job: DocumentJob) -> dict[str, Path]:
    """Label of each list of changes -> folder of the release that it starts from: all that a mirror may have whole."""
    release = job.release
    labels = {f"{release.year}-from-{folder.name[-4:]}": folder for folder in job.earlier}
    if job.standing is not None and release.replaces is not None:
        labels[f"{release.version}-from-{release.replaces.version}"] = job.standing
    return labels


def _write_changes(job: DocumentJob) -> list[Changes]:
    labels = _labels(job)
    documents = hash_documents(job.folder, threads=job.threads) if labels else {}
    return [
        write_changes(
            job.folder,
            old,
            job.release,
            label=label,
            labels=labels,
            takedowns=job.takedowns,
            documents=documents,
            threads=job.threads,
        )
        for label, old in labels.items()
    ]
