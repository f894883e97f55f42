"""Public names of a room whose modules take long to import: each module is imported when a name of it is used.

Type checkers read the imports beside it, which say the same; `__all__` is what both must have.
"""

import importlib
import sys
from collections.abc import Callable, Mapping


def names_of(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """What a package's ``__getattr__`` is.

    Args:
        package: its name.
        places: module of the package -> its public names, with blanks between them. None may be that of a module, which
            Python would hand out instead.
    """
    modules = {name: module for module, names in places.items() for name in names.split()}

    def find(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, value)  # not asked for again
        return value

    return find
