"""One build from the command line: check, build through Dagster, and say what was made and what is left."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.preflight import check_build
from danbooru_pipeline.outcomes import REASONS, Reason, Status, status_of
from danbooru_pipeline.progress import human_bytes, human_seconds
from danbooru_pipeline.release import read_release
from danbooru_pipeline.release.release_json import release_lines
from danbooru_pipeline.settings import Settings

Say = Callable[[str], None]
SHOWN = 10


def dagster_home(layout: Layout) -> Path:
    """The folder of DAGSTER_HOME, or one in the root."""
    return Path(os.environ.get("DAGSTER_HOME") or layout.dagster_home)


def run_build(settings: Settings, year: int, *, buckets: str, retry: bool, say: Say, tell: Say) -> int:
    """Build a release and return the exit code. `say` takes progress, `tell` what was made.

    With `retry` the posts are taken as they were swept, and only what is pending is asked for.

    Raises:
        DanbooruPipelineError: settings, root or source do not allow it.
    """
    with RunContext(settings) as context:
        return build_year(context, year, buckets=buckets, retry=retry, say=say, tell=tell)


def build_year(
    context: RunContext, year: int, *, buckets: str = "0000-0999", retry: bool = False, say: Say, tell: Say
) -> int:
    """Build a release with a toolbox that is open; see `run_build`."""
    check_build(context, year)
    # Dagster takes seconds to import; a wrong setting is told before that.
    from danbooru_pipeline.defs.headless import build_release, open_instance, parse_buckets

    try:
        chosen = parse_buckets(buckets)
    except ValueError:
        raise SettingsError(f"{buckets!r} are not buckets; give a range like 0000-0009, or 0123") from None
    with open_instance(dagster_home(context.layout)) as instance:
        result = build_release(context, instance, year, buckets=chosen, retry=retry, say=say)
    images = result.stages.get("original_images")
    if images is not None:
        sums = images.numbers
        tell(
            f"files {year}: {int(sums.get('requests', 0)):,} requests, {int(sums.get('fetched', 0)):,} fetched "
            f"({human_bytes(sums.get('bytes_fetched', 0))}), of them {int(sums.get('changed', 0)):,} changed"
        )
        for line in _pending_table(sums):
            tell(line)
    for line in result.failed[:SHOWN]:
        tell(f"left: {line}")
    if result.pending_elsewhere:
        tell(f"left: {result.pending_elsewhere:,} posts are pending in buckets that were not worked on")
    released = "release" in result.stages and context.layout.release_json(year).exists()
    if released:
        release = read_release(context.layout.release(year))
        for line in release_lines(release, context.layout.release(year)):
            tell(line)
    tell(
        f"took {human_seconds(result.seconds)}; Dagster itself cost {result.dagster_cpu_seconds:.0f} CPU seconds "
        f"for {len(result.reports)} runs and {result.partitions:,} partitions"
    )
    return 1 if result.failed or result.pending_elsewhere else 0


def _pending_table(sums: Mapping[str, int]) -> list[str]:
    """Posts that are pending by reason, for people; no lines when there are none."""
    counts = {reason: sums[f"reason:{reason}"] for reason in Reason if status_of(reason) is Status.PENDING}
    rows = [f"  {count:>7,}  {reason:<16} {REASONS[reason][1]}" for reason, count in counts.items() if count]
    return [f"{sum(counts.values()):,} posts are pending; the next build asks for them again:", *rows] if rows else []
