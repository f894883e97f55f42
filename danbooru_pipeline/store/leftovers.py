"""What killed writers left in the folders of a bucket, whoever they were: a build, following, or an import."""

from collections.abc import Iterable

from danbooru_pipeline.fetch import part_names
from danbooru_pipeline.io.atomic import remove_parts
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import Fetch


def clear_leftovers(layout: Layout, bucket: str, fetch: Iterable[Fetch]) -> None:
    """Remove unfinished files of a bucket, but for what downloads of these files can resume.

    The caller holds the bucket's lock.
    """
    resumable = {name for file in fetch for name in part_names(f"{file.id}.{file.ext}", file.md5)}
    remove_parts(layout.original_bucket(bucket), keep=resumable)
    remove_parts(layout.px512_bucket(bucket))
