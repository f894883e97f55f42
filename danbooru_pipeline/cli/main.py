"""The command line: parse, call, print.

Exit codes: 0 done; 1 done, but something is left (pending posts, a release that was refused, failed verification);
2 wrong usage or settings. Modules that take long to import are imported by the command that needs them.
"""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from danbooru_pipeline.cli.consumers import export, select
from danbooru_pipeline.cli.releases import reconstruct, takedown
from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseRefused, is_disk_full
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.version import version

YEAR = click.argument("year", type=int)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


class _Group(click.Group):
    """Turns errors of ours into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DanbooruPipelineError as error:
            _complain(str(error))
            if isinstance(error, ReleaseRefused):
                for row in error.rows[:20]:
                    click.echo(f"  {row}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            if not is_disk_full(error):
                raise
            _complain("the disk of DANBOORU_ROOT or DAGSTER_HOME is full; free some space, then run again")
            sys.exit(2)


def _complain(text: str) -> None:
    click.echo(f"danbooru-pipeline: {text}", err=True)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's own
    """What click's own option does, without asking git for a version that nobody wants to see."""
    if wanted and not context.resilient_parsing:
        click.echo(f"danbooru-pipeline, version {version().number}")
        context.exit()


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def _settings(*, offline: bool = False) -> Settings:
    for name in Settings.unknown():
        _complain(f"{name} is not a setting and has no effect; is it misspelt?")
    return Settings.from_env(offline=offline)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Build, verify and maintain yearly releases of a booru. Settings are DANBOORU_* environment variables."""


@main.command()
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("data/demo"),
    show_default=True,
    help="Folder that the demo may use; an earlier demo in it is removed.",
)
@click.option("--posts", type=click.IntRange(min=12), default=2600, show_default=True, help="Posts of the first year.")
def demo(root: Path, posts: int) -> None:
    """Start the embedded booru, build Danbooru2021 and Danbooru2022 from it, verify both."""
    from danbooru_pipeline.demo.tour import run_tour

    sys.exit(run_tour(root, posts=posts, say=click.echo))


@main.command()
@YEAR
@click.option(
    "--buckets", default="0000-0999", show_default=True, help="Buckets to work on, like 0000-0009 or 0123,0456."
)
@click.option("--retry", is_flag=True, help="Only ask again for what an earlier build left pending.")
def build(year: int, buckets: str, *, retry: bool) -> None:
    """Build the release of YEAR: metadata, images, manifest, snapshot. Resumes where an earlier build stopped."""
    from danbooru_pipeline.build import run_build

    sys.exit(run_build(_settings(), year, buckets=buckets, retry=retry, say=_say, tell=click.echo))


@main.command()
@YEAR
@JSON
def plan(year: int, *, as_json: bool) -> None:
    """Say what a build of YEAR would cost: requests, bytes, disk and days. Downloads and writes nothing."""
    from danbooru_pipeline.context import RunContext
    from danbooru_pipeline.operate.forecast import forecast_year

    with RunContext(_settings()) as context:
        forecast = forecast_year(context, year)
    if as_json:
        _print_json(forecast.as_dict())
    else:
        for line in forecast.lines():
            click.echo(line)


@main.command()
@click.argument("year", type=int, required=False)
@JSON
def status(year: int | None, *, as_json: bool) -> None:
    """Show how far the releases are: posts, files by status and reason, what is published."""
    from danbooru_pipeline.operate.status import known_years, status_lines, year_status

    settings = _settings(offline=True)
    layout = Layout(settings.root)
    excluded = settings.excluded
    years = [year] if year is not None else known_years(layout)
    found = [year_status(layout, each, exclude_tags=excluded) for each in years]
    if as_json:
        _print_json({"root": str(settings.root), "years": found})
    else:
        for line in status_lines(layout, found):
            click.echo(line)


@main.command()
@click.argument("release_dir", type=click.Path(path_type=Path))
@click.option("--full", is_flag=True, help="Hash every image, not only look at its size.")
@click.option("--bucket", help="Check only this bucket's images, by content.")
@click.option(
    "--signers",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Keys that may have signed it, as ssh-keygen reads them; default those that the release names itself.",
)
@JSON
def verify(release_dir: Path, bucket: str | None, signers: Path | None, *, full: bool, as_json: bool) -> None:
    """Verify a release from its folder alone. Needs no settings, no store and no network."""
    from danbooru_pipeline.layout import BUCKETS
    from danbooru_pipeline.operate.terminal import TerminalLine
    from danbooru_pipeline.release import verify_release

    if bucket is not None and bucket not in BUCKETS:
        raise click.BadParameter("a bucket is 0000 to 0999", param_hint="--bucket")
    terminal = TerminalLine()
    report = verify_release(release_dir, full=full, bucket=bucket, signers=signers, progress=terminal.step)
    terminal.clear()
    if as_json:
        _print_json(report.as_dict())
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(0 if report.ok else 1)


@main.command()
@JSON
def doctor(*, as_json: bool) -> None:
    """Examine this machine, the settings and the source; exits with 1 when something is an error."""
    from danbooru_pipeline.operate.doctor import Health, examine

    findings = []
    for finding in examine(_settings(offline=True)):
        findings.append(finding)
        if not as_json:
            click.echo(finding.line())
    if as_json:
        _print_json({"findings": [finding.as_dict() for finding in findings]})
    sys.exit(1 if any(finding.health is Health.ERROR for finding in findings) else 0)


for command in (reconstruct, takedown, select, export):
    main.add_command(command)
