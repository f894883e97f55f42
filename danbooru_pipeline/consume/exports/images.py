"""Images in another size and format, with captions: re-sized by the workers and colour rules that make 512px images.

``metadata.jsonl`` makes the folder an ImageFolder with captions. It is written in the order of ids, each row after its
file, so a killed export goes on after its last row.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import msgspec

from danbooru_pipeline.consume.exports.caption_text import CaptionOptions, captioner
from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.image_folder import (
    METADATA,
    FolderOptions,
    resume_rows,
    write_kohya_json,
    write_row,
)
from danbooru_pipeline.consume.exports.in_workers import resume_left_out, run_in_workers, why_unprocessed
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.images.job import ImageResult
from danbooru_pipeline.images.render import RenderJob, RenderResult, RenderSettings, run_render_job
from danbooru_pipeline.outcomes import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `images`.

    Attributes:
        render: size, format and quality.
        text_files: whether each image has its caption in ``ID.txt``, too.
        workers: processes that render; 0 for one a processor.
    """

    render: RenderSettings = field(default_factory=RenderSettings)
    caption: CaptionOptions = field(default_factory=CaptionOptions)
    folder: FolderOptions = field(default_factory=FolderOptions)
    text_files: bool = False
    workers: int = 0


def write(job: Job) -> None:
    """Write ``1_danbooru/ID.jpg`` and ``metadata.jsonl``, after what a killed export has."""
    options: Options = job.options
    done = _resume(job)
    caption = captioner(options.caption, job.chosen)
    (job.target / options.folder.prefix).mkdir(exist_ok=True)
    with (job.target / METADATA).open("ab", buffering=0) as rows:
        for post, result in _rendered(job, done):
            reason = _left_out(result)
            if reason is None and isinstance(result, RenderResult):
                _record(job, post, result, rows=rows, text=caption(post))
            else:
                job.leave_out(post.id, reason or Reason.WORKER_CRASHED.value)
    if options.folder.kohya_json:
        write_kohya_json(job.target)


def _left_out(result: ImageResult) -> str | None:
    """Why there is no file; None if there is one. A job that killed its worker has the reason of a 512px image."""
    reason = why_unprocessed(result)
    return result.left_out if reason is None and isinstance(result, RenderResult) else reason


def _name(options: Options, post: Chosen) -> str:
    return f"{options.folder.prefix}{post.id}.{options.render.format}"


def _rendered(job: Job, done: int) -> Iterator[tuple[Chosen, ImageResult]]:
    """Each post after the id `done`, with what a worker made of it, in the order of ids."""
    options: Options = job.options

    def make(post: Chosen) -> RenderJob:
        target = job.target / _name(options, post)
        # As a 512px image it gets the reason of one when it kills its worker.
        return RenderJob(source=job.release / post.path, target=target, px512=target, render=options.render)

    return run_in_workers(job, make, run=run_render_job, workers=options.workers, done=done)


def _record(job: Job, post: Chosen, result: RenderResult, *, rows: IO[bytes], text: str) -> None:
    name = _name(job.options, post)
    if job.options.text_files:
        (job.target / f"{name.rpartition('.')[0]}.txt").write_text(f"{text}\n", encoding="utf-8")
    size = {"width": result.rendered_width, "height": result.rendered_height}
    write_row(rows, name, text, id=post.id, rating=post.rating, **size)
    job.count(result.px512_size or 0)


def _resume(job: Job) -> int:
    """Count what a killed export has already. Returns the highest id that it came to."""
    last = 0
    for line in resume_rows(job.target / METADATA):
        last = max(last, msgspec.json.decode(line)["id"])
        job.count(0)
    return max(last, resume_left_out(job))


def _size(posts: int, size: int, options: Options) -> int:
    render = options.render
    pixels = min(render.max_pixels or 2**62, (render.size or 2**31) ** 2)
    bits = {"jpg": 2.4, "webp": 1.6, "jxl": 1.4, "png": 12.0}[render.format]
    return min(int(posts * pixels * bits / 8), 3 * size) if pixels < 2**60 else size


FORM = Form(write=write, options=Options, resumes=True, size=_size)
