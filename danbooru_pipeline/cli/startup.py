"""Makes the commands begin sooner: each is imported when it is called, and some do without what they never use."""

import gc
import importlib
import keyword
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

#: What Arrow imports before its first scalar, if it is there, to know the types of values that nobody gives it here.
_UNUSED: Final = frozenset({"pandas", "dateutil"})
#: Objects that are made before unreachable ones are looked for; imports alone make ten times as many and drop none.
_OBJECTS: Final = 50_000


class Commands(Mapping[str, click.Command]):
    """Commands by name, in their order; the module of one is imported when somebody asks for it.

    Args:
        places: name -> the module of this room that has it.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> click.Command:
        place = self._places[name]
        try:
            module = importlib.import_module(f"{__package__}.{place}")
        except KeyError as error:  # which would say that there is no such command
            raise RuntimeError(f"{place} cannot be imported") from error
        word = name.replace("-", "_")
        found: click.Command = getattr(module, f"{word}_" if keyword.iskeyword(word) else word)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _NotInstalled:
    """Says that some packages are not installed: a finder of `sys.meta_path`, whose base class takes long to import."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG004 - what Python calls
        """Refuse those packages, and know nothing of other modules."""
        if fullname in _UNUSED:
            raise ModuleNotFoundError("this command does without it", name=fullname)


def begin_sooner() -> None:
    """Do without what takes as long as a search, in a command that prints lines.

    That is pandas, the threads that OpenBLAS starts for products of matrices, and looking for unreachable objects while
    modules are imported. Only for a process that ends with this command: once Arrow has not found pandas, it never
    will.
    """
    sys.meta_path.insert(0, _NotInstalled)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(_OBJECTS)
