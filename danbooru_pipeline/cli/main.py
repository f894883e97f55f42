"""The command ``danbooru-pipeline``: its group, and how errors become one line and an exit code (see `errors`).

Modules that take long to import are imported by the command that needs them.
"""

import sys
from typing import Any

import click

from danbooru_pipeline.cli.builders import build, demo, doctor, follow, import_, plan, settings, status, ui
from danbooru_pipeline.cli.consumers import export, select
from danbooru_pipeline.cli.releases import changes, reconstruct, takedown, verify
from danbooru_pipeline.cli.shared import complain
from danbooru_pipeline.errors import EXIT_CODES, DanbooruPipelineError, ReleaseRefused, is_disk_full
from danbooru_pipeline.version import version

_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."


class _Group(click.Group):
    """Turns our own errors into lines without a traceback, and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - of the base
        """In the order in which they are added: what builds comes before what uses a release."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DanbooruPipelineError as error:
            complain(str(error))
            if isinstance(error, ReleaseRefused):
                for row in error.rows[:20]:
                    click.echo(f"  {row}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            if not is_disk_full(error):
                raise
            complain("the disk of DANBOORU_ROOT or DAGSTER_HOME is full; free some space, then run again")
            sys.exit(2)


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's own
    """What click's own option does, without asking git for a version that nobody wants to see."""
    if wanted and not context.resilient_parsing:
        click.echo(f"danbooru-pipeline, version {version().number}")
        context.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def main() -> None:
    """Build, verify and maintain yearly releases of a booru. Settings are DANBOORU_* environment variables."""


_BUILDERS = (demo, plan, build, import_, follow, status, doctor, settings, ui)
_READERS = (verify, reconstruct, changes, select, export, takedown)
for command in (*_BUILDERS, *_READERS):
    main.add_command(command)
