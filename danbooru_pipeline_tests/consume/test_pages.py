"""The README, docs/python.md and docs/consumers.md say what the code does: examples run, tables are complete."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import danbooru_pipeline
from danbooru_pipeline import open_release
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume.exports import EXPORTS
from danbooru_pipeline.consume.where import OPERATORS
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.change_rows import Change
from danbooru_pipeline_tests.support.damage import linked_copy

ROOT = Path(danbooru_pipeline.__file__).parent.parent
DOCS = ROOT / "docs"
PYTHON = (DOCS / "python.md").read_text()
CONSUMERS = (DOCS / "consumers.md").read_text()


def test_examples_in_python_run(releases: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every code block of docs/python.md runs after the ones above it, in a folder that has ``releases/current``."""
    monkeypatch.chdir(releases.root)
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PYTHON, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == PYTHON.count("```python")
    for block in blocks:
        line = PYTHON[: PYTHON.index(block)].count("\n")
        # Blank lines in front make an error name the line of the page.
        exec(compile("\n" * line + block, "docs/python.md", "exec"), names)
    assert names["total"]


def test_example_of_the_readme_runs(releases: Layout) -> None:
    """The Python of the README runs on a release of that root."""
    names: dict[str, object] = {}
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert "/srv/danbooru/" in block
    exec(block.replace("/srv/danbooru/", f"{releases.root}/"), names)
    assert names["picture"]


def test_dtypes_are_those_of_the_page(releases: Layout) -> None:
    """The table of dtypes in docs/python.md is what frames have, type by type."""
    table = PYTHON.split("<!-- dtypes -->")[1].split("<!-- /dtypes -->")[0]
    rows = re.findall(r"^\| `(.+?)`.* \| `(.+?)`.* \|$", table, flags=re.MULTILINE)
    assert len(rows) == 5
    release = open_release(releases.current)
    seen: dict[str, str] = {}
    for name in release.tables:
        dtypes = release.table(name).dtypes
        seen |= {str(column.type): str(dtypes[column.name]) for column in release.schema(name)}
    assert {arrow: seen[arrow] for arrow, _ in rows} == dict(rows)


def test_python_page_is_complete() -> None:
    """docs/python.md has every public name of a release, every operator and every kind of change."""
    for name in (name for name in dir(danbooru_pipeline.OpenedRelease) if not name.startswith("_")):
        assert re.search(rf"\.{name}\b|`{name}\b|\b{name}\(", PYTHON), name
    assert {sign for sign in OPERATORS if f"`{sign}`" not in PYTHON} == {"="}
    assert all(f"`{change}`" in PYTHON for change in Change)


def test_examples_of_commands_run(releases: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of docs/consumers.md ends with exit code 0 in a folder that has ``danbooru2022``."""
    linked_copy(releases.release(2022), tmp_path / "danbooru2022")
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^ {4}danbooru-pipeline (.*?)(?: > \w+)?$", CONSUMERS, flags=re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        result = CliRunner().invoke(main, shlex.split(line))
        assert result.exit_code == 0, result.output


def test_tables_of_commands_are_complete() -> None:
    """docs/consumers.md has every option of `select` and every form of `export`, and no others."""
    options = {option for parameter in main.commands["select"].params for option in parameter.opts if option[0] == "-"}
    hidden = {"--deleted"}  # the default; the page shows what changes it
    rows = re.findall(r"^\| (`--.*?) \|", CONSUMERS, flags=re.MULTILINE)
    assert {option for row in rows for option in re.findall(r"--[a-z-]+", row)} == options - hidden | {"--no-deleted"}
    assert re.findall(r"^\| `([a-z][a-z-]*)` \|", CONSUMERS, flags=re.MULTILINE) == list(EXPORTS)
