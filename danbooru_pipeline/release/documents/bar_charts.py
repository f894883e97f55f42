"""Bar charts as inline SVG: drawn from numbers, scaled by their viewBox, coloured by the page's style sheet.

Every bar carries its number as text, so that a chart is as useful to a reader who cannot see it.
"""

from collections.abc import Sequence
from html import escape

from danbooru_pipeline.release.documents.statistics import Bar

# Narrow enough for 12px text to stay readable when a phone shows the full width.
_ROW, _LABEL, _VALUE, _WIDTH = 22, 150, 66, 380
_COLUMN_HEIGHT = 180


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def horizontal_bars(title: str, bars: Sequence[Bar], *, note: Sequence[str] = ()) -> str:
    """A chart with one horizontal bar per row; `note` replaces the numbers at their ends."""
    largest = max((bar.count for bar in bars), default=0) or 1
    height = len(bars) * _ROW + 4
    room = _WIDTH - _LABEL - _VALUE
    parts = []
    for number, bar in enumerate(bars):
        y = number * _ROW
        width = max(1.0, bar.count / largest * room) if bar.count else 0
        label = note[number] if note else f"{bar.count:,}"
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(_shorten(bar.name, 20))}</text>'
            f'<rect x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="{_ROW - 7}" rx="2">'
            f"<title>{escape(bar.name)}: {bar.count:,}</title></rect>"
            f'<text class="value" x="{_LABEL + width + 6:.1f}" y="{y + 15}">{escape(label)}</text>'
        )
    return _svg(title, height, parts)


def vertical_bars(title: str, bars: Sequence[Bar]) -> str:
    """A chart with one vertical bar per column; labels that would overlap are omitted, tooltips keep every number."""
    largest = max((bar.count for bar in bars), default=0) or 1
    step = _WIDTH / max(1, len(bars))
    every = max(1, -(-44 // max(1, int(step))))
    parts = []
    for number, bar in enumerate(bars):
        x = number * step
        tall = max(1.0, bar.count / largest * (_COLUMN_HEIGHT - 44)) if bar.count else 0
        y = _COLUMN_HEIGHT - 20 - tall
        parts.append(
            f'<rect x="{x + step * 0.1:.1f}" y="{y:.1f}" width="{step * 0.8:.1f}" height="{tall:.1f}" rx="2">'
            f"<title>{escape(bar.name)}: {bar.count:,}</title></rect>"
        )
        if number % every == 0:
            at = f'x="{x + step / 2:.1f}" text-anchor="middle"'
            parts.append(f'<text {at} y="{_COLUMN_HEIGHT - 5}">{escape(bar.name)}</text>')
            parts.append(f'<text class="value" {at} y="{y - 5:.1f}">{_compact(bar.count)}</text>')
    return _svg(title, _COLUMN_HEIGHT, parts)


def _compact(count: int) -> str:
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
