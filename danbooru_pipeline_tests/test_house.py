"""The rules of the house, held against the source itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import danbooru_pipeline
from danbooru_pipeline.outcomes import REASONS, Reason

PACKAGE = Path(danbooru_pipeline.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PURE = [
    *PACKAGE.glob("images/*.py"),
    *PACKAGE.glob("posts/*.py"),
    PACKAGE / "layout.py",
    PACKAGE / "ledger.py",
    PACKAGE / "release/manifest.py",
    PACKAGE / "release/reconcile.py",
]


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


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_modules_do_no_network(path: Path) -> None:
    """Images, posts, paths, plans and manifests import nothing that opens a connection."""
    forbidden = {"httpx", "socket", "urllib.request", "requests"}
    assert forbidden.isdisjoint(imported(path))
    assert not any(
        module.startswith(("danbooru_pipeline.fetch", "danbooru_pipeline.sources")) for module in imported(path)
    )


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
