"""Pages for people who come next lead to code that exists."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import danbooru_pipeline

PACKAGE = Path(danbooru_pipeline.__file__).parent
ROOT = PACKAGE.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "benchmarks/README.md"])
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
#: What every decision has to say.
HEADINGS = ["Context", "Decision", "Measured", "Costs", "Reconsider when"]


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Text and target of every link on a page that leads to a file of this repository."""
    without_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", without_code):
        if "://" not in target and not target.startswith("mailto:"):
            yield text, target


def names_in(path: Path) -> set[str]:
    """Every function, class, method and constant of a module, and what a package hands out of its modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and path.name == "__init__.py":
            names.update(alias.name for alias in node.names)
    return names


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A link's file exists, its anchor is a heading there, and a name in code is defined in the module it leads to."""
    for text, target in links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path), target
        code = re.fullmatch(r"`(\w+)`", text)
        if code and path.suffix == ".py":
            assert code[1] in names_in(path), f"{code[1]} is not in {target}"


def rooms() -> set[str]:
    """Every folder and every module at the top of the package, and the folders of those that have some."""
    folders = {f"{path.parent.name}/" for path in PACKAGE.glob("**/__init__.py") if path.parent != PACKAGE}
    return folders | {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}


def test_picture_has_every_room() -> None:
    """The picture names every room and nothing else."""
    picture = (DOCS / "architecture.md").read_text().split("<!-- rooms -->")[1].split("<!-- /rooms -->")[0]
    named = set(re.findall(r"[\w]+(?:/|\.py\b)", picture))
    assert named == rooms()


def test_picture_has_the_floors_of_the_house() -> None:
    """From top to bottom the rooms stand in the order that the rules of the house allow imports in."""
    picture = (DOCS / "architecture.md").read_text().split("<!-- rooms -->")[1].split("<!-- /rooms -->")[0]
    tree = ast.parse((Path(__file__).parent / "test_house.py").read_text())
    floors = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id == "FLOORS"
        and node.value
    )
    places = [
        [picture.index(name) for room in floor for name in (f" {room}/", f" {room}.py") if name in picture]
        for floor in floors
    ]
    standing = [found for found in places if found]
    assert all(max(above) < min(below) for above, below in itertools.pairwise(standing))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_decision_says_what_it_costs(page: Path) -> None:
    """Each decision has a context, numbers, a price, and a moment to reconsider it; the index links to it."""
    assert re.findall(r"^## (.*)$", page.read_text(), flags=re.MULTILINE) == HEADINGS
    assert f"]({page.name})" in (DOCS / "decisions/README.md").read_text()


def test_index_has_every_page() -> None:
    """docs/README.md links to every page beside it."""
    targets = {target.partition("#")[0] for _, target in links(DOCS / "README.md")}
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= targets
    assert "decisions/README.md" in targets
