"""The background behind a transparent picture, and around one that is not square.

With ``contrast`` it is the one of white, black and mid-grey on which the picture's own edges remain visible: white
whenever it keeps nearly as much as the best, else black whenever it does, else grey. What an edge is worth is its
difference in luma, up to `_CLEAR`; beyond that it is plainly visible, and a stronger one is no better. Edges count at
full size and at an eighth, where a thin outline no longer hides that a whole area has merged with the background.

The outline of a page (a picture that fills its rectangle, upright or turned, but for the corners, a margin or a soft
rim) is not an edge of its own: nobody misses it, and black bars around a white page would be wrong.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from danbooru_pipeline.images.settings import Background
from danbooru_pipeline.images.words import LEVELS

#: Height × width × channels, 8 bits each.
Pixels = npt.NDArray[np.uint8]
_Values = npt.NDArray[np.int16]
_Mask = npt.NDArray[np.bool_]

#: A difference in luma (0 to 255) that anybody sees.
_CLEAR: Final = 64
#: One that nobody sees, and that rounding makes.
_FAINT: Final = 2
#: What keeps this share of the edges that the best background keeps is as good.
_NEARLY: Final = 0.9
#: How much smaller the picture is where areas count instead of lines.
_COARSE: Final = 8
#: A picture that is visible on this share of its rectangle is a page.
_PAGE: Final = 0.85
#: A turned rectangle is a page if its longer side is no more than so many times the shorter one; else it is a stroke.
_LONGEST_PAGE: Final = 4
#: The directions of 0 to 179 degrees, as whole numbers, so that all machines decide the same.
_UNIT: Final = 4096
_ANGLES: Final = np.deg2rad(np.arange(180))
_DIRECTIONS: Final = np.rint(_UNIT * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])).astype(np.int32)
#: Opacity from which a pixel counts as visible, and as part of the inside of a page.
_VISIBLE, _SOLID = 128, 250
#: Luma of BT.601, as integers of which the sum is 256.
_RED, _GREEN, _BLUE = 77, 150, 29


def choose_background(pixels: Pixels | None, requested: Background) -> tuple[str, int]:
    """Choose the background: its name, and the value of its channels (0-255).

    Args:
        pixels: height × width × 4 of a small 8-bit sRGB picture with alpha; None for one without.
        requested: the operator's choice.
    """
    name: str = requested
    if requested == "contrast":
        name = "white" if pixels is None else prefer_background(measure_edges(pixels))
    return name, LEVELS[name]


def prefer_background(edges: dict[str, int]) -> str:
    """The first background that keeps nearly as much as the best; white if there is nothing to keep."""
    wanted = _NEARLY * max(edges.values())
    return next(name for name in LEVELS if edges[name] >= wanted)


def measure_edges(pixels: Pixels) -> dict[str, int]:
    """How much of a picture's edges remains visible on each background, in units that mean nothing by themselves.

    Args:
        pixels: height × width × 4 of a small 8-bit sRGB picture with alpha.
    """
    edges = dict.fromkeys(LEVELS, 0)
    alpha = np.ascontiguousarray(pixels[..., 3])
    if alpha.min() == 255 or not alpha.any():
        return edges
    top, bottom = _extent(alpha.any(axis=1))
    left, right = _extent(alpha.any(axis=0))
    shown = pixels[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]
    luma, opacity = _luma_on_black(shown)
    veil, inside = 255 - opacity, _inside_of_page(opacity)
    if inside is not None:
        _add_scales(edges, luma, veil, inside=inside)
    if not any(edges.values()):  # it is no page, or one with nothing on it, of which the outline is all there is
        _add_scales(edges, luma, veil, inside=None)
    return edges


def _add_scales(edges: dict[str, int], luma: _Values, veil: _Values, *, inside: _Mask | None) -> None:
    """Add what is visible at full size, and at a fraction of it."""
    _add_edges(edges, luma, veil, inside=inside)
    if min(luma.shape) >= 2 * _COARSE:
        within = None if inside is None else _reduce(inside.astype(np.int16) * 255) == 255
        _add_edges(edges, _reduce(luma), _reduce(veil), inside=within, length=_COARSE)


def _add_edges(edges: dict[str, int], luma: _Values, veil: _Values, *, inside: _Mask | None, length: int = 1) -> None:
    """Add what is visible on each background.

    Args:
        edges: where.
        luma: of the picture on black.
        veil: how much of the background shows through, 0 to 255.
        inside: pixels that count; None for all.
        length: of an edge between two of these pixels, in pixels of the full size.
    """
    for name, level in LEVELS.items():
        shown = luma if level == 0 else luma + (veil if level == 255 else veil >> 1)
        for axis in (0, 1):
            steps = np.abs(_difference(shown, axis))
            if inside is not None:
                steps *= inside[1:] & inside[:-1] if axis == 0 else inside[:, 1:] & inside[:, :-1]
            # `clip`, since the same with `minimum` takes ten times as long.
            worth = np.clip(steps, _FAINT, _CLEAR).sum(axis=0, dtype=np.int32).sum()
            edges[name] += length * (int(worth) - _FAINT * steps.size)


def _luma_on_black(pixels: Pixels) -> tuple[_Values, _Values]:
    """Luma of the picture on black, and its opacity; solid is opaque, so that ringing beside a rim is no edge.

    One array per channel, since the last axis is short and slow.
    """
    luma, green, blue, alpha = (pixels[..., channel].astype(np.uint16) for channel in range(4))
    np.putmask(alpha, alpha >= _SOLID, 255)
    luma *= _RED
    green *= _GREEN
    blue *= _BLUE
    luma += green
    luma += blue
    luma >>= 8
    luma *= alpha
    luma //= 255
    return luma.view(np.int16), alpha.view(np.int16)


def _difference(values: _Values, axis: int) -> _Values:
    """Differences between neighbours."""
    return values[1:] - values[:-1] if axis == 0 else values[:, 1:] - values[:, :-1]


def _reduce(values: _Values) -> _Values:
    """The mean of each block of pixels; what is left over at the end belongs to none."""
    height, width = (side // _COARSE for side in values.shape)
    whole = values[: height * _COARSE, : width * _COARSE]
    rows = whole.reshape(height, _COARSE, -1).sum(axis=1, dtype=np.int16)
    sums = rows.reshape(height, width, _COARSE).sum(axis=2, dtype=np.int16)
    means: _Values = sums // np.int16(_COARSE**2)
    return means


def _inside_of_page(opacity: _Values) -> _Mask | None:
    """The pixels between the first and the last solid one of their row, and of their column; None if it is no page."""
    visible: _Mask = np.greater_equal(opacity, _VISIBLE)
    if not visible.any():
        return None
    if not _is_page(visible):
        return None
    solid: _Mask = np.greater_equal(opacity, min(_SOLID, int(opacity.max())))
    return _between(solid) & _between(solid.T).T


def _is_page(visible: _Mask) -> bool:
    """Whether these pixels fill most of a rectangle, upright or turned."""
    shown = int(np.count_nonzero(visible))
    top, bottom = _extent(visible.any(axis=1))
    left, right = _extent(visible.any(axis=0))
    if shown >= _PAGE * (bottom - top) * (right - left):
        return True
    visible = visible[top:bottom]
    first, after = visible.argmax(axis=1), visible.shape[1] - visible[:, ::-1].argmax(axis=1)
    # A rectangle around all rows is no smaller than these, so most pictures need no further look.
    if shown < _PAGE * int((after - first)[visible.any(axis=1)].sum()):
        return False
    return bool(shown >= _PAGE * _smallest_rectangle(first, after))


def _smallest_rectangle(first: npt.NDArray[np.intp], after: npt.NDArray[np.intp]) -> float:
    """The area of the smallest rectangle, of any turn, around rows of pixels; infinite if that is a stroke."""
    rows = np.arange(len(first))
    x, y = np.concatenate([first, first, after, after]), np.concatenate([rows, rows + 1, rows, rows + 1])
    places = np.stack([x, y], axis=1).astype(np.int32)
    lengths = np.ptp(places @ _DIRECTIONS, axis=0) / _UNIT
    sides = np.sort(np.stack([lengths[:90], lengths[90:]]), axis=0)
    areas = np.where(sides[1] <= _LONGEST_PAGE * sides[0], sides.prod(axis=0), np.inf)
    return float(areas.min())


def _between(solid: _Mask) -> _Mask:
    """The pixels between the first and the last solid one of their row."""
    first, after = solid.argmax(axis=1), solid.shape[1] - solid[:, ::-1].argmax(axis=1)
    at = np.arange(solid.shape[1])
    inside: _Mask = (at >= first[:, np.newaxis]) & (at < after[:, np.newaxis]) & solid.any(axis=1, keepdims=True)
    return inside


def _extent(found: npt.ArrayLike) -> tuple[int, int]:
    """First place that holds, and the one after the last."""
    places = np.flatnonzero(found)
    return int(places[0]), int(places[-1]) + 1
