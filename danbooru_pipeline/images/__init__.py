"""Images: inspect a file, optimise it losslessly, make its 512px image; in worker processes that may crash.

`inspect_image`, `optimize_image` and `downscale_image` are pure: bytes in, a value out. `run_image_job` reads and
writes the files around them, and `ImagePool` runs it in worker processes. No network, no clock, no Dagster.
"""

from danbooru_pipeline.images.downscale import Downscaled, downscale_image
from danbooru_pipeline.images.inspect import Flag, ImageFacts, inspect_image
from danbooru_pipeline.images.job import ImageJob, ImageResult, run_image_job
from danbooru_pipeline.images.optimize import Kept, Optimized, optimize_image
from danbooru_pipeline.images.pool import ImagePool
from danbooru_pipeline.images.quality import Quality
from danbooru_pipeline.images.settings import Background, ImageSettings
from danbooru_pipeline.images.sheet import make_contact_sheet
from danbooru_pipeline.images.signature import IMAGE_TYPES, sniff_type

__all__ = [
    "IMAGE_TYPES",
    "Background",
    "Downscaled",
    "Flag",
    "ImageFacts",
    "ImageJob",
    "ImagePool",
    "ImageResult",
    "ImageSettings",
    "Kept",
    "Optimized",
    "Quality",
    "downscale_image",
    "inspect_image",
    "make_contact_sheet",
    "optimize_image",
    "run_image_job",
    "sniff_type",
]
