"""The command line as a process of its own, its settings from the environment."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline_tests.support.forked import Forked, can_begin_with

#: The buckets that hold all posts of a booru of 40, so that a build of them makes a release.
WITH_POSTS = "0000-0041"


def environment(**settings: str) -> dict[str, str]:
    """The environment of the process, with these settings and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
    return kept | {f"DANBOORU_{name.upper()}": value for name, value in settings.items()}


def command(*arguments: str) -> list[str]:
    """The command line of this project."""
    return [sys.executable, "-m", "danbooru_pipeline", *arguments]


def call(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Call it and wait; it is forked where nothing in the environment says that a process must begin with it."""
    if can_begin_with(env):
        return Forked(arguments, env=env).wait(timeout=300)
    return subprocess.run(command(*arguments), env=env, capture_output=True, text=True, check=False, timeout=300)


def settings_of(booru: BooruProcess, root: Path) -> dict[str, str]:
    """An environment for the embedded booru."""
    return environment(root=str(root), api_url=booru.api_url, cdn_url=booru.cdn_url, png_level="0", retry_seconds="3")
