"""Characters, creatures and things as SVG fragments on a 100 × 100 field. No backgrounds and no files."""

import colorsys
from collections.abc import Callable
from random import Random

from danbooru_pipeline.demo.art.scenes import EYES, HAIR, OUTFITS, Girl

INK = "#3b2f3a"


def hsl(hue: float, saturation: float, lightness: float) -> str:
    """A colour as ``#rrggbb``; the hue wraps around."""
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def shade(colour: str, factor: float) -> str:
    """A darker (factor below 1) or lighter (above 1) shade of ``#rrggbb``."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if factor <= 1:
        mixed = (round(part * factor) for part in parts)
    else:
        mixed = (round(part + (255 - part) * (factor - 1)) for part in parts)
    return "#" + "".join(f"{part:02x}" for part in mixed)


def path(d: str, fill: str, *, ink: str = INK, width: float = 1.1) -> str:
    """One outlined shape."""
    return (
        f'<path d="{d}" fill="{fill}" stroke="{ink}" stroke-width="{width}" '
        'stroke-linejoin="round" stroke-linecap="round"/>'
    )


def ellipse(x: float, y: float, rx: float, ry: float, fill: str, *, ink: str = "none", width: float = 1.1) -> str:
    """One ellipse."""
    return f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="{fill}" stroke="{ink}" stroke-width="{width}"/>'


def _back_hair(style: str, hair: str) -> str:
    dark = shade(hair, 0.82)
    shapes = {
        "long_hair": path("M27 40 C18 60 20 84 14 100 L86 100 C80 84 82 60 73 40 Z", dark),
        "short_hair": path("M25 40 C20 56 26 68 34 70 L66 70 C74 68 80 56 75 40 Z", dark),
        "bob_cut": path("M24 38 C18 58 22 70 27 74 L73 74 C78 70 82 58 76 38 Z", dark),
        "ponytail": path("M62 18 C92 10 100 48 84 82 C84 62 78 44 64 34 Z", dark)
        + path("M26 40 C22 56 28 66 36 68 L64 68 C72 66 78 56 74 40 Z", dark),
        "twintails": path("M27 30 C4 26 2 62 8 92 C16 84 24 62 31 44 Z", dark)
        + path("M73 30 C96 26 98 62 92 92 C84 84 76 62 69 44 Z", dark)
        + path("M26 40 C24 54 30 64 36 66 L64 66 C70 64 76 54 74 40 Z", dark),
    }
    return shapes[style]


def _body(outfit: str) -> str:
    collar = "#fbfaf6" if outfit != OUTFITS["white"] else "#8fb0dc"
    return (
        path("M43 66 L43 82 L57 82 L57 66 Z", "#f6d3c0")
        + path("M16 100 C18 86 32 80 42 77 L50 86 L58 77 C68 80 82 86 84 100 Z", outfit)
        + path("M42 77 L34 84 L45 94 L50 86 Z", collar)
        + path("M58 77 L66 84 L55 94 L50 86 Z", collar)
        + path("M46 88 L54 88 L57 97 L50 94 L43 97 Z", shade(outfit, 0.6))
    )


def _eye(x: float, colour: str, expression: str) -> str:
    if expression == "closed_eyes":
        return path(f"M{x - 5} 52 Q{x} 57 {x + 5} 52", "none", width=1.6)
    return (
        ellipse(x, 52, 5, 6.2, "#ffffff")
        + ellipse(x, 52.6, 4, 5.6, colour)
        + ellipse(x, 55.2, 2.9, 2.8, shade(colour, 1.45))
        + ellipse(x, 52, 1.8, 2.6, shade(colour, 0.35))
        + ellipse(x - 1.6, 49.6, 1.5, 1.7, "#ffffff")
        + path(f"M{x - 5.6} 49.5 Q{x} 43.6 {x + 5.6} 49.5", "none", width=1.9)
    )


def _face(girl: Girl) -> str:
    mouths = {
        "smile": path("M46 63.5 Q50 67 54 63.5", "none"),
        "open_mouth": path("M46.5 62.5 Q50 61.5 53.5 62.5 Q53 68 50 68 Q47 68 46.5 62.5 Z", "#d9626b", width=0.9),
        "closed_eyes": path("M46 63 Q50 67.5 54 63", "none"),
        "expressionless": path("M47.5 64 L52.5 64", "none"),
        "blush": path("M47 64 Q48.5 62.6 50 64 Q51.5 65.4 53 64", "none"),
    }
    cheek = 0.75 if girl.expression == "blush" else 0.35
    eye = EYES[girl.eyes]
    return (
        path("M28 44 C28 60 38 71 50 73 C62 71 72 60 72 44 C72 26 28 26 28 44 Z", "#fde4d3")
        + f'<g opacity="{cheek}">{ellipse(35, 60, 4.2, 2.4, "#f58a8a")}{ellipse(65, 60, 4.2, 2.4, "#f58a8a")}</g>'
        + _eye(40, eye, girl.expression)
        + _eye(60, eye, girl.expression)
        + path("M35 41 Q39 39 43 41", "none", width=0.9)
        + path("M57 41 Q61 39 65 41", "none", width=0.9)
        + mouths[girl.expression]
    )


def _bangs(hair: str, rng: Random) -> str:
    tips = [26, 33, 40, 47, 53, 60, 67, 74]
    d = f"M24 48 C18 10 82 10 76 48 L{tips[-1] - 1} 56 "
    for left, right in zip(tips[-2::-1], tips[:0:-1], strict=True):
        parting, tip = (left + right) / 2 + rng.uniform(-1, 1), rng.uniform(43, 49)
        d += f"Q{right - 1} 40 {parting:.1f} 34 Q{left + 1} 42 {left} {tip:.1f} "
    shine = f'<path d="M33 27 Q50 17 67 27 Q50 22 33 27 Z" fill="{shade(hair, 1.55)}" opacity="0.8"/>'
    return path(d + "L25 56 Z", hair) + shine


def _extra(extra: str, hair: str, accent: str) -> str:
    shapes = {
        "cat_ears": path("M28 28 L24 6 L44 19 Z", hair) + path("M72 28 L76 6 L56 19 Z", hair)
        + path("M30 23 L28 12 L38 19 Z", "#f7b5b5", width=0.5) + path("M70 23 L72 12 L62 19 Z", "#f7b5b5", width=0.5),
        "rabbit_ears": path("M36 22 C28 0 34 -6 39 -3 C44 0 44 12 44 20 Z", "#fbf7f4")
        + path("M64 22 C72 0 66 -6 61 -3 C56 0 56 12 56 20 Z", "#fbf7f4"),
        "hair_ribbon": path("M68 22 L84 12 L86 30 Z M68 22 L58 10 L54 24 Z", accent)
        + ellipse(68, 22, 3, 3, accent, ink=INK),
        "hair_flower": "".join(
            ellipse(71 + dx, 28 + dy, 3.6, 3.6, accent, ink=INK, width=0.6)
            for dx, dy in ((0, -5), (5, -1), (3, 5), (-3, 5), (-5, -1))
        ) + ellipse(71, 28, 2.6, 2.6, "#f8d757"),
        "witch_hat": path("M10 27 C30 16 70 16 90 27 C70 34 30 34 10 27 Z", shade(accent, 0.55))
        + path("M28 24 C36 10 44 -4 64 -8 C58 2 66 14 72 24 C58 29 40 29 28 24 Z", shade(accent, 0.6))
        + path("M28 24 C40 29 58 29 72 24 L70 19 C58 24 42 24 31 19 Z", shade(accent, 1.3)),
        "halo": '<ellipse cx="50" cy="6" rx="17" ry="4.5" fill="none" stroke="#f5cf4a" stroke-width="2.4"/>',
        "glasses": f'<g fill="#ffffff" fill-opacity="0.25" stroke="{shade(accent, 0.6)}" stroke-width="1.3">'
        '<circle cx="40" cy="53" r="8"/><circle cx="60" cy="53" r="8"/></g>',
    }  # fmt: skip
    return shapes.get(extra, "")


def draw_girl(girl: Girl, rng: Random, hue: float) -> str:
    """Draw a character, head and shoulders."""
    hair = HAIR[girl.hair]
    accent = hsl(hue + 0.45, 0.6, 0.62)
    parts = (_back_hair(girl.style, hair), _body(OUTFITS[girl.outfit]), _face(girl), _bangs(hair, rng))
    return "".join(parts) + _extra(girl.extra, hair, accent)


def _cat(main: str, accent: str) -> str:
    return (
        path("M74 84 C96 84 92 56 84 52 C90 64 82 74 70 74 Z", main)
        + path("M28 96 C22 70 36 58 50 58 C64 58 78 70 72 96 Z", main)
        + path("M24 40 L22 12 L40 24 C46 22 54 22 60 24 L78 12 L76 40 C80 58 66 66 50 66 C34 66 20 58 24 40 Z", main)
        + path("M27 28 L26 19 L34 25 Z M73 28 L74 19 L66 25 Z", "#f5b8b8", width=0.4)
        + ellipse(39, 44, 3.4, 4.6, INK) + ellipse(61, 44, 3.4, 4.6, INK) + ellipse(40, 42, 1.2, 1.5, "#fff")
        + ellipse(62, 42, 1.2, 1.5, "#fff") + path("M44 52 Q47 56 50 52 Q53 56 56 52", "none")
        + path("M20 48 L10 46 M20 52 L10 54 M80 48 L90 46 M80 52 L90 54", "none", width=0.8)
        + path("M38 65 Q50 71 62 65 L61 69 Q50 75 39 69 Z", accent)
        + ellipse(40, 94, 6, 4, shade(main, 1.4), ink=INK) + ellipse(60, 94, 6, 4, shade(main, 1.4), ink=INK)
    )  # fmt: skip


def _rabbit(main: str, accent: str) -> str:
    ear = "M38 38 C26 6 34 0 40 4 C46 8 46 26 46 36 Z"
    return (
        path(ear, main) + f'<g transform="translate(100 0) scale(-1 1)">{path(ear, main)}</g>'
        + path("M26 96 C20 74 34 62 50 62 C66 62 80 74 74 96 Z", main)
        + ellipse(50, 50, 25, 21, main, ink=INK) + ellipse(40, 48, 2.8, 3.8, INK) + ellipse(60, 48, 2.8, 3.8, INK)
        + ellipse(34, 56, 4, 2.4, "#f8a9b0") + ellipse(66, 56, 4, 2.4, "#f8a9b0")
        + path("M48 54 L52 54 L50 56.5 Z M50 56.5 L50 59", "#e98b93", width=0.8)
        + path("M50 74 L36 67 L36 81 Z M50 74 L64 67 L64 81 Z", accent)
    )  # fmt: skip


def _slime(main: str, accent: str) -> str:
    return (
        ellipse(50, 92, 40, 5, "#000000").replace("/>", ' opacity="0.15"/>')
        + path("M50 14 C58 34 90 44 90 72 C90 92 70 94 50 94 C30 94 10 92 10 72 C10 44 42 34 50 14 Z", main)
        + path("M24 62 C24 52 32 46 38 44", "none", ink="#ffffff", width=3.4)
        + ellipse(38, 68, 4, 5.5, INK) + ellipse(62, 68, 4, 5.5, INK) + ellipse(39.4, 66, 1.4, 1.8, "#fff")
        + ellipse(63.4, 66, 1.4, 1.8, "#fff") + path("M44 77 Q50 83 56 77 Z", accent)
    )  # fmt: skip


def _bird(main: str, accent: str) -> str:
    return (
        path("M20 66 L2 52 L8 74 Z", shade(main, 0.75))
        + path("M14 66 C14 36 44 22 62 26 C84 30 88 54 78 72 C66 92 24 92 14 66 Z", main)
        + path("M30 86 C40 92 64 88 72 76 C60 70 42 72 30 86 Z", shade(main, 1.6), width=0.6)
        + path("M30 58 C34 74 52 76 60 62 C50 62 40 56 30 58 Z", shade(main, 0.75))
        + path("M81 44 L97 50 L82 56 Z", accent) + ellipse(70, 44, 3.4, 4, INK) + ellipse(71, 42.6, 1.2, 1.4, "#fff")
        + path("M42 88 L40 98 M54 88 L55 98", "none", width=1.6)
    )  # fmt: skip


def _fish(main: str, accent: str) -> str:
    scales = "".join(path(f"M{x} {y} q4 4 0 8", "none", width=0.7) for x in (40, 50, 60) for y in (40, 50, 60))
    return (
        path("M76 52 L98 32 L92 52 L98 74 Z", accent) + path("M40 32 C48 14 64 16 66 30 Z", accent)
        + path("M6 54 C16 26 60 22 80 52 C60 84 16 82 6 54 Z", main) + scales
        + ellipse(22, 48, 5, 5.5, "#fff", ink=INK) + ellipse(21, 48, 2.4, 3, INK)
        + "".join(ellipse(8 + 6 * i, 30 - 9 * i, 2 + i, 2 + i, "#ffffff", ink=main) for i in range(3))
    )  # fmt: skip


def _onigiri(main: str, accent: str) -> str:
    return (
        path("M50 14 C60 14 92 70 90 82 C88 92 12 92 10 82 C8 70 40 14 50 14 Z", "#fdfcf7")
        + path("M32 66 L68 66 L70 90 L30 90 Z", "#39463c") + ellipse(50, 42, 5, 4, main)
        + ellipse(40, 56, 2.4, 3, INK) + ellipse(60, 56, 2.4, 3, INK) + path("M46 59 Q50 62 54 59", "none")
        + ellipse(33, 60, 3.4, 2, accent) + ellipse(67, 60, 3.4, 2, accent)
    )  # fmt: skip


def _cake(main: str, accent: str) -> str:
    return (
        ellipse(50, 88, 44, 8, "#f4f1ec", ink=INK) + path("M16 52 L16 84 C30 92 70 92 84 84 L84 52 Z", "#f3d9a4")
        + path("M16 64 C30 72 70 72 84 64 L84 72 C70 80 30 80 16 72 Z", main, width=0.7)
        + path("M14 50 C14 40 86 40 86 50 C86 62 80 64 77 56 C74 66 66 68 62 58 C58 70 48 70 44 59 C40 68 30 66 27 56 "
               "C23 64 14 60 14 50 Z", "#fffaf3")
        + path("M50 22 C60 20 62 34 50 44 C38 34 40 20 50 22 Z", "#dd4350")
        + path("M50 23 L44 18 M50 23 L50 15 M50 23 L57 18", "none", ink="#4f9a5c", width=1.8)
        + ellipse(28, 46, 3, 2.4, accent, ink=INK, width=0.6) + ellipse(72, 46, 3, 2.4, accent, ink=INK, width=0.6)
    )  # fmt: skip


def _teacup(main: str, accent: str) -> str:
    steam = "".join(
        path(f"M{x} 32 C{x - 7} 24 {x + 7} 20 {x} 10", "none", ink="#ffffff", width=2.2) for x in (38, 50, 62)
    )
    return (
        ellipse(48, 88, 42, 7, shade(main, 1.5), ink=INK)
        + path("M80 50 C102 46 100 76 74 74", "none", ink=main, width=5)
        + path("M14 40 C14 70 24 88 48 88 C72 88 82 70 82 40 Z", main) + ellipse(48, 40, 34, 8, "#fff", ink=INK)
        + ellipse(48, 41.5, 29, 5.6, "#b9763f") + path("M24 60 C36 66 60 66 72 60", "none", ink=accent, width=3) + steam
    )  # fmt: skip


def _mushroom(main: str, accent: str) -> str:
    spots = ((34, 32, 7), (56, 24, 6), (72, 40, 6), (48, 44, 5))
    return (
        path("M36 52 C38 70 30 84 32 92 C40 97 60 97 68 92 C70 84 62 70 64 52 Z", "#f9efdf")
        + path("M6 54 C8 24 30 10 50 10 C70 10 92 24 94 54 C70 62 30 62 6 54 Z", main)
        + "".join(ellipse(x, y, r, r * 0.85, "#fffdf5") for x, y, r in spots)
        + ellipse(43, 72, 2.2, 3, INK) + ellipse(57, 72, 2.2, 3, INK) + path("M47 78 Q50 81 53 78", "none", ink=accent)
    )  # fmt: skip


_FIGURES: dict[str, Callable[[str, str], str]] = {
    "cat": _cat,
    "rabbit": _rabbit,
    "slime": _slime,
    "bird": _bird,
    "fish": _fish,
    "onigiri": _onigiri,
    "cake": _cake,
    "teacup": _teacup,
    "mushroom": _mushroom,
}


def draw_figure(what: str, hue: float) -> str:
    """Draw a creature or a thing."""
    return _FIGURES[what](hsl(hue, 0.55, 0.72), hsl(hue + 0.5, 0.65, 0.6))
