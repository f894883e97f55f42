"""The README of an export: what was chosen, from which release, in which form, and under which terms.

It has no time and no path in it, so the same export of the same release has the same bytes.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final

from danbooru_pipeline.consume.select import Selection
from danbooru_pipeline.release.release_json import Release

#: How every README of an export begins, by which an earlier one is recognised.
TITLE: Final = "# Export of "
_FLAGS: Final = {
    "all_tags": "all", "any_tags": "any", "no_tags": "none", "ratings": "rating", "types": "type",
}  # fmt: skip


def readme(
    form: str,
    about: Release,
    selection: Selection,
    *,
    options: Any,
    limit: int | None,
    written: int,
    left_out: Counter[str],
    notes: Sequence[str] = (),
) -> str:
    """The text of the README."""
    contact = about.options.get("contact") or "the publisher of the release"
    lines = [
        f"{TITLE}{about.name} {about.version}: {form}",
        "",
        f"{written:,} posts, chosen from {about.counts.posts:,} by: {selection_text(selection, limit=limit)}.",
        f"Form: `{form}`{_options_text(options)}.",
        f"Release: {about.name} {about.version}, up to id {about.last_id}; made by {about.tool.name}.",
        f"SHA-256 of its SHA256SUMS: `{about.sha256sums_sha256}`.",
        *notes,
        *_left_out_text(left_out),
        "",
        "## Terms",
        "",
        "The works belong to their artists; neither the release nor this export licenses any image. The metadata was",
        "written by the users of the site, under its terms. Ratings are chosen by uploaders and are sometimes wrong.",
        f"To have a post removed, write to {contact} with its id; posts that the release has removed since must be",
        "removed from this copy, too. See NOTICE.md, README.md and CITATION.cff of the release.",
        "",
    ]
    return "\n".join(lines)


def selection_text(selection: Selection, *, limit: int | None = None) -> str:
    """A selection as the options of the command line, without those that restrict nothing."""
    words = [f"--tree {selection.tree}" if selection.with_file else "with or without a file"]
    for each in fields(selection):
        value = getattr(selection, each.name)
        if each.name in {"tree", "with_file"} or value == each.default:
            continue
        flag = _FLAGS.get(each.name, each.name.replace("_", "-"))
        if each.name == "search":
            words.append(shlex.quote(value))
        elif isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag} {','.join(value) if isinstance(value, tuple) else value}")
    return " ".join([*words, *([] if limit is None else [f"--limit {limit}"])])


def _options_text(options: Any) -> str:
    said = [f"{name} = {_value_text(value)}" for name, value in _flat(options) if value not in (None, (), "")]
    return f" ({'; '.join(said)})" if said else ""


def _flat(options: Any) -> Iterator[tuple[str, Any]]:
    for each in fields(options):
        value = getattr(options, each.name)
        if is_dataclass(value):
            yield from _flat(value)
        else:
            yield each.name, value


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value).strip()


def _left_out_text(left_out: Counter[str]) -> list[str]:
    if not left_out:
        return []
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
    return [f"Left out: {left_out.total():,} posts ({reasons}); `left_out.csv` names them."]
