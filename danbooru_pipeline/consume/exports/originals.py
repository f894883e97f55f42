"""Originals as the site served them: ``BUCKET/ID.EXT``, JPEG XL turned back into JPG, and ``MD5SUMS`` to prove it.

An optimised file has the same pixels as the source's and other bytes. It is linked as it is, and listed in
``optimised.txt`` instead of ``MD5SUMS``.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.archive import restore_jpeg
from danbooru_pipeline.io.md5 import md5_of, md5_of_bytes
from danbooru_pipeline.io.ordered_map import ordered_map
from danbooru_pipeline.layout import ARCHIVE_EXTENSION, EXTENSIONS, bucket_of


@dataclass(frozen=True, slots=True)
class _Written:
    """A file of the export: its path, its MD5, and whether its bytes are the source's."""

    path: str
    md5: str
    is_exact: bool


def write(job: Job) -> None:
    """Write the export.

    Raises:
        ReleaseError: a JPEG XL does not give back the bytes that the source sent.
    """
    with (
        (job.target / "MD5SUMS").open("w") as sums,
        (job.target / "optimised.txt").open("w") as optimised,
        ordered_map(partial(_write_one, job), job.posts(), threads=job.threads, name="export") as written,
    ):
        for file in written:
            (sums if file.is_exact else optimised).write(f"{file.md5}  {file.path}\n")


def _write_one(job: Job, post: Chosen) -> _Written:
    if post.file_ext not in EXTENSIONS:
        raise ReleaseError(f"{post.path}: the metadata has the extension {post.file_ext!r} for it; verify the release")
    name = f"{bucket_of(post.id)}/{post.id}.{post.file_ext}"
    target = job.target / name
    target.parent.mkdir(exist_ok=True)
    if post.path.endswith(f".{ARCHIVE_EXTENSION}"):
        md5 = _restore(job.release / post.path, target)
        if md5 != post.fetched_md5:
            raise ReleaseError(f"{post.path} does not give back the file of MD5 {post.fetched_md5}; verify the release")
    else:
        job.place(post, target)
        md5 = md5_of(target)
    return _Written(name, md5, is_exact=md5 == post.fetched_md5)


def _restore(archive: Path, target: Path) -> str:
    """Turn a JPEG XL back into its JPG. Returns its MD5."""
    try:
        data = restore_jpeg(archive.read_bytes())
    except ValueError as error:
        raise ReleaseError(f"{archive}: {error}; verify the release") from error
    target.write_bytes(data)
    return md5_of_bytes(data)


FORM = Form(write=write, select=lambda selection, _options, _about: replace(selection, tree="original"))
