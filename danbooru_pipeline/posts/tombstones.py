"""``removed.txt`` of a release: which posts are gone, and nothing about why.

Needs the standard library alone, since `verify` compares it.
"""

from collections.abc import Iterable


def tombstone_lines(ids: Iterable[int]) -> bytes:
    """The file of some ids: one per line, sorted."""
    return "".join(f"{id_}\n" for id_ in sorted(ids)).encode()
