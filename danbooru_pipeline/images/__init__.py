"""Images: inspect a file, optimise it losslessly, make its 512px image; in worker processes that may crash.

`inspect_image`, `optimize_image` and `downscale_image` are pure: bytes in, a value out. `run_image_job` reads and
writes the files around them, and `ImagePool` runs it in worker processes. No network, no clock, no Dagster.
"""

from danbooru_pipeline.lazy import names_of

#: As `typing.TYPE_CHECKING`, whose import alone takes milliseconds.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from danbooru_pipeline.images.downscale import Downscaled, downscale_image
    from danbooru_pipeline.images.inspect import ImageFacts, inspect_image
    from danbooru_pipeline.images.job import ImageJob, ImageResult, run_image_job
    from danbooru_pipeline.images.optimize import Optimized, optimize_image
    from danbooru_pipeline.images.pool import ImagePool
    from danbooru_pipeline.images.settings import Background, ImageSettings
    from danbooru_pipeline.images.sheet import make_contact_sheet
    from danbooru_pipeline.images.signature import IMAGE_TYPES, sniff_type
    from danbooru_pipeline.images.words import Flag, Kept, Quality
else:
    # Whoever needs the words alone, as `verify` does, loads no decoder.
    __getattr__ = names_of(
        __name__,
        {
            "downscale": "Downscaled downscale_image",
            "inspect": "ImageFacts inspect_image",
            "job": "ImageJob ImageResult run_image_job",
            "optimize": "Optimized optimize_image",
            "pool": "ImagePool",
            "settings": "Background ImageSettings",
            "sheet": "make_contact_sheet",
            "signature": "IMAGE_TYPES sniff_type",
            "words": "Flag Kept Quality",
        },
    )

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
