"""36 transparent pictures whose background matters, each with what a person would choose; docs/images.md shows them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from danbooru_pipeline.images import Downscaled, downscale_image, inspect_image
from danbooru_pipeline.images.background import Pixels, measure_edges
from danbooru_pipeline.images.decode import shrink_image
from danbooru_pipeline.images.words import LEVELS

Color = tuple[int, ...]
_CLEAR: Final = (0, 0, 0, 0)
_WHITE, _BLACK, _GREY = (255, 255, 255), (0, 0, 0), (150, 150, 150)
_SIDE: Final = 700
_TILE: Final = 120


@dataclass(frozen=True, slots=True)
class Kind:
    """A picture.

    Attributes:
        draw: makes it, as height × width × 4.
        chosen: the backgrounds that a person would choose.
    """

    draw: Callable[[], Pixels]
    chosen: frozenset[str]

    def png(self) -> bytes:
        """The picture as a file."""
        buffer = io.BytesIO()
        Image.fromarray(self.draw()).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def _canvas(color: Color = _CLEAR, width: int = _SIDE, height: int = _SIDE) -> tuple[Image.Image, Any]:
    image = Image.new("RGBA", (width, height), color)
    return image, ImageDraw.Draw(image)


def _figure(
    draw: Any, line: Color, *, fill: Color | None = None, left: int = 0, top: int = 0, scale: float = 1
) -> None:
    """A girl with a hat: thick and thin lines, and dark or bright eyes."""

    def at(*places: int) -> list[float]:
        return [(left if n % 2 == 0 else top) + place * scale for n, place in enumerate(places)]

    thick, thin = max(1, round(5 * scale)), max(1, round(2 * scale))
    draw.ellipse(at(240, 60, 470, 290), fill=fill, outline=line, width=thick)
    draw.polygon(at(350, 290, 190, 600, 510, 600), fill=fill)
    draw.line(at(350, 290, 190, 600, 510, 600, 350, 290), fill=line, width=thick)
    draw.pieslice(at(220, 20, 490, 290), 180, 360, fill=fill, outline=line, width=thick)
    draw.arc(at(245, 45, 465, 265), 180, 360, fill=line, width=thin)
    for x in (285, 320, 350, 380, 415):
        draw.line(at(350, 290, x, 600), fill=line, width=thin)
    for x in (250, 300, 410, 460):
        draw.line(at(x, 280, x + (350 - x) // 9, 520), fill=line, width=thin)
    for x in (290, 390):
        draw.ellipse(at(x, 180, x + 32, 224), fill=line)
    draw.arc(at(320, 210, 390, 262), 20, 160, fill=line, width=thick)
    draw.line(at(250, 430, 120, 530), fill=line, width=thick)
    draw.line(at(450, 430, 580, 530), fill=line, width=thick)


def _drawing(line: Color, *, fill: Color | None = None, width: float = 1) -> Callable[[], Pixels]:
    """The figure; `width` of its lines as a share of the usual."""

    def draw() -> Pixels:
        side = round(_SIDE / width)
        image, pen = _canvas(width=side, height=side)
        _figure(pen, line, fill=fill, left=(side - _SIDE) // 2, top=(side - _SIDE) // 2)
        return np.asarray(image)

    return draw


def _halves(first: Color, second: Color) -> Callable[[], Pixels]:
    """Six small figures in one colour above six in another."""

    def draw() -> Pixels:
        image, pen = _canvas(width=1000, height=600)
        for number in range(6):
            _figure(pen, first, left=20 + 160 * number, top=90, scale=0.22)
            _figure(pen, second, left=20 + 160 * number, top=370, scale=0.22)
        return np.asarray(image)

    return draw


def _page(paper: Color, line: Color, *, radius: int = 40, margin: int = 20) -> Callable[[], Pixels]:
    """A page with rounded corners and a margin that is transparent."""

    def draw() -> Pixels:
        image, pen = _canvas()
        pen.rounded_rectangle((margin, margin, _SIDE - 1 - margin, _SIDE - 1 - margin), radius, fill=paper)
        _figure(pen, line)
        return np.asarray(image)

    return draw


def _soft_page(rim: int) -> Callable[[], Pixels]:
    """A white page whose rim fades away."""

    def draw() -> Pixels:
        image, pen = _canvas((*_WHITE, 255), 1000, 1400)
        _figure(pen, _BLACK, left=150, top=350)
        pixels = np.array(image)
        y, x = np.mgrid[0:1400, 0:1000]
        nearest = np.minimum(np.minimum(x, 999 - x), np.minimum(y, 1399 - y))
        pixels[..., 3] = np.minimum(255, 180 + nearest * (75 // rim) if rim == 1 else nearest * 255 // rim)
        return pixels

    return draw


def _page_with_holes() -> Pixels:
    """A white page out of which a drawing is cut."""
    image, pen = _canvas((*_WHITE, 255))
    _figure(pen, _CLEAR)
    return np.asarray(image)


def _painting(*colors: Color, rim: Color | None = None) -> Callable[[], Pixels]:
    """Overlapping shapes without lines, possibly with a rim around them, as a sticker has."""

    def draw() -> Pixels:
        image, pen = _canvas()
        for wider, paint in ((16, [rim] * len(colors)), (0, list(colors))):
            if paint[0] is None:
                continue
            for number, color in enumerate(paint):
                x, y = 130 + 70 * (number % 4), 90 + 120 * (number // 2)
                pen.ellipse((x - wider, y - wider, x + 230 + wider, y + 260 + wider), fill=color)
        return np.asarray(image)

    return draw


def _text(line: Color, outline: Color | None = None) -> Callable[[], Pixels]:
    """Strokes like those of letters."""

    def draw() -> Pixels:
        image, pen = _canvas()
        for wider, color in ((12, outline), (0, line)):
            for row in range(5):
                for column in range(9):
                    x, y = 50 + 68 * column, 70 + 125 * row
                    if color is not None and (row + column) % 4:
                        pen.line((x, y, x + 36, y + 70), fill=color, width=9 + wider)
                        pen.line((x, y + 70, x + 36, y + 70), fill=color, width=9 + wider)
        return np.asarray(image)

    return draw


def _glow(color: Color) -> Callable[[], Pixels]:
    """A soft light, strongest in the middle, with rays."""

    def draw() -> Pixels:
        y, x = np.mgrid[0:_SIDE, 0:_SIDE] - _SIDE // 2
        far = np.hypot(x, y)
        rays = 0.6 + 0.4 * np.cos(12 * np.arctan2(y, x))
        pixels = np.zeros((_SIDE, _SIDE, 4), np.uint8)
        pixels[..., :3] = color
        pixels[..., 3] = np.clip(255 * rays * np.exp(-((far / 160) ** 2)), 0, 255)
        return pixels

    return draw


def _gradient_lines() -> Pixels:
    """Lines that go from black at the left to white at the right."""
    pixels = np.array(_drawing(_BLACK)())
    tones = np.clip((np.arange(_SIDE) - 120) * 255 // 460, 0, 255).astype(np.uint8)
    pixels[..., :3] = np.where(pixels[..., 3:] > 0, tones[np.newaxis, :, np.newaxis], 0)
    return pixels


def _veiled(draw: Callable[[], Pixels], opacity: float) -> Callable[[], Pixels]:
    """The same, half transparent."""

    def veil() -> Pixels:
        pixels = np.array(draw())
        pixels[..., 3] = (pixels[..., 3] * opacity).astype(np.uint8)
        return pixels

    return veil


_SKIN, _HAIR, _DRESS, _SHADE = (255, 224, 204), (90, 60, 50), (200, 60, 80), (60, 70, 140)


def _kind(draw: Callable[[], Pixels], *chosen: str) -> Kind:
    return Kind(draw, frozenset(chosen))


#: By name, as the reported cases are called. Their numbers are those of the reports where there is one.
KINDS: Final[dict[str, Kind]] = {
    "01_black_lines": _kind(_drawing(_BLACK), "white"),
    "02_white_lines": _kind(_drawing(_WHITE), "black"),
    "03_grey_lines": _kind(_drawing((128, 128, 128)), "white"),
    "04_dark_grey_lines": _kind(_drawing((70, 70, 70)), "white"),
    "05_light_grey_lines": _kind(_drawing((215, 215, 215)), "black"),
    "06_red_lines": _kind(_drawing((255, 0, 0)), "white"),
    "07_yellow_lines": _kind(_drawing((255, 255, 0)), "black"),
    "08_cyan_lines": _kind(_drawing((0, 255, 255)), "black"),
    "09_lime_lines": _kind(_drawing((120, 255, 120)), "black"),
    "10_pink_lines": _kind(_drawing((255, 192, 203)), "black"),
    "11_blue_lines": _kind(_drawing((0, 0, 255)), "white"),
    "12_pale_yellow_lines": _kind(_drawing((255, 255, 200)), "black"),
    "13_thin_black_lines": _kind(_drawing(_BLACK, width=0.4), "white"),
    "14_thin_white_lines": _kind(_drawing(_WHITE, width=0.4), "black"),
    "15_veiled_black_lines": _kind(_veiled(_drawing(_BLACK), 0.4), "white"),
    "16_veiled_white_lines": _kind(_veiled(_drawing(_WHITE), 0.4), "black"),
    "17_white_fill_black_outline": _kind(_drawing(_BLACK, fill=_WHITE), "white", "black"),
    "18_black_fill_white_outline": _kind(_drawing(_WHITE, fill=_BLACK), "black"),
    "19_white_fill_grey_outline": _kind(_drawing(_GREY, fill=_WHITE), "black"),
    "20_black_fill_grey_outline": _kind(_drawing(_GREY, fill=_BLACK), "white"),
    "21_skin_fill_dark_outline": _kind(_drawing(_HAIR, fill=_SKIN), "white"),
    "22_painting": _kind(_painting(_SKIN, _HAIR, _DRESS, _SHADE), "white"),
    "23_sticker_white_rim": _kind(_painting(_SKIN, _HAIR, _DRESS, _SHADE, rim=_WHITE), "white", "grey", "black"),
    "24_black_silhouette": _kind(_painting(_BLACK, _BLACK), "white"),
    "25_white_silhouette": _kind(_painting(_WHITE, _WHITE, _WHITE), "black"),
    "26_black_text": _kind(_text(_BLACK), "white"),
    "27_white_text": _kind(_text(_WHITE), "black"),
    "28_white_text_black_outline": _kind(_text(_WHITE, _BLACK), "white"),
    "29_half_white_half_black_lines": _kind(_halves(_WHITE, _BLACK), "grey"),
    "30_lines_from_black_to_white": _kind(_gradient_lines, "grey", "black", "white"),
    "31_white_glow": _kind(_glow(_WHITE), "black"),
    "32_dark_shadow": _kind(_glow((20, 10, 30)), "white"),
    "33_black_page_white_lines": _kind(_page(_BLACK, _WHITE), "white", "black"),
    "34_page_with_holes": _kind(_page_with_holes, "black"),
    "35_white_page_rounded_corners": _kind(_page(_WHITE, _BLACK), "white"),
    "36_page_soft_edge": _kind(_soft_page(1), "white"),
}


def small(kind: Kind) -> Pixels:
    """The picture as the rule sees it."""
    data = kind.png()
    image, _ = shrink_image(data, inspect_image(data), size=512)
    pixels: Pixels = image.numpy()
    return pixels


def made(kind: Kind) -> Downscaled:
    """Its 512px image."""
    data = kind.png()
    result = downscale_image(data, inspect_image(data))
    assert isinstance(result, Downscaled), result
    return result


def table() -> list[str]:
    """The rows of docs/images.md: the share of the edges that each background keeps, and the choices."""
    rows = []
    for name, kind in KINDS.items():
        edges = measure_edges(small(kind))
        most = max(1, *edges.values())
        shares = " | ".join(f"{edges[background] / most:.2f}" for background in LEVELS)
        person = " or ".join(background for background in LEVELS if background in kind.chosen)
        rows.append(f"| `{name}` | {shares} | {made(kind).background} | {person} |")
    return rows


def sheet() -> Image.Image:
    """All 512px images, in order, six in a row."""
    across = 6
    image = Image.new("RGB", (across * _TILE, -(-len(KINDS) // across) * _TILE), (255, 120, 60))
    for number, kind in enumerate(KINDS.values()):
        tile = Image.open(io.BytesIO(made(kind).data)).resize((_TILE - 4, _TILE - 4), Image.Resampling.LANCZOS)
        image.paste(tile, (number % across * _TILE + 2, number // across * _TILE + 2))
    return image
