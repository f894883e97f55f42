"""One picture, one look by a detector, in a worker process: its boxes, and crops of them if they are wanted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from danbooru_pipeline.images.boxes import Box
from danbooru_pipeline.images.detect import Detector, DetectorSettings
from danbooru_pipeline.images.job import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.render import RenderSettings, encode, inspect_stored, render_image
from danbooru_pipeline.io.atomic import commit_part, part_path
from danbooru_pipeline.outcomes import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CropSettings:
    """What crops look like.

    Attributes:
        scale: their width and height as multiples of those of the box; they end where the picture does.
        size: their longer side is shrunk to this; 0 keeps it.
        quality: of the JPEG.
    """

    scale: float = 1.5
    size: int = 512
    quality: int = 92


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectJob(ImageJob):
    """One picture to be looked at.

    Attributes:
        detector: which model, and how it is asked.
        crops: where a box's crop goes, with ``{}`` for its number; None for no crops.
        crop: what they look like.
    """

    detector: DetectorSettings
    crops: str | None = None
    crop: CropSettings = field(default_factory=CropSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectResult(ImageResult):
    """The outcome.

    Attributes:
        boxes: the highest score first.
        width, height: of the upright picture, in whose pixels they are.
        left_out: why nobody could look; None if the model did.
    """

    boxes: tuple[Box, ...] = ()
    width: int = 0
    height: int = 0
    left_out: str | None = None


def run_detect_job(job: ImageJob, note: Callable[[ImageResult], None]) -> ImageResult:
    """Run a job in this process; a job that is not about detecting as `run_image_job` does.

    Args:
        job: what to do.
        note: is told before any pixel is decoded what holds if this process does not survive that.

    Raises:
        OSError: a file could not be read or written.
    """
    if not isinstance(job, DetectJob):
        return run_image_job(job, note)
    started = time.process_time()
    stored = job.source.read_bytes()
    blank = DetectResult(facts=None, sha256="", size=len(stored))
    detector = _detector(job.detector)
    note(replace(blank, unprocessed=True))
    opened = inspect_stored(stored, job.source.suffix[1:])
    if opened is None:
        return replace(blank, left_out=Reason.DAMAGED.value)
    data, facts = opened
    width, height = facts.upright_size
    size = detector.longest_side(width, height)
    picture = render_image(data, facts, RenderSettings(size=size, enlarge=True))
    if isinstance(picture, str):
        return replace(blank, facts=facts, left_out=picture)
    boxes = detector.find(picture, width=width, height=height)
    if boxes and job.crops is not None:
        whole = render_image(data, facts, RenderSettings(size=None))
        if isinstance(whole, str):
            return replace(blank, facts=facts, left_out=whole)
        _write_crops(job, whole, boxes)
    result = replace(blank, facts=facts, boxes=boxes, width=width, height=height)
    return replace(result, cpu_seconds=time.process_time() - started)


@lru_cache(maxsize=1)
def _detector(settings: DetectorSettings) -> Detector:
    """The model of this process; it is opened once."""
    return Detector(settings)


def _write_crops(job: DetectJob, whole: Image.Image, boxes: tuple[Box, ...]) -> None:
    for number, box in enumerate(boxes):
        crop = whole.crop(crop_area(box, job.crop.scale, width=whole.width, height=whole.height))
        if job.crop.size:
            crop.thumbnail((job.crop.size, job.crop.size), Image.Resampling.LANCZOS)
        target = Path(str(job.crops).format(number))
        part = part_path(target)
        part.write_bytes(encode(crop, RenderSettings(format="jpg", quality=job.crop.quality)))
        commit_part(part, target, flush_folder=False)


def crop_area(box: Box, scale: float, *, width: int, height: int) -> tuple[int, int, int, int]:  # Pillow's own order
    """Left, top, right and bottom of a crop around the middle of a box, inside of the picture, never empty."""
    middle, centre = box.left + box.width / 2, box.top + box.height / 2
    left = min(width - 1, max(0, round(middle - box.width * scale / 2)))
    top = min(height - 1, max(0, round(centre - box.height * scale / 2)))
    right = max(left + 1, min(width, round(middle + box.width * scale / 2)))
    bottom = max(top + 1, min(height, round(centre + box.height * scale / 2)))
    return left, top, right, bottom
