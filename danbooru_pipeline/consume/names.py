"""Names that somebody typed, held against those that exist: what does not exist is one error that names close ones."""

import difflib
from collections.abc import Iterable, Sequence

from danbooru_pipeline.consume.errors import UnknownName


def require_names(wanted: Iterable[str], known: Sequence[str], *, what: str, of: str) -> None:
    """Stop when a name does not exist.

    Args:
        wanted: names that somebody typed.
        known: names that exist.
        what: what is named, like ``column``.
        of: what has them, like ``posts of danbooru2022``.

    Raises:
        UnknownName: with all names that do not exist, and close ones for each.
    """
    unknown = [name for name in dict.fromkeys(wanted) if name not in known]
    if unknown:
        named = ", ".join(_with_close_ones(name, known) for name in unknown)
        raise UnknownName(f"{of} has no {what} {named}; it has {_some(known)}")


def _with_close_ones(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3) or [other for other in known if name and name in other][:3]
    return f"{name!r} (did you mean {' or '.join(close)}?)" if close else repr(name)


def _some(known: Sequence[str], *, most: int = 12) -> str:
    shown = ", ".join(known[:most])
    return f"{shown} and {len(known) - most} more" if len(known) > most else shown or "none"
