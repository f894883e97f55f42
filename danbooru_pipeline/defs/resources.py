"""What assets are given: one toolbox, made from the environment of the process. Secrets never pass through Dagster."""

from collections.abc import Iterator

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.settings import Settings


@dg.resource(description="Settings from DANBOORU_* variables, paths, the paced HTTP client and the image workers.")
def toolbox(_context: dg.InitResourceContext) -> Iterator[RunContext]:
    """Open the toolbox of a run, and close it after."""
    with RunContext(Settings.from_env()) as context:
        yield context
