"""The README says what the code does: every command, setting, reason and asset."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from dagster import DagsterInstance

import danbooru_pipeline
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.cli.reference import SECTIONS, section_of, write_reference
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.operate.forecast import MEAN_FILE_BYTES, cost_of
from danbooru_pipeline.outcomes import REASONS
from danbooru_pipeline.progress import human_bytes
from danbooru_pipeline.settings import PREFIX, Settings

ROOT = Path(danbooru_pipeline.__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in SECTIONS.items() for name in names])
def test_reference_is_generated(page: str, name: str) -> None:
    """The docs have settings, commands, exit codes and reasons word for word as the code declares them."""
    expected = "".join(f"{line}\n" for line in SECTIONS[page][name]())
    assert section_of((ROOT / page).read_text(), name)[1] == expected, "run make docs"


def test_reference_has_every_setting_and_reason() -> None:
    """The README names each setting, in the order of its declaration, and each reason."""
    documented = re.findall(r"^\| `(\w+)`", section_of(README, "settings")[1], flags=re.MULTILINE)
    assert documented == [PREFIX + name.upper() for name in Settings.model_fields]
    assert all(f"| `{reason}` |" in section_of(README, "reasons")[1] for reason in REASONS)


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_documented(command: str) -> None:
    """Each command has its row in the README and a section with all its options, all of them with a help text."""
    assert f"| `{command}" in README
    assert main.commands[command].help
    section = (ROOT / "docs/commands.md").read_text().split(f"\n## `{command}")[1].split("\n## ")[0]
    for option in main.commands[command].params:
        if isinstance(option, click.Option):
            assert option.help
            assert all(f"{name} " in section or f"{name}`" in section for name in option.opts)


def test_reference_is_rewritten_in_place(tmp_path: Path) -> None:
    """`make docs` changes only what stands between the marks; a page without them is refused."""
    (tmp_path / "docs").mkdir()
    for page, names in SECTIONS.items():
        marks = "".join(f"before\n<!-- {name} -->\nold\n<!-- /{name} -->\nafter\n" for name in names)
        (tmp_path / page).write_text(marks)
    write_reference(tmp_path)
    written = (tmp_path / "README.md").read_text()
    assert section_of(written, "settings")[1] == section_of(README, "settings")[1]
    assert written.count("before\n<!-- ") == written.count(" -->\nafter\n") == len(SECTIONS["README.md"])
    assert "old" not in written.splitlines()
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="<!-- commands -->"):
        write_reference(tmp_path)


def scale_rows() -> list[str]:
    """The table of docs/scale.md: 10 M posts, none of them in the store yet."""
    rows = []
    for pace, workers in ((8, 2), (8, 8), (8, 16), (4, 8)):
        settings = Settings(contact="-", requests_per_second=pace, workers=workers)
        cost = cost_of(
            settings, 2025, exact=False, posts=10_000_000, files=9_900_000, unsized=0, size=9_900_000 * MEAN_FILE_BYTES
        )
        rows.append(
            f"| {pace} requests/s, {workers} cores | {cost.requests:,} | {cost.seconds / 86_400:.1f} "
            f"| {cost.cpu_seconds / 86_400:.0f} | {cost.days:.1f} | {human_bytes(cost.bytes)} "
            f"| {human_bytes(cost.disk_bytes)} |"
        )
    return rows


def test_scale_is_what_plan_computes() -> None:
    """The table of docs/scale.md is computed by the code of `plan`."""
    text = (ROOT / "docs/scale.md").read_text()
    assert text.split("<!-- scale -->")[1].split("<!-- /scale -->")[0].strip().splitlines()[2:] == scale_rows()


@pytest.fixture
def graph() -> Iterator[Any]:
    """The asset graph. Dagster looks for an instance while building it, and must not find one of an earlier test."""
    with DagsterInstance.ephemeral():
        yield build_defs().resolve_asset_graph()


def test_every_check_is_documented(graph: Any) -> None:
    """A page of docs/ names each check of the graph."""
    pages = "\n".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    for key in graph.asset_check_keys:
        assert f"`{key.name}`" in pages


def test_every_asset_is_documented(graph: Any) -> None:
    """The graph of the README names each asset."""
    for key in graph.get_all_asset_keys():
        assert key.to_user_string() in README


def test_compose_file_starts_what_the_package_has() -> None:
    """The compose file is valid, starts the code location of this package, and opens the UI to this machine only."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert "danbooru_pipeline.definitions" in services["code"]["command"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(re.match(r"\$\{\w+:-127\.0\.0\.1\}:", port) for port in ports)
    for name in ("code", "webserver", "daemon"):
        assert "DANBOORU_CONTACT" in services[name]["environment"]
    text = (ROOT / "docker-compose.yml").read_text()
    assert "DANBOORU_API_KEY: ${DANBOORU_API_KEY" in text


def test_instance_files_agree() -> None:
    """Production keeps its runs in Postgres, with Celery too; one machine needs no database; the rest is the same."""
    production = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert "postgres" in production["storage"]
    celery = yaml.safe_load((ROOT / "deploy/dagster-celery.yaml").read_text())
    assert {k for k in celery if celery[k] != production.get(k)} == {"run_launcher", "concurrency"}
    one = yaml.safe_load((ROOT / "danbooru_pipeline/defs/dagster.yaml").read_text())
    assert one["run_retries"] == production["run_retries"]
    assert "storage" not in one
    assert yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
