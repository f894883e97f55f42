"""Commands for those who build releases: the demo, what a build costs, the build, how far it is, what hinders it."""

import sys
from pathlib import Path

import click

from danbooru_pipeline.cli.shared import JSON, YEAR, print_json, read_settings, say, tell, warn_of_unknown_settings
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.outcomes import Reason, parse_recheck


@click.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("data/demo"),
    show_default=True,
    help="Folder for the demo to use; an earlier demo in it is removed.",
)
@click.option("--posts", type=click.IntRange(min=12), default=2600, show_default=True, help="Posts of the first year.")
def demo(root: Path, posts: int) -> None:
    """Start the embedded booru, build Danbooru2021 and Danbooru2022 from it, and verify both."""
    from danbooru_pipeline.demo.tour import run_tour

    sys.exit(run_tour(root, posts=posts, say=click.echo))


def _parse_recheck(_context: click.Context, _parameter: click.Parameter, text: str) -> frozenset[Reason]:
    try:
        return parse_recheck(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@YEAR
@click.option(
    "--buckets",
    default="0000-0999",
    show_default=True,
    help="Buckets to work on, like 0000-0009 or 0123,0456; none for the metadata alone.",
)
@click.option("--retry", is_flag=True, help="Ask again only for what an earlier build left pending.")
@click.option(
    "--recheck",
    metavar="REASONS",
    default="",
    callback=_parse_recheck,
    help="Ask again about posts without a file for these reasons, like gone,refused, or all.",
)
@click.option(
    "--without-tables", is_flag=True, help="Ask for no side tables, and make the release without them; it says so."
)
def build(year: int, buckets: str, *, retry: bool, recheck: frozenset[Reason], without_tables: bool) -> None:
    """Build the release of YEAR: metadata, images, manifest, snapshot. Resumes where an earlier build stopped.

    It runs through Dagster, in the instance of DAGSTER_HOME (default ROOT/dagster).
    """
    from danbooru_pipeline.build import build_year
    from danbooru_pipeline.context import RunContext

    with RunContext(read_settings()) as context:
        code = build_year(
            context,
            year,
            buckets=buckets,
            retry=retry,
            recheck=recheck,
            without_tables=without_tables,
            say=say,
            tell=click.echo,
        )
    sys.exit(code)


@click.command()
@YEAR
@JSON
def plan(year: int, *, as_json: bool) -> None:
    """Show what a build of YEAR would cost: requests, bytes, disk and days. Downloads and writes nothing."""
    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.operate.forecast import forecast_year

    with RunContext(read_settings()) as context:
        forecast = forecast_year(context, year)
    if as_json:
        print_json(forecast.as_dict())
    else:
        for line in forecast.lines():
            tell(line)


@click.command(name="import")
@click.argument("paths", type=click.Path(path_type=Path, exists=True), nargs=-1, required=True, metavar="PATH...")
@click.option("--year", type=int, help="Whose posts say what is wanted; by default the newest that are here.")
@click.option(
    "--move",
    is_flag=True,
    help="Remove what was taken, or was there already, from where it was, once the ledger is written.",
)
@click.option("--dry-run", is_flag=True, help="Judge every candidate, print what would be taken, and change nothing.")
@JSON
def import_(paths: tuple[Path, ...], year: int | None, *, move: bool, dry_run: bool, as_json: bool) -> None:
    """Take originals that exist elsewhere into the store, each only if it is proven to be the post's file.

    PATH is a release of ours, a tree BUCKET/ID.EXT like Danbooru2021, tars of ID.EXT, or a folder of MD5.EXT. Requests
    nothing; what is not proven is left to the next build.
    """
    from dataclasses import asdict

    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.progress import Meter
    from danbooru_pipeline.release.pointer import followed
    from danbooru_pipeline.store.imports import import_files, open_holdings

    settings = read_settings(offline=True)
    with RunContext(settings) as context, Meter("import", report=say, every_seconds=10) as meter:
        holdings = open_holdings(map(followed, paths))
        report = import_files(context, holdings, year=year, move=move, dry_run=dry_run, meter=meter)
    if as_json:
        print_json(asdict(report))
    else:
        for line in report.lines():
            tell(line)
    sys.exit(1 if report.problems else 0)


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be fetched; request no file, change nothing.")
@JSON
def follow(*, dry_run: bool, as_json: bool) -> None:
    """Follow the running year once: fetch files of new and of replaced posts ahead of their release.

    Goes on where the last run ended, however long ago that was. Nothing of it is part of a release before January.
    """
    from dataclasses import asdict

    from danbooru_pipeline.operate.follow import follow, open_follower
    from danbooru_pipeline.progress import Meter

    with open_follower(read_settings()) as context, Meter("follow", report=say, every_seconds=10) as meter:
        report = follow(context, dry_run=dry_run, meter=meter)
    if as_json:
        print_json(asdict(report))
    else:
        for line in report.lines():
            tell(line)
    sys.exit(1 if report.left or report.unanswered or report.refused else 0)


@click.command()
@click.argument("year", type=int, required=False)
@JSON
def status(year: int | None, *, as_json: bool) -> None:
    """Show how far each release is: files by status and reason, buckets with work left over, what is published.

    Exits with 1 while a takedown is not finished.
    """
    from danbooru_pipeline.operate.follow import follow_status
    from danbooru_pipeline.operate.status import known_years, status_lines, year_status
    from danbooru_pipeline.posts.takedowns import held_by_takedown, read_takedowns

    settings = read_settings(offline=True)
    layout = Layout(settings.root)
    excluded = settings.excluded
    years = [year] if year is not None else known_years(layout)
    found = [year_status(layout, each, exclude_tags=excluded) for each in years]
    followed, held, copies = follow_status(layout), held_by_takedown(layout), read_takedowns(layout).copies
    if as_json:
        shown = {"root": str(settings.root), "years": found, "follow": followed, "held": held, "to_be_cleared": copies}
        print_json(shown)
    else:
        for line in (*status_lines(layout, found), *([followed.line()] if followed else [])):
            tell(line)
    sys.exit(1 if held or copies else 0)


@click.command()
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write them there as a whole, for node_exporter's textfile collector, instead of printing them.",
)
def metrics(into: Path | None) -> None:
    """Print numbers to alarm on in the text format of Prometheus: disk, pace, pending posts, the newest release."""
    from datetime import UTC, datetime

    from danbooru_pipeline.io.atomic import write_atomic
    from danbooru_pipeline.operate.metrics import gather_metrics, metric_lines
    from danbooru_pipeline.release.outside import require_outside

    if into is not None:
        require_outside(into)
    settings = read_settings(offline=True)
    samples = gather_metrics(
        Layout(settings.root),
        now=datetime.now(UTC),
        min_free_bytes=settings.min_free_bytes,
        exclude_tags=settings.excluded,
    )
    lines = metric_lines(samples)
    if into is None:
        for line in lines:
            click.echo(line)
    else:
        write_atomic(into, "".join(f"{line}\n" for line in lines).encode())


