"""Makes a command begin sooner that prints lines and needs no frames."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG002 - of the base
        """Refuse pandas, and know nothing of other modules."""
        if fullname == "pandas":
            raise ModuleNotFoundError("this command does without pandas", name=fullname)


def do_without_pandas() -> None:
    """Keep Arrow from importing pandas, which it does before its first scalar and which takes as long as a search.

    Only for a process that ends with this command: once Arrow has not found pandas, it never will.
    """
    sys.meta_path.insert(0, _NoPandas())
