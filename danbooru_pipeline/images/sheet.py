"""A contact sheet: some 512px images side by side, small enough for a log entry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyvips

from danbooru_pipeline.images.errors import readable_errors

#: A thousand sheets a release go into Dagster's event log and stay there for years.
MAX_BYTES: Final = 6 * 1024
COLUMNS: Final = 4
#: Most pictures on a sheet: two rows that can still be told apart at that size.
PICTURES: Final = 8
_TILE: Final = 72
#: Tried one after the other until the sheet is small enough; noise needs the last.
_QUALITIES: Final = (60, 40, 25, 12)
_GAP: Final = 2


def make_contact_sheet(images: Sequence[Path]) -> bytes | None:
    """A JPEG of up to `PICTURES` of our own 512px images and `MAX_BYTES`, evenly chosen; None if none can be read."""
    step = max(1, -(-len(images) // PICTURES))
    tiles = [tile for tile in map(_tile, images[::step]) if tile is not None]
    if not tiles:
        return None
    sheet = pyvips.Image.arrayjoin(tiles, across=COLUMNS, shim=_GAP, background=[255, 255, 255])
    sheets = (sheet.jpegsave_buffer(Q=quality, optimize_coding=True, keep="none") for quality in _QUALITIES)
    return next((data for data in sheets if len(data) <= MAX_BYTES), None)


def _tile(path: Path) -> Any:
    """One picture; None if it cannot be read, since a sheet is not a check and must not stop a run."""
    try:
        with readable_errors():
            return pyvips.Image.thumbnail(str(path), _TILE, height=_TILE).copy_memory()
    except pyvips.Error:
        return None
