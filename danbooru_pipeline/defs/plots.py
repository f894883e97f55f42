"""Plots for the UI: the bar charts of the release's page, as pictures inside Markdown."""

import base64
from collections.abc import Mapping

import dagster as dg

from danbooru_pipeline.release.documents.bar_charts import horizontal_bars
from danbooru_pipeline.release.documents.statistics import Bar

# The page has a style sheet; a picture brings its own, readable on the light and on the dark theme.
_STYLE = "<style>text{font:12px sans-serif;fill:#667}rect{fill:#4f86c6}.value{fill:#889}</style>"


def plot(title: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """Counts as bars, the largest first."""
    bars = [Bar(name, count) for name, count in sorted(counts.items(), key=lambda item: -item[1])]
    svg = horizontal_bars(title, bars).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="380" ', 1)
    svg = svg.replace(">", f">{_STYLE}", 1)
    return dg.MetadataValue.md(f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")
