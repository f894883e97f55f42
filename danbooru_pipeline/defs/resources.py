"""The resources of assets and checks, made from the environment of the process. Secrets never pass through Dagster."""

from collections.abc import Iterator

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.lost_runs import shown_alive
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.root import require_known_root


@dg.resource(description="Settings from DANBOORU_* variables, paths, the rate-limited HTTP client and image workers.")
def run_context(init: dg.InitResourceContext) -> Iterator[RunContext]:
    """Open the `RunContext` of a run, and close it after; the key keeps the name under which others configure it."""
    settings = Settings.from_env()
    layout = Layout(settings.root)
    require_known_root(layout)
    with RunContext(settings) as context, shown_alive(layout, init.run_id):
        yield context


@dg.resource(description="What a run hands back to whoever started it in the same process.")
def run_log(_context: dg.InitResourceContext) -> RunLog:
    """A log of its own for each run; a headless build gives its runs one that it reads."""
    return RunLog()
