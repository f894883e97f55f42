"""Images with captions: ``ID.jpg`` beside ``ID.txt`` with its tags, the form that trainers of image generators read."""

from dataclasses import dataclass, field

from danbooru_pipeline.consume.exports.caption_text import CaptionOptions, captioner
from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.image_folder import (
    METADATA,
    PICTURES,
    FolderOptions,
    write_kohya_json,
    write_row,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `captions`."""

    caption: CaptionOptions = field(default_factory=CaptionOptions)
    folder: FolderOptions = field(default_factory=FolderOptions)


def write(job: Job) -> None:
    """Write ``1_danbooru/ID.ext``, ``1_danbooru/ID.txt`` and ``metadata.jsonl``."""
    options: Options = job.options
    caption = captioner(options.caption, job.chosen)
    (job.target / options.folder.prefix).mkdir(exist_ok=True)
    with (job.target / METADATA).open("wb") as rows:
        for post in job.posts(only=PICTURES):
            name = f"{options.folder.prefix}{post.path.rpartition('/')[2]}"
            text = caption(post)
            job.place(post, job.target / name)
            (job.target / f"{options.folder.prefix}{post.id}.txt").write_text(f"{text}\n", encoding="utf-8")
            write_row(rows, name, text)
    if options.folder.kohya_json:
        write_kohya_json(job.target)


FORM = Form(write=write, options=Options, size=lambda posts, size, _: size + posts * 600)
