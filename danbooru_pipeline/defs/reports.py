"""Reports in the UI: lines of Markdown as metadata. Nothing is computed here."""

from collections.abc import Iterable, Sequence
from typing import Final

import dagster as dg

#: More would slow the event log down; the files on disk have the rest.
MAX_LINES: Final = 200


def bullets(lines: Iterable[str]) -> list[str]:
    """The same lines as a list of Markdown."""
    return [f"- {line}" for line in lines]


def show(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The first lines, and how many there are beyond."""
    more = [f"\n… and {len(lines) - MAX_LINES:,} more"] if len(lines) > MAX_LINES else []
    return dg.MetadataValue.md("\n".join([*lines[:MAX_LINES], *more]) or "nothing")
