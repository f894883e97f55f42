"""The rules of the house, held against the source itself."""

import ast
import graphlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import danbooru_pipeline
from danbooru_pipeline.outcomes import REASONS, Reason

PACKAGE = Path(danbooru_pipeline.__file__).parent
ROOT = PACKAGE.parent
TESTS = ROOT / "danbooru_pipeline_tests"
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = [
    *PACKAGE.glob("images/*.py"),
    *PACKAGE.glob("posts/*.py"),
    PACKAGE / "layout.py",
    PACKAGE / "store/ledger.py",
    PACKAGE / "store/plan.py",
    *PACKAGE.glob("release/manifest/*.py"),
]


#: The rooms from the top floor down. A room imports only from floors below its own.
FLOORS: tuple[tuple[str, ...], ...] = (
    # The public face hands out names of rooms below when they are asked for; no room imports it.
    ("__main__", "__init__"),
    ("cli",),
    ("demo",),
    ("definitions", "build"),
    ("defs",),
    ("operate",),
    ("curate",),
    ("publish",),
    ("consume",),
    ("release",),
    ("search",),
    ("store",),
    ("context",),
    ("sources",),
    ("fetch",),
    ("images",),
    ("posts",),
    ("io",),
    ("layout", "settings", "progress", "stop"),
    ("errors", "lazy", "outcomes", "release_paths", "version", "years"),
)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_keeps_the_rules(path: Path) -> None:
    """Only defs/ imports dagster, waiting is done in fetch/ alone, and no module grows past 400 lines."""
    name = str(path.relative_to(PACKAGE))
    text = path.read_text()
    if not name.startswith("defs/") and name != "definitions.py":
        assert not any(module.split(".")[0] == "dagster" for module in imported(path))
    if not name.startswith("demo/"):
        assert not re.search(r"\bsleep\(", text)
    assert text.count("\n") <= 400
    assert ast.get_docstring(ast.parse(text)), "a module's docstring is its contract"


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(paths: Iterable[Path]) -> dict[str, set[str]]:
    """Module -> modules of this package that it imports, at its top or later. A package means its ``__init__``."""
    files = {module_of(path): path for path in paths}
    edges: dict[str, set[str]] = {}
    for module, path in files.items():
        edges[module] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                candidates = (name, f"{name}.__init__", name.rpartition(".")[0], f"{name.rpartition('.')[0]}.__init__")
                edges[module].update([found for found in candidates if found in files][:1])
    return edges


def room_of(module: str) -> str:
    """The folder, or the file, that a module is in at the top of the package."""
    return module.split(".")[1]


def climbing(edges: Mapping[str, set[str]]) -> list[str]:
    """Imports from a room of something that is not on a floor below it."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    return [
        f"{module} imports {target}"
        for module, targets in edges.items()
        for target in sorted(targets)
        if room_of(module) != room_of(target) and floor[room_of(target)] <= floor[room_of(module)]
    ]


def circle(edges: Mapping[str, set[str]]) -> list[str] | None:
    """Modules that import each other in a circle; None when there is none."""
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return None


def between_neighbours(edges: Mapping[str, set[str]], package: str) -> dict[str, set[str]]:
    """The same arrows, between what lies side by side in a package: its folders and its loose files."""
    depth = package.count(".") + 1
    found: dict[str, set[str]] = {}
    for module, targets in edges.items():
        for target in targets:
            if module.startswith(f"{package}.") and target.startswith(f"{package}."):
                mine, theirs = (".".join(name.split(".")[: depth + 1]) for name in (module, target))
                if mine != theirs and not mine.endswith("__init__"):
                    found.setdefault(mine, set()).add(theirs)
    return found


def test_no_import_climbs_and_none_goes_in_a_circle() -> None:
    """Rooms import only rooms below them, and no files or folders import each other, lazily or not."""
    edges = imports_of(MODULES)
    assert climbing(edges) == []
    assert circle(edges) is None
    for package in sorted({module.rpartition(".")[0] for module in edges}):
        assert circle(between_neighbours(edges, package)) is None


def test_a_circle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule above sees a circle, a lazy one too, and an import from a lower room to a higher one."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    for name, text in {
        "io/a": "def f():\n    from danbooru_pipeline.io import b\n",
        "io/b": "from danbooru_pipeline.io.a import f\nfrom danbooru_pipeline.release.c import g\n",
        "release/c": "g = 1\n",
    }.items():
        path = tmp_path / f"danbooru_pipeline/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    edges = imports_of(sorted(tmp_path.rglob("*.py")))
    assert set(circle(edges) or ()) == {"danbooru_pipeline.io.a", "danbooru_pipeline.io.b"}
    assert climbing(edges) == ["danbooru_pipeline.io.b imports danbooru_pipeline.release.c"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_are_short(path: Path) -> None:
    """No function is longer than 40 lines, its docstring included."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 40] == []


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_do_no_network(path: Path) -> None:
    """Images, posts, paths, plans and manifests import nothing that opens a connection."""
    forbidden = {"httpx", "socket", "urllib.request", "requests"}
    assert forbidden.isdisjoint(imported(path))
    assert not any(
        module.startswith(("danbooru_pipeline.fetch", "danbooru_pipeline.sources")) for module in imported(path)
    )


def test_what_tests_share_is_in_support() -> None:
    """No test module imports another one or a conftest, not even in a program that it writes as text."""
    shared = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in TESTS.rglob("*.py")
        for name in re.findall(r"(?:from|import) danbooru_pipeline_tests\.?([\w.]*)", path.read_text())
    ]
    assert [line for line in shared if " imports support" not in line] == []


def test_every_reason_is_explained() -> None:
    """Each reason has one status and one sentence."""
    assert set(REASONS) == set(Reason)
    assert all(text.endswith(".") for _, text in REASONS.values())


def test_lock_names_no_host() -> None:
    """The lock file pins every package by hash and says nothing of where it came from."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index" not in lock
    pinned = re.findall(r"^[a-z0-9_.\[\]-]+==", lock, flags=re.MULTILINE)
    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.name)
def test_benchmark_finds_what_it_measures(path: Path) -> None:
    """What a benchmark imports from this project exists, since benchmarks are run too seldom to notice a rename."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("danbooru_pipeline"):
            found = importlib.import_module(str(node.module))
            missing = [alias.name for alias in node.names if not hasattr(found, alias.name)]
            assert not [name for name in missing if importlib.util.find_spec(f"{node.module}.{name}") is None]
