"""The row filter that suits a PNG, found out on an eighth of its rows.

Trying all filters on all rows takes a quarter of the optimiser's time. Only plain 8-bit colour is sampled; for all
other kinds the optimiser tries every filter.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import oxipng
import pyvips

from danbooru_pipeline.images.errors import readable_errors
from danbooru_pipeline.images.inspect import ImageFacts

_RGB, _RGBA = 2, 6
#: Smaller pictures are cheap anyway, and their sample says too little.
_MIN_PIXELS: Final = 100_000
#: So many rows out of each `_PERIOD`.
_ROWS, _PERIOD = 16, 128
#: Whatever is small in the end is small at this effort, too.
_SAMPLE_DEFLATE: Final = 6
#: `Entropy`, which the optimiser tries too, is hardly ever better than `Bigrams`, and a sample does not show it.
_FILTERS: Final = (oxipng.RowFilter.Bigrams, oxipng.RowFilter.Sub, oxipng.RowFilter.NoOp)
_PALETTE: Final = 256


def choose_filters(data: bytes, facts: ImageFacts) -> Sequence[Any] | None:
    """The filters worth trying; None for the optimiser's own choice."""
    depth, kind, interlaced = data[24], data[25], data[28]
    if depth != 8 or kind not in (_RGB, _RGBA) or interlaced or facts.pixels < _MIN_PIXELS:
        return None
    try:
        with readable_errors():
            sample = _sample(data)
    except pyvips.Error:
        return None  # damage: whoever proves the result will say so
    height, width, bands = sample.shape
    if bands != (3 if kind == _RGB else 4) or _could_be_reduced(sample):
        return None
    color = oxipng.ColorType.rgb() if bands == 3 else oxipng.ColorType.rgba()
    raw = oxipng.RawImage(sample.tobytes(), width, height, color_type=color)

    def size_with(row_filter: Any) -> int:
        deflate = oxipng.Deflaters.libdeflater(_SAMPLE_DEFLATE)
        return len(raw.create_optimized_png(level=2, color_type_reduction=False, filter=[row_filter], deflate=deflate))

    return [min(_FILTERS, key=size_with)]


def _sample(data: bytes) -> Any:
    """Some rows of all parts of the picture, as height × width × bands."""
    image = pyvips.Image.pngload_buffer(data, access="sequential", fail_on="error")
    region = pyvips.Region.new(image)
    strips = [
        np.frombuffer(region.fetch(0, top, image.width, min(_ROWS, image.height - top)), np.uint8)
        for top in range(0, image.height, _PERIOD)
    ]
    return np.concatenate(strips).reshape(-1, image.width, image.bands)


def _could_be_reduced(sample: Any) -> bool:
    """Whether the optimiser could make it grey, or give it a palette, for which other filters are right."""
    red, green, blue = (sample[::2, ::2, band] for band in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return True
    keys = (red >> 3).astype(np.uint16) << 10 | (green >> 3).astype(np.uint16) << 5 | blue >> 3
    return int(np.count_nonzero(np.bincount(keys.ravel(), minlength=2**15))) <= _PALETTE // 2
