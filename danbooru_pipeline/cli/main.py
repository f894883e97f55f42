"""The command ``danbooru-pipeline``: its group, its signals (see `stop`) and its ends (see `exits`).

Modules that take long to import are imported by the command that needs them.
"""

import atexit
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from danbooru_pipeline.cli.exits import end_command, say_stopped
from danbooru_pipeline.cli.output import open_streams
from danbooru_pipeline.cli.startup import Commands, begin_sooner
from danbooru_pipeline.errors import EXIT_CODES
from danbooru_pipeline.stop import end_process, run_stoppable

_EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."
_DEBUG = "--debug"


class _Group(click.Group):
    """Runs a command where signals stop it, and ends it with one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - of the base
        """In their own order: what builds comes before what uses a release."""
        return list(self.commands)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's own
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode, **extra)
        codes: list[int] = []
        if args is None:
            atexit.register(_leave, codes)  # registered first, so called last
        open_streams()
        words = list(sys.argv[1:] if args is None else args)
        if args is None and words[:1] in (["select"], ["sample-tags"]):
            begin_sooner()
        debug = _DEBUG in words  # anywhere, since whoever repeats a command adds it at the end
        words = [word for word in words if word != _DEBUG]
        run = partial(super().main, words, prog_name, complete_var, False, **extra)  # noqa: FBT003
        end = partial(end_command, run, words, debug=debug)
        codes.append(run_stoppable(end, last_words=partial(say_stopped, words=words)))
        sys.exit(codes[0])


def _leave(codes: Sequence[int]) -> None:
    """End the process before the interpreter is taken apart.

    A thread of Arrow's that lets go of a file's bytes at that moment would abort the process, after all was done: it
    waits for an interpreter that ends its threads (seen in one of 150 searches on a busy machine).
    """
    if codes:
        end_process(codes[0])


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's own
    """What click's own option does, without asking git for a version that nobody wants to see."""
    if wanted and not context.resilient_parsing:
        from danbooru_pipeline.version import version

        click.echo(f"danbooru-pipeline, version {version().number}")
        context.exit()


_COMMANDS = Commands(
    {
        **dict.fromkeys(
            ["demo", "plan", "build", "import", "follow", "status", "metrics", "doctor", "settings", "ui"], "builders"
        ),
        **dict.fromkeys(["verify", "reconstruct", "changes"], "releases"),
        **dict.fromkeys(["get", "select", "browse", "sample-tags"], "consumers"),
        "export": "exporting",
        "apply-removals": "consumers",
        "curate": "curation",
        **dict.fromkeys(["publish", "mirrors", "takedown"], "releases"),
    }
)


@click.group(cls=_Group, commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EPILOG)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.option(_DEBUG, is_flag=True, expose_value=False, help="Print the traceback of an error, too.")
def main() -> None:
    """Build, verify and maintain yearly releases of a booru. Settings are DANBOORU_* environment variables."""
