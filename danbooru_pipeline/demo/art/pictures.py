"""Turns a scene into a picture: composes SVG and renders it. Deterministic for (seed, id, revision); no encoding."""

import os
import re
from collections.abc import Iterator
from random import Random

# One thread per picture: many are drawn at once, and small pictures gain nothing from libvips' own threads.
# libvips reads the variable when it is loaded.
os.environ.setdefault("VIPS_CONCURRENCY", "1")

import pyvips

from danbooru_pipeline.demo.art.figures import draw_figure, draw_girl
from danbooru_pipeline.demo.art.scenery import draw_background, draw_comic, draw_landscape, draw_pattern
from danbooru_pipeline.demo.art.scenes import Scene

_PAINT = re.compile(r' (?:fill|stroke|stroke-width|fill-opacity|opacity)="[^"]*"')
_FILL = re.compile(r'fill="#([0-9a-f]{6})"')


def _place(scene: Scene, rng: Random, *, height: float) -> str:
    """Place the scene's figure, drawn on 100 × 100, near the lower edge of a field of 100 × height."""
    if scene.motif in {"creature", "thing"}:
        figure, scale = draw_figure(scene.what, scene.hue), min(0.95, height / 108) * rng.uniform(0.9, 1)
        top = (height - 100 * scale) * rng.uniform(0.5, 1)
    else:
        figure, scale = (
            draw_girl(scene.girl, rng, scene.hue),
            max(0.84, min(1.25, height / 100)) * rng.uniform(0.92, 1.08),
        )
        top = max(height - 99 * scale, 6 * scale)
    x = 50 - 50 * scale + rng.uniform(-5, 5)
    mirror = f"translate({2 * x + 100 * scale:.2f} 0) scale(-1 1) " if rng.random() < 0.4 else ""
    return f'<g transform="{mirror}translate({x:.2f} {top:.2f}) scale({scale:.3f})">{figure}</g>'


def _document(body: str, width: int, height: int) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 100 {100 * height / width:.3f}" preserveAspectRatio="none">{body}</svg>'
    ).encode()


def _render(body: str, width: int, height: int) -> pyvips.Image:
    return pyvips.Image.svgload_buffer(_document(body, width, height)).copy_memory()


def _render_opaque(body: str, width: int, height: int) -> pyvips.Image:
    # On an opaque sheet the alpha channel carries nothing; dropping it costs a tenth of flattening.
    return _render(f'<rect width="100" height="500" fill="#ffffff"/>{body}', width, height).extract_band(0, n=3)


def _compose(scene: Scene, rng: Random, height: float) -> str:
    if scene.motif == "landscape":
        return draw_landscape(scene.what, rng, time=scene.time, height=height)
    if scene.motif == "pattern":
        return draw_pattern(scene.what, rng, hue=scene.hue, height=height)
    if scene.motif == "comic":
        return draw_comic([draw_girl(scene.girl, rng, scene.hue) for _ in range(2)], rng, height=height)
    background = draw_background(scene.background, rng, hue=scene.hue, height=height)
    return background + _place(scene, rng, height=height)


def draw_picture(scene: Scene, rng: Random, *, width: int, height: int) -> pyvips.Image:
    """The scene as an opaque sRGB picture; comics are grey, in three equal channels."""
    image = _render_opaque(_compose(scene, rng, 100 * height / width), width, height)
    return image[1].bandjoin([image[1], image[1]]).copy(interpretation="srgb") if scene.motif == "comic" else image


def draw_sticker(scene: Scene, rng: Random, *, width: int, height: int) -> pyvips.Image:
    """The scene's figure alone, with a white rim, on a transparent background."""
    figure = _place(scene, rng, height=100 * height / width)
    # A group cannot override attributes of its shapes, so the rim is drawn from shapes stripped of theirs.
    bare = _PAINT.sub("", figure)
    rim = f'<g fill="#ffffff" stroke="#ffffff" stroke-width="7" stroke-linejoin="round">{bare}</g>'
    return _render(rim + figure, width, height)


def draw_lines(scene: Scene, rng: Random, *, width: int, height: int, ink: int) -> pyvips.Image:
    """The scene's figure as line art on a transparent background; `ink` is the grey value of the lines."""
    figure = _FILL.sub(_blanch, _place(scene, rng, height=100 * height / width))
    alpha = _render(figure, width, height).flatten(background=255).colourspace("b-w").invert()
    colour = (alpha * 0 + ink).cast("uchar")
    return colour.bandjoin([colour, colour, alpha]).copy(interpretation="srgb")


def _blanch(match: re.Match[str]) -> str:
    """Replace a fill by white, or by black if it is as dark as ink."""
    colour = match[1]
    return f'fill="{"#000000" if max(bytes.fromhex(colour)) < 80 else "#ffffff"}"'


def draw_frames(scene: Scene, rng: Random, *, width: int, height: int, count: int) -> Iterator[pyvips.Image]:
    """Frames of an animation: the figure bounces in front of its background."""
    tall = 100 * height / width
    background = draw_background(scene.background, rng, hue=scene.hue, height=tall)
    figure = _place(scene, rng, height=tall)
    for number in range(count):
        lift = 6 * abs(number - count / 2) / count
        body = f'{background}<g transform="translate(0 {lift:.2f})">{figure}</g>'
        yield _render_opaque(body, width, height)
