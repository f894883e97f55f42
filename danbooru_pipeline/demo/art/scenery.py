"""Backgrounds, landscapes, patterns and comic pages as SVG fragments, 100 units wide. No figures and no files."""

import math
from collections.abc import Callable
from random import Random

from danbooru_pipeline.demo.art.figures import INK, ellipse, hsl, path, shade

_SKIES = {"day": ("#6fb4ee", "#d9f0fb"), "sunset": ("#5b4a8a", "#f9a56b"), "night": ("#141c3f", "#43508c")}


def rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    """One rectangle without outline."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def gradient(top: str, bottom: str, height: float) -> str:
    """A vertical gradient over the whole field."""
    return (
        f'<defs><linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="{top}"/>'
        f'<stop offset="1" stop-color="{bottom}"/></linearGradient></defs>' + rect(0, 0, 100, height, "url(#sky)")
    )


def shape(kind: str, x: float, y: float, size: float, fill: str) -> str:
    """One small ornament around a point."""
    corners = {"star_(symbol)": 10, "diamond_(shape)": 4, "flower": 10}.get(kind)
    if corners is None:
        return (
            f'<path transform="translate({x:.1f} {y:.1f}) scale({size / 10:.2f})" fill="{fill}" '
            'd="M0 8 C-14 -2 -8 -12 0 -5 C8 -12 14 -2 0 8 Z"/>'
        )
    if kind == "flower":
        angles = [2 * math.pi * i / 5 for i in range(5)]
        petals = (
            ellipse(x + math.cos(a) * size / 2, y + math.sin(a) * size / 2, size / 2.3, size / 2.3, fill)
            for a in angles
        )
        return "".join(petals) + ellipse(x, y, size / 3, size / 3, "#fbe08a")
    points = []
    for i in range(corners):
        radius = size * (0.45 if corners == 10 and i % 2 else 1)
        angle = 2 * math.pi * i / corners - math.pi / 2
        points.append(f"{x + math.cos(angle) * radius:.1f},{y + math.sin(angle) * radius:.1f}")
    return f'<polygon points="{" ".join(points)}" fill="{fill}"/>'


def _dots(colour: str, *, height: float, step: float, radius: float) -> str:
    # One path, since SVG's own <pattern> costs ten times as much to render.
    rows = range(int(height / step) + 2)
    centres = ((c * step + (r % 2) * step / 2, r * step) for r in rows for c in range(-1, int(100 / step) + 2))
    arcs = f"a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0 {-2 * radius} 0"
    return f'<path d="{"".join(f"M{x - radius:.1f} {y:.1f}{arcs}" for x, y in centres)}" fill="{colour}"/>'


def _stripes(colour: str, *, height: float, slant: float) -> str:
    lean = slant * height
    stripes = (f"M{x} 0h6l{-lean:.1f} {height:.1f}h-6Z" for x in range(0, int(100 + lean) + 12, 12))
    return f'<path d="{"".join(stripes)}" fill="{colour}"/>'


def _sunburst(light: str, height: float) -> str:
    rays = []
    for i in range(0, 24, 2):
        a, b = 2 * math.pi * i / 24, 2 * math.pi * (i + 1) / 24
        far = 100 + height
        rays.append(
            f'<path d="M50 {height / 2:.1f} L{50 + far * math.cos(a):.1f} {height / 2 + far * math.sin(a):.1f} '
            f'L{50 + far * math.cos(b):.1f} {height / 2 + far * math.sin(b):.1f} Z" fill="{light}"/>'
        )
    return "".join(rays)


def draw_cloud(x: float, y: float, size: float) -> str:
    """A white cloud."""
    puffs = ((-1.1, 0.1, 0.7), (-0.4, -0.3, 0.9), (0.5, -0.2, 0.8), (1.2, 0.15, 0.6))
    body = "".join(
        f'<circle cx="{x + dx * size:.1f}" cy="{y + dy * size:.1f}" r="{r * size:.1f}"/>' for dx, dy, r in puffs
    )
    return f'<g fill="#ffffff" opacity="0.85">{body}</g>'


def draw_background(kind: str, rng: Random, *, hue: float, height: float) -> str:
    """Draw the background of a figure."""
    soft, light = hsl(hue, 0.5, 0.85), hsl(hue + 0.06, 0.55, 0.93)
    base = rect(0, 0, 100, height, soft)
    dots = [(rng.uniform(0, 100), rng.uniform(0, height), rng.uniform(0.6, 2.6)) for _ in range(36)]
    night = gradient(hsl(hue * 0.2 + 0.6, 0.5, 0.2), hsl(hue * 0.2 + 0.7, 0.5, 0.45), height)
    plain = rect(0, 0, 100, height, rng.choice(("#ffffff", "#f7f5f0", soft)))
    slant = rng.choice((0.0, 0.6, 1.0))
    painters: dict[str, Callable[[], str]] = {
        "gradient_background": lambda: gradient(hsl(hue, 0.6, 0.72), hsl(hue + 0.16, 0.65, 0.9), height),
        "dotted_background": lambda: base + _dots(light, height=height, step=9, radius=2.2),
        "striped_background": lambda: base + _stripes(light, height=height, slant=slant),
        "starry_background": lambda: night + "".join(shape("star_(symbol)", x, y, r, "#fdf3c4") for x, y, r in dots),
        "sunburst_background": lambda: base + _sunburst(light, height),
        "heart_background": lambda: base + "".join(shape("heart", x, y, r * 2, light) for x, y, r in dots),
        "simple_background": lambda: plain,
        "sky": lambda: (
            gradient("#7fbdf0", "#e5f5fc", height) + "".join(draw_cloud(x, y, 2 + r * 2) for x, y, r in dots[:5])
        ),
    }
    return painters[kind]()


def _ridge(rng: Random, *, y: float, height: float, rough: float, fill: str) -> str:
    points = [f"0,{height:.1f}"]
    points += [f"{x},{y + rng.uniform(-rough, rough):.1f}" for x in range(0, 118, max(3, int(14 - rough / 2)))]
    return f'<polygon points="{" ".join(points)} 118,{height:.1f}" fill="{fill}"/>'


def _mountain(rng: Random, height: float, dark: float) -> str:
    layers = ((0.55, 10, 0.62), (0.68, 7, 0.48), (0.82, 5, 0.34))
    return "".join(
        _ridge(rng, y=height * y, height=height, rough=rough, fill=hsl(0.58 + y / 9, 0.3, light * dark))
        for y, rough, light in layers
    )


def _ocean(rng: Random, height: float, dark: float) -> str:
    line = height * 0.6
    waves = "".join(
        f'<path d="M{rng.uniform(0, 85):.1f} {rng.uniform(line + 2, height):.1f} q4 -2 8 0 t8 0" fill="none" '
        'stroke="#ffffff" stroke-opacity="0.6" stroke-width="0.8"/>'
        for _ in range(16)
    )
    island = path(
        f"M58 {line:.1f} C64 {line - 10:.1f} 76 {line - 14:.1f} 88 {line:.1f} Z", hsl(0.36, 0.3, 0.45 * dark), width=0.4
    )
    return rect(0, line, 100, height - line, hsl(0.55, 0.5, 0.52 * dark)) + island + waves


def _city(rng: Random, height: float, dark: float) -> str:
    parts = []
    for layer, light in enumerate((0.55, 0.38)):
        x = -2.0
        while x < 100:
            width, tall = rng.uniform(8, 16), height * rng.uniform(0.25, 0.62 - 0.15 * layer)
            parts.append(rect(x, height - tall, width, tall, hsl(0.65, 0.22, light * dark)))
            if layer:
                lit = [(i, j) for i in range(int(width / 3)) for j in range(int(tall / 5)) if rng.random() < 0.5]
                parts += [rect(x + 1 + i * 3, height - tall + 2 + j * 5, 1.5, 2.2, "#fbe6a2") for i, j in lit[:24]]
            x += width
    return "".join(parts)


def _forest(rng: Random, height: float, dark: float) -> str:
    parts = [_ridge(rng, y=height * 0.7, height=height, rough=3, fill=hsl(0.33, 0.3, 0.5 * dark))]
    for i in range(18):
        x, y = rng.uniform(0, 100), height * (0.68 + 0.017 * i)
        size, green = rng.uniform(6, 10) + i / 4, hsl(rng.uniform(0.3, 0.42), 0.35, rng.uniform(0.3, 0.5) * dark)
        parts.append(rect(x - 0.7, y, 1.4, size * 0.5, "#6a4a3a"))
        parts += [
            f'<path d="M{x:.1f} {y - size * up:.1f} l{size * 0.5:.1f} {size:.1f} h{-size:.1f} Z" fill="{green}"/>'
            for up in (1.6, 1.1)
        ]
    return "".join(parts)


def _field(rng: Random, height: float, dark: float) -> str:
    parts = [
        _ridge(rng, y=height * y, height=height, rough=2, fill=hsl(0.25, 0.45, (0.75 - y / 2.4) * dark))
        for y in (0.6, 0.75)
    ]
    for _ in range(26):
        y = rng.uniform(height * 0.72, height * 0.98)
        parts.append(
            shape("flower", rng.uniform(2, 98), y, 1 + y / height, hsl(rng.choice((0.95, 0.05, 0.8, 0.13)), 0.75, 0.75))
        )
    return "".join(parts)


_LANDS: dict[str, Callable[[Random, float, float], str]] = {
    "mountain": _mountain,
    "ocean": _ocean,
    "city": _city,
    "forest": _forest,
    "field": _field,
}


def draw_landscape(what: str, rng: Random, *, time: str, height: float) -> str:
    """Draw a landscape with sky, sun or moon, and land."""
    parts = [gradient(*_SKIES[time], height)]
    x, y = rng.uniform(15, 85), height * rng.uniform(0.12, 0.42)
    if time == "night":
        stars = ((rng.uniform(0, 100), rng.uniform(0, height * 0.7), rng.uniform(0.2, 0.6)) for _ in range(50))
        parts += [ellipse(round(a, 1), round(b, 1), round(r, 2), round(r, 2), "#fff8d8") for a, b, r in stars]
        parts += [ellipse(x, y, 8, 8, "#fbf3c8"), ellipse(x + 3, y - 2, 1.5, 1.5, "#e6dcae")]
    else:
        glow = "#fff6c9" if time == "day" else "#ffd9a0"
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="15" fill="{glow}" opacity="0.4"/>', ellipse(x, y, 9, 9, glow)]
        parts += [draw_cloud(rng.uniform(5, 95), height * rng.uniform(0.1, 0.45), rng.uniform(3, 6)) for _ in range(4)]
    return "".join(parts) + _LANDS[what](rng, height, {"day": 1.0, "sunset": 0.75, "night": 0.5}[time])


def draw_pattern(what: str, rng: Random, *, hue: float, height: float) -> str:
    """Draw rows of ornaments."""
    step = rng.choice((12, 16, 20))
    colours = [hsl(hue + d, 0.55, 0.68) for d in (0, 0.08, 0.5)]
    parts = [rect(0, 0, 100, height, hsl(hue, 0.5, 0.92))]
    for row in range(int(height / step) + 2):
        for column in range(int(100 / step) + 2):
            x, y = column * step - (row % 2) * step / 2, row * step
            parts.append(shape(what, x, y, step * 0.36, colours[(row + column) % 3]))
    return "".join(parts)


def _bubble(x: float, y: float, rng: Random) -> str:
    lines = "".join(
        f'<path d="M{x - 5 + i * 5:.1f} {y - 5:.1f} v{rng.uniform(5, 10):.1f}" stroke="#222222" stroke-width="1.4"/>'
        for i in range(3)
    )
    return ellipse(x, y, 11, 9, "#ffffff", ink="#222222", width=0.9) + lines


def _speed_lines(x: float, y: float, width: float, height: float, rng: Random) -> str:
    cx, cy = x + width / 2, y + height / 2
    lines = []
    for _ in range(30):
        angle = rng.uniform(0, 2 * math.pi)
        c, s = math.cos(angle), math.sin(angle)
        lines.append(f"M{cx + c * 22:.1f} {cy + s * 22:.1f} L{cx + c * 90:.1f} {cy + s * 90:.1f}")
    return f'<path d="{" ".join(lines)}" stroke="#333333" stroke-width="0.5" fill="none"/>'


def draw_comic(figures: list[str], rng: Random, *, height: float) -> str:
    """Draw a page of three or four panels, each with one of the figures (drawn on 100 × 100) and a speech bubble."""
    rows = [height * 0.36, height * 0.64 - 4] if height < 150 else [height * 0.3, height * 0.3, height * 0.4 - 4]
    parts, y, number = [rect(0, 0, 100, height, "#ffffff")], 2.0, 0
    tones = ("", _dots("#999999", height=height, step=4, radius=0.9), rect(0, 0, 100, height, "#d6d6d6"))
    for row, tall in enumerate(rows):
        split = rng.uniform(38, 60) if row % 2 else 0
        for x, width in ((2.0, split - 3), (split + 2 if split else 2.0, 96 - split)):
            if width <= 0:
                continue
            number += 1
            inner = _speed_lines(x, y, width, tall, rng) if rng.random() < 0.4 else tones[number % 3]
            # The face is at (50, 48) of its field; put it in the centre of the panel, or right of the bubble.
            scale = tall / rng.uniform(62, 95)
            middle = x + (width / 2 if width < 60 else rng.uniform(45, 75))
            moved = f"translate({middle - 50 * scale:.1f} {y + tall * 0.52 - 48 * scale:.1f}) scale({scale:.2f})"
            inner += f'<g transform="{moved}">{figures[number % len(figures)]}</g>' + _bubble(x + 13, y + 12, rng)
            box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{tall - 2:.1f}"'
            parts.append(f'<clipPath id="p{number}"><rect {box}/></clipPath><g clip-path="url(#p{number})">{inner}</g>')
            parts.append(f'<rect {box} fill="none" stroke="{shade(INK, 0.4)}" stroke-width="1.2"/>')
        y += tall
    return "".join(parts)
