"""WebDataset shards of a selection: one tar per bucket with ``ID.jpg`` (or its own extension) and ``ID.json``."""

import itertools
import os
from pathlib import Path

from danbooru_pipeline.consume.select import Chosen, Selection, select
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.tables.webdataset import ShardImage, write_shard
from danbooru_pipeline.years import cutoff

_CATEGORIES = ("general", "artist", "copyright", "character", "meta")


def write(release: Path, target: Path, selection: Selection) -> int:
    """Write the shards. Returns the number of posts in them."""
    mtime = int(cutoff(read_release(release).year).timestamp())
    chosen = select(release, selection, held=True, threads=os.cpu_count() or 1)
    posts = sorted(chosen, key=lambda post: (bucket_of(post.id), post.id))
    target.mkdir()
    for bucket, group in itertools.groupby(posts, key=lambda post: bucket_of(post.id)):
        members = (_member(release, post) for post in group)
        write_shard(target, f"{selection.tree}-{bucket}", members, mtime=mtime)
    return len(posts)


def _member(release: Path, post: Chosen) -> ShardImage:
    about = {
        "id": post.id,
        "rating": post.rating,
        "score": post.score,
        "is_deleted": post.is_deleted,
        "tags": post.tag_string.split(),
        **{f"tags_{name}": getattr(post, f"tag_string_{name}").split() for name in _CATEGORIES},
        "width": post.width,
        "height": post.height,
    }
    return ShardImage(name=post.path.rpartition("/")[2], path=release / post.path, sha256=post.sha256, about=about)
