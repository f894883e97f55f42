"""Programs of .venv-validators, an environment of its own that `make validators` makes."""

import os
from pathlib import Path

import pytest

import danbooru_pipeline

PROGRAMS = Path(danbooru_pipeline.__file__).parent.parent / ".venv-validators/bin"


def program_of_validators(name: str) -> str:
    """The path of a program. Without the environment a test fails in CI, and is skipped elsewhere."""
    if not (PROGRAMS / name).exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed; run make validators")
    return str(PROGRAMS / name)
