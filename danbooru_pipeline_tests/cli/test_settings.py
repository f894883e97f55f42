"""The command `settings`, and what every command does about settings that are wrong."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.settings import PREFIX, Settings
from danbooru_pipeline_tests.support.refused_settings import REFUSED


def call(*words: str, **settings: str) -> Result:
    """Type a command, with these settings and no others."""
    nothing: dict[str, str | None] = {PREFIX + name.upper(): None for name in Settings.model_fields}
    return CliRunner().invoke(main, words, env=nothing | {PREFIX + name: value for name, value in settings.items()})


def test_settings_are_listed_for_people_and_programs() -> None:
    """Every setting is shown with its value in force and its origin, in a table or as JSON; no contact is needed."""
    chosen = {"PUBLISHER": "Al", "WEBHOOK_URL": "https://example.org/hunter2"}
    listed = json.loads(call("settings", "--json", **chosen).stdout)["settings"]
    assert [each["name"] for each in listed] == [PREFIX + name.upper() for name in Settings.model_fields]
    by_name = {each["name"]: each for each in listed}
    assert by_name["DANBOORU_PUBLISHER"]["value"] == "Al"
    assert by_name["DANBOORU_PUBLISHER"]["origin"] == "environment"
    assert by_name["DANBOORU_WEBHOOK_URL"]["value"] == "***"
    assert by_name["DANBOORU_RETRY_SECONDS"] | {"meaning": ""} == {
        "name": "DANBOORU_RETRY_SECONDS",
        "value": 120.0,
        "origin": "default",
        "read_from": None,
        "unit": "seconds",
        "meaning": "",
    }
    table = call("settings", **chosen)
    assert table.exit_code == 0
    assert [line.split()[0] for line in table.stdout.splitlines()] == list(by_name)
    assert "hunter2" not in table.output


@pytest.mark.parametrize(("name", "value", "wanted"), REFUSED)
def test_bad_setting_ends_a_command_with_one_line(name: str, value: str, wanted: str) -> None:
    """A command ends with exit code 2 and one line that says what to set; there is no traceback and no password."""
    result = call("settings", **{name: value})
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"danbooru-pipeline: {PREFIX}{name} is ")
    assert result.stderr.endswith(f", which is not valid; set it to {wanted}\n")
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr


def test_each_bad_setting_has_its_own_line() -> None:
    """Several wrong settings are named at once, each in a line of the program."""
    result = call("status", WORKERS="abc", FIRST_YEAR="12")
    assert result.exit_code == 2
    assert [line.split()[:2] for line in result.stderr.splitlines()] == [
        ["danbooru-pipeline:", "DANBOORU_WORKERS"],
        ["danbooru-pipeline:", "DANBOORU_FIRST_YEAR"],
    ]


def test_help_and_releases_load_no_settings() -> None:
    """What needs no settings does not spend the time that pydantic takes to import."""
    program = (
        "import sys, danbooru_pipeline.cli.main, danbooru_pipeline.release, danbooru_pipeline.consume\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
