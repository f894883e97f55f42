"""The Dagster UI of one machine, over the home that `build` uses, so that it shows what was built without it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from danbooru_pipeline.defs.event_log import BATCH_SIZE, BATCH_SIZE_VARIABLE
from danbooru_pipeline.defs.instance import prepare_home
from danbooru_pipeline.settings import Settings

#: What `dagster dev` says of itself at each start, which no operator can act on.
_KNOWN_WARNINGS = "ignore:Function `dev_command` is superseded"


def ui_command(*, host: str, port: int) -> list[str]:
    """The command that serves UI and daemon until it is stopped."""
    dagster = str(Path(sys.executable).with_name("dagster"))
    return [dagster, "dev", "-m", "danbooru_pipeline.definitions", "-h", host, "-p", str(port)]


def ui_environment(home: Path, settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command: it runs in the home, so relative paths of settings are made absolute.

    In the home there is no ``.env``, which Dagster would load over the environment, and no second dagster.yaml.
    """
    paths = {f"DANBOORU_{name.upper()}": str(value.resolve()) for name, value in settings if isinstance(value, Path)}
    paths |= {
        f"DANBOORU_{name.upper()}": str(Path(value).resolve())
        for name, value in (("dump", settings.dump), ("archive", settings.archive))
        if value and Path(value).exists()  # else it is an address
    }
    warnings = ",".join(filter(None, (environ.get("PYTHONWARNINGS"), _KNOWN_WARNINGS)))
    return {BATCH_SIZE_VARIABLE: BATCH_SIZE, **environ, **paths, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": warnings}


def serve_ui(settings: Settings, home: Path, *, host: str, port: int) -> None:
    """Become the process that serves the UI. Does not return."""
    prepare_home(home)
    environment = ui_environment(home.resolve(), settings, os.environ)
    os.chdir(home)
    command = ui_command(host=host, port=port)
    os.execve(command[0], command, environment)  # noqa: S606 - its path is beside this Python
