"""Images with captions: ``ID.jpg`` beside ``ID.txt`` with its tags, the form that trainers of image generators read."""

import os
from pathlib import Path

from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.io.atomic import link_or_copy
from danbooru_pipeline.layout import bucket_of


def write(release: Path, target: Path, selection: Selection) -> int:
    """Write ``BUCKET/ID.ext`` and ``BUCKET/ID.txt``. Returns the number of posts."""
    posts = 0
    target.mkdir()
    for post in select(release, selection, held=True, threads=os.cpu_count() or 1):
        folder = target / bucket_of(post.id)
        folder.mkdir(exist_ok=True)
        link_or_copy(release / post.path, folder / post.path.rpartition("/")[2])
        tags = (
            *post.tag_string_character.split(),
            *post.tag_string_copyright.split(),
            *post.tag_string_general.split(),
        )
        caption = ", ".join(tag.replace("_", " ") for tag in tags)
        (folder / f"{post.id}.txt").write_text(f"{caption}\n")
        posts += 1
    return posts
