"""The README says what the code does: every command, setting, reason and asset."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

import danbooru_pipeline
from danbooru_pipeline.cli import main
from danbooru_pipeline.definitions import build_defs
from danbooru_pipeline.outcomes import REASONS
from danbooru_pipeline.settings import PREFIX, Settings

ROOT = Path(danbooru_pipeline.__file__).parent.parent
README = (ROOT / "README.md").read_text()


def section(name: str) -> str:
    """What stands between two marks of the README."""
    match = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", README, flags=re.DOTALL)
    assert match, name
    return match[1]


def test_every_setting_is_documented() -> None:
    """The table of settings has all of them, in their order, and no others."""
    documented = re.findall(r"^\| `(\w+)`", section("settings"), flags=re.MULTILINE)
    assert documented == [PREFIX + field.name.upper() for field in dataclasses.fields(Settings)]


def test_every_reason_is_documented() -> None:
    """The table of reasons is the one of the code, word for word."""
    rows = [f"| `{reason}` | {status} | {text} |" for reason, (status, text) in REASONS.items()]
    assert section("reasons").splitlines()[2:] == rows


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_documented(command: str) -> None:
    """Each command has its row, and a help text."""
    assert f"| `{command}" in README
    assert main.commands[command].help


def test_every_asset_is_documented() -> None:
    """The graph of the README names each asset."""
    for key in build_defs().resolve_asset_graph().get_all_asset_keys():
        assert key.to_user_string() in README


def test_compose_file_starts_what_the_package_has() -> None:
    """The compose file is valid, starts the code location of this package, and opens the UI to this machine only."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert "danbooru_pipeline.definitions" in services["code"]["command"]
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    for service in services.values():
        assert "DANBOORU_CONTACT" in service["environment"]
    text = (ROOT / "docker-compose.yml").read_text()
    assert "DANBOORU_API_KEY: ${DANBOORU_API_KEY" in text


def test_instance_files_are_one() -> None:
    """The instance file at the top is the one that builds use; no link, which some ways of copying a tree flatten."""
    assert (ROOT / "dagster.yaml").read_bytes() == (ROOT / "danbooru_pipeline/defs/dagster.yaml").read_bytes()
    assert yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
