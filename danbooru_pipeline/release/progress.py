"""How long work says how far it is: one callback, called often, that must return fast."""

from collections.abc import Callable

#: ``progress(what, done, total)``, for instance ``("original", 17, 1000)`` buckets.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int, /) -> None:
    """Say nothing."""