@click.command()
@click.option("--repair", is_flag=True, help="Set damaged files of the root aside, and make them again.")
@JSON
def doctor(*, repair: bool, as_json: bool) -> None:
    """Examine disk, inodes, hard links, libvips, credentials, clock, source, DAGSTER_HOME, following, takedowns, files.

    Exits with 1 if any of them would prevent a build, or a takedown is not finished. With --repair only the files are
    looked at.
    """
    from danbooru_pipeline.operate.doctor import Health, examine, repair_root
    from danbooru_pipeline.progress import heard_by

    settings = read_settings(offline=True, any_root=True)
    findings = []
    with heard_by(say):
        for finding in repair_root(settings) if repair else examine(settings):
            findings.append(finding)
            if not as_json:
                tell(finding.line())
    if as_json:
        print_json({"findings": [finding.as_dict() for finding in findings]})
    sys.exit(1 if any(finding.health is Health.ERROR for finding in findings) else 0)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on. Dagster has no login.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port to listen on.")
def ui(host: str, port: int) -> None:
    """Open the Dagster UI over the same runs as `build`: the instance of DAGSTER_HOME (default ROOT/dagster).

    Sensors, schedules and backfills work as long as it runs.
    """
    from danbooru_pipeline.build import dagster_home
    from danbooru_pipeline.defs.ui import serve_ui

    chosen = read_settings()
    home = dagster_home(Layout(chosen.root))
    say(f"http://{host}:{port} shows the runs in {home.resolve()}; `build` with this environment writes there, too")
    serve_ui(chosen, home, host=host, port=port)


@click.command()
@JSON
def settings(*, as_json: bool) -> None:
    """Show every setting in force, and whether it comes from the environment or is the default. Masks secrets."""
    from danbooru_pipeline.settings import settings_in_force
    from danbooru_pipeline.settings.listing import settings_lines

    warn_of_unknown_settings()
    found = settings_in_force()
    if as_json:
        print_json({"settings": [each.as_dict() for each in found]})
    else:
        for line in settings_lines(found):
            click.echo(line)
