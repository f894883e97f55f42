"""Bar charts as inline SVG: drawn from numbers, scaled by their viewBox, coloured by the page's style sheet.

Every bar carries its number as text, so that a chart is as useful to a reader who cannot see it.
"""

import math
from collections.abc import Sequence
from html import escape

from danbooru_pipeline.release.documents.statistics import Bar

# Narrow enough for 12px text to stay readable when a phone shows the full width.
_ROW, _LABEL, _VALUE, _WIDTH = 22, 150, 66, 380
_COLUMN_HEIGHT = 180
#: About the width of a digit at 12px; letters of labels are hardly wider.
_CHARACTER = 7


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def horizontal_bars(title: str, bars: Sequence[Bar], *, values: Sequence[str] = (), tips: Sequence[str] = ()) -> str:
    """A chart with one horizontal bar per row; `values` replace the numbers at their ends, `tips` those in tooltips."""
    largest = max((bar.count for bar in bars), default=0) or 1
    height = len(bars) * _ROW + 4
    room = _WIDTH - _LABEL - _VALUE
    parts = []
    for number, bar in enumerate(bars):
        y = number * _ROW
        width = max(1.0, bar.count / largest * room) if bar.count else 0
        label, tip = (texts[number] if texts else f"{bar.count:,}" for texts in (values, tips))
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(_shorten(bar.name, 20))}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 7}" rx="2">'
            f"<title>{escape(bar.name)}: {escape(tip)}</title></rect>"
            f'<text class="value" x="{_LABEL + width + 6:.1f}" y="{y + 15}">{escape(label)}</text>'
        )
    return _svg(title, height, parts)


def vertical_bars(title: str, bars: Sequence[Bar]) -> str:
    """A chart with one vertical bar per column; labels that would overlap are omitted, tooltips keep every number.

    The tallest bar always has its number.
    """
    largest = max((bar.count for bar in bars), default=0) or 1
    step = _WIDTH / max(1, len(bars))
    numbered = _spread([len(_compact(bar.count)) for bar in bars], step, first=_tallest(bars))
    named = _spread([len(bar.name) for bar in bars], step, first=0)
    parts = []
    for number, bar in enumerate(bars):
        x = number * step
        tall = max(1.0, bar.count / largest * (_COLUMN_HEIGHT - 44)) if bar.count else 0
        y = _COLUMN_HEIGHT - 20 - tall
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{tall:.1f}" rx="2">'
            f"<title>{escape(bar.name)}: {bar.count:,}</title></rect>"
        )
        if number in named:
            parts.append(_centred(bar.name, x + step / 2, _COLUMN_HEIGHT - 5))
        if number in numbered:
            parts.append(_centred(_compact(bar.count), x + step / 2, y - 5, kind="value"))
    return _svg(title, _COLUMN_HEIGHT, parts)


def _tallest(bars: Sequence[Bar]) -> int:
    return max(range(len(bars)), key=lambda number: bars[number].count, default=0)


def _spread(lengths: Sequence[int], step: float, *, first: int) -> frozenset[int]:
    """Which labels there is room for at regular distances, that of `first` among them."""
    # At both ends a label may stand half of its width from the middle of its bar.
    every = max(1, math.ceil((1.5 * _CHARACTER * max(lengths, default=0) + 6) / step))
    return frozenset(number for number in range(len(lengths)) if (number - first) % every == 0)


def _centred(text: str, x: float, y: float, *, kind: str = "") -> str:
    """A label at a bar's middle, or as near to it as the edge of the chart allows."""
    half = _CHARACTER * len(text) / 2
    place = min(max(x, half), _WIDTH - half)
    name = f'class="{kind}" ' if kind else ""
    return f'<text {name}x="{place:.1f}" text-anchor="middle" y="{y:.1f}">{escape(text)}</text>'


def _compact(count: int) -> str:
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
