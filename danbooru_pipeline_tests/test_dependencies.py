"""pyproject.toml declares what the code imports: a package that only comes with another may go with it."""

import ast
import importlib.metadata
import importlib.util
import itertools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import danbooru_pipeline

PACKAGE = Path(danbooru_pipeline.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
#: Declared for what they bring, and imported nowhere in the package.
NOT_IMPORTED = {
    "dagster-webserver",  # a program
    "pyvips-binary",  # the library that pyvips loads
}


def normal(name: str) -> str:
    """The name of a distribution as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> Iterator[str]:
    """Every module that the package imports from elsewhere; for ``from a import b`` that is ``a``, and ``a.b``."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def owners() -> dict[str, set[str]]:
    """Top-level module -> distributions that have files in it."""
    return {top: {normal(name) for name in names} for top, names in importlib.metadata.packages_distributions().items()}


@cache
def files_of(distribution: str) -> frozenset[Path]:
    """The files that a distribution has installed."""
    return frozenset(Path(str(file.locate())).resolve() for file in importlib.metadata.files(distribution) or [])


def distribution_of(module: str) -> str:
    """The distribution that a module comes from; modules of a namespace like ``google`` are told by their files."""
    top = module.split(".", maxsplit=1)[0]
    candidates = owners()[top]
    if len(candidates) == 1:
        return next(iter(candidates))
    while True:
        try:
            spec = importlib.util.find_spec(module)
        except ModuleNotFoundError:  # the last part is a name in a module
            spec = None
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin).resolve()
            return next(name for name in candidates if origin in files_of(name))
        module = module.rpartition(".")[0]


def test_imported_packages_are_declared_and_declared_ones_are_imported() -> None:
    """What the package imports is its dependency, or that of the extras `faces` and `hub`; none is left over."""
    elsewhere = {name for name in imported() if name.split(".")[0] not in {*sys.stdlib_module_names, PACKAGE.name}}
    declared = distributions(PROJECT["dependencies"])
    found = {distribution_of(name) for name in elsewhere}
    extras = PROJECT["optional-dependencies"]
    assert found - declared == distributions([*extras["faces"], *extras["hub"]])
    assert declared - found - NOT_IMPORTED == set()


def distributions(lines: Iterable[str]) -> set[str]:
    """What these lines of a list of dependencies name."""
    return {normal(re.split(r"[<>=\[; ]", line)[0]) for line in lines}


def test_every_dependency_has_its_reason() -> None:
    """Each line of the dependencies stands below a comment that says why it is there."""
    text = (PACKAGE.parent / "pyproject.toml").read_text()
    block = text.split("\ndependencies = [\n")[1].split("\n]\n")[0].splitlines()
    stripped = [line.strip() for line in block]
    reasons = [before.startswith("#") for before, line in itertools.pairwise(stripped) if line.startswith('"')]
    assert len(reasons) == len(PROJECT["dependencies"])
    assert all(reasons)
