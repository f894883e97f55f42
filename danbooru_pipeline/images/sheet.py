"""A contact sheet: some 512px images side by side, small enough for a log entry."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyvips

COLUMNS: Final = 4
#: Most pictures on a sheet, so that it stays below about 50 KB and fits the width of the dialog that shows it.
PICTURES: Final = 12
_TILE: Final = 108
_GAP: Final = 2


def make_contact_sheet(images: Sequence[Path]) -> bytes | None:
    """A JPEG of up to `PICTURES` of our own 512px images, evenly chosen; None if none can be read."""
    step = max(1, -(-len(images) // PICTURES))
    tiles = [tile for tile in map(_tile, images[::step]) if tile is not None]
    if not tiles:
        return None
    sheet = pyvips.Image.arrayjoin(tiles, across=COLUMNS, shim=_GAP, background=[255, 255, 255])
    data: bytes = sheet.jpegsave_buffer(Q=60, optimize_coding=True, keep="none")
    return data


def _tile(path: Path) -> Any:
    """One picture; None if it cannot be read, since a sheet is not a check and must not stop a run."""
    try:
        return pyvips.Image.thumbnail(str(path), _TILE, height=_TILE).copy_memory()
    except pyvips.Error:
        return None
