"""The sample images of the page, as `data:` URLs."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyvips

from danbooru_pipeline.release.documents.page import Sample

_THUMBNAIL = 160


def make_samples(folder: Path, chosen: Iterable[tuple[int, str]]) -> Iterator[Sample]:
    """Thumbnails of 512px images, given by id and path. One that cannot be read is omitted; verification reports it."""
    for id_, path in chosen:
        try:
            image = pyvips.Image.thumbnail(str(folder / path), _THUMBNAIL)
            data = image.jpegsave_buffer(Q=70, keep="none")
        except pyvips.Error:
            continue
        yield Sample(id_, path, "data:image/jpeg;base64," + base64.b64encode(data).decode())
