"""`danbooru-pipeline ui`: one Dagster home with `build`, and no file of the working directory in between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from danbooru_pipeline.defs.ui import ui_environment
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.processes import free_port, wait_until
from danbooru_pipeline_tests.support.webserver import Webserver


@pytest.mark.slow(12)
def test_ui_shows_the_home_of_the_root_and_reads_no_env_file(tmp_path: Path) -> None:
    """Without DAGSTER_HOME the UI opens the home in the root, as `build` does, and ignores a .env beside it."""
    (tmp_path / ".env").write_text("DANBOORU_ROOT=/elsewhere\n")
    port = free_port()
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
    environ |= {"DANBOORU_ROOT": "root", "DANBOORU_CONTACT": "a@example.org", "DANBOORU_AUTOMATION": "off"}
    command = [sys.executable, "-m", "danbooru_pipeline", "ui", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(Webserver(f"http://127.0.0.1:{port}").is_up, seconds=120, every=0.5, what="the UI")
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    text = (tmp_path / "log").read_text()
    assert f"shows the runs in {tmp_path / 'root/dagster'}" in text
    assert (tmp_path / "root/dagster/dagster.yaml").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {".env", "root", "log"}
    for unwanted in ("superseded", "dagster.yaml", "Loaded environment", "Traceback"):
        assert unwanted not in text


def test_relative_paths_of_settings_stay_those_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI runs in its home, so paths are made absolute where they are given; addresses stay as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dumps").mkdir()
    given = {"DANBOORU_CONTACT": "a@example.org", "DANBOORU_ROOT": "root", "DANBOORU_DUMP": "dumps"}
    given |= {"DANBOORU_ARCHIVE": "https://example.org/metadata.json.tar.xz"}
    environment = ui_environment(tmp_path / "home", Settings.from_env(given), given)
    assert environment["DANBOORU_ROOT"] == str(tmp_path / "root")
    assert environment["DANBOORU_DUMP"] == str(tmp_path / "dumps")
    assert environment["DANBOORU_ARCHIVE"] == given["DANBOORU_ARCHIVE"]
    assert environment["DAGSTER_HOME"] == str(tmp_path / "home")
