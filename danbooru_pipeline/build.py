"""One build from the command line: checks, builds through Dagster, and says what was made and what is left."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.preflight import check_build
from danbooru_pipeline.outcomes import REASONS, Reason, Status, status_of
from danbooru_pipeline.progress import Say, counted, heard_by, human_bytes, human_seconds
from danbooru_pipeline.release import read_release
from danbooru_pipeline.release.release_json import release_lines
from danbooru_pipeline.store.follow import compare_with_sweep

if TYPE_CHECKING:
    from danbooru_pipeline.defs.headless import BuildResult

#: Lines shown of a long list of failures.
SHOWN = 10


def dagster_home(layout: Layout) -> Path:
    """The folder of DAGSTER_HOME, or one in the root."""
    return Path(os.environ.get("DAGSTER_HOME") or layout.dagster_home)


def build_year(
    context: RunContext,
    year: int,
    *,
    buckets: str = "0000-0999",
    retry: bool = False,
    recheck: frozenset[Reason] = frozenset(),
    without_tables: bool = False,
    say: Say,
    tell: Say,
) -> int:
    """Build a release and return the exit code. `say` takes progress, `tell` what was made.

    With `retry` the posts are those of the last sweep, and only what is pending is fetched again. Posts without a file
    for one of the reasons of `recheck` are asked about again. With `without_tables` no side tables are asked for, and
    the release has none.

    Raises:
        DanbooruPipelineError: settings, root or source do not allow it.
    """
    with heard_by(say):
        check_build(context, year)
    # Dagster takes seconds to import; a wrong setting is reported before that.
    from danbooru_pipeline.defs.headless import BuildOrder, build_release, parse_buckets
    from danbooru_pipeline.defs.instance import open_instance

    try:
        chosen = parse_buckets(buckets)
    except ValueError:
        raise SettingsError(f"{buckets!r} are not buckets; give a range like 0000-0009, or 0123, or none") from None
    order = BuildOrder(buckets=chosen, retry=retry, recheck=recheck, without_tables=without_tables)
    with open_instance(dagster_home(context.layout)) as instance:
        result = build_release(context, instance, year, order=order, say=say)
    for line in _result_lines(context.layout, year, result):
        tell(line)
    if result.stopped_by is not None:
        raise result.stopped_by
    return 1 if result.failed or result.pending_elsewhere else 0


def _result_lines(layout: Layout, year: int, result: "BuildResult") -> Iterator[str]:
    """What a build did and what is left, for people."""
    missed = compare_with_sweep(layout, year)
    if missed is not None:
        yield missed.line()
    images = result.stages.get("original_images")
    if images is not None:
        sums = images.numbers
        yield (
            f"files {year}: {counted(int(sums.get('requests', 0)), 'request')}, "
            f"{int(sums.get('fetched', 0)):,} fetched ("
            f"{human_bytes(sums.get('bytes_fetched', 0))}), {int(sums.get('changed', 0)):,} of them changed"
        )
        yield from _pending_table(sums)
    # What ended the build is its last line, with its remedy; here is what else is left.
    failed = [line for line in result.failed if line != str(result.stopped_by)]
    for line in failed[:SHOWN]:
        yield f"left: {line}"
    if len(failed) > SHOWN:
        yield f"left: {len(failed) - SHOWN:,} more; they are in the UI"
    if result.pending_elsewhere:
        pending = counted(result.pending_elsewhere, "post is", "posts are")
        yield f"left: {pending} pending in buckets that were not worked on"
    folder = layout.release(year)
    if "release" in result.stages and layout.release_json(year).exists():
        yield from release_lines(read_release(folder), folder)
    yield (
        f"took {human_seconds(result.seconds)}; Dagster itself cost {result.dagster_cpu_seconds:.0f} CPU seconds "
        f"for {counted(len(result.reports), 'run')} and {counted(result.partitions, 'partition')}"
    )


def _pending_table(sums: Mapping[str, int]) -> list[str]:
    """Pending posts by reason, for people; empty without any."""
    counts = {reason: sums[f"reason:{reason}"] for reason in Reason if status_of(reason) is Status.PENDING}
    rows = [f"  {count:>7,}  {reason:<16} {REASONS[reason][1]}" for reason, count in counts.items() if count]
    headline = f"{counted(sum(counts.values()), 'post is', 'posts are')} pending; the next build fetches them again:"
    return [headline, *rows] if rows else []
