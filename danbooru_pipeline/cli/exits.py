"""How a command ends: whatever happens becomes one line, an exit code of `errors.EXIT_CODES`, and JSON if asked for.

The line names the file or the setting, says the cause first and ends by saying what to do.
"""

import contextlib
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from danbooru_pipeline import stop
from danbooru_pipeline.cli.output import ReaderGone, drop_output, flush_output
from danbooru_pipeline.cli.shared import complain, print_json
from danbooru_pipeline.errors import DanbooruPipelineError, OutputLost, ReleaseRefused, SettingsError, on_one_line

#: A process whose reader went away ends as by SIGPIPE.
_READER_GONE = 141
#: Rows shown of a refused release; a file has the rest.
_ROWS_SHOWN = 20


def end_command(run: Callable[[], object], words: Sequence[str], *, debug: bool) -> int:
    """Run a command to its end, whatever that is. Returns the exit code.

    Args:
        run: the command; it may return its exit code, or raise `SystemExit` with it.
        words: of the command line.
        debug: print tracebacks.
    """
    try:
        code = _run(run)
        flush_output()
    except ReaderGone:
        drop_output()
        return _READER_GONE
    except stop.Stopped as stopped:
        say_stopped(stopped, words)
        return stopped.exit_code
    except click.ClickException as error:
        _tell_usage(error, as_json="--json" in words)
        return 2
    except Exception as error:  # noqa: BLE001 - this is where all of them end
        if stop.requested():  # what broke did so because the work was ended under it
            broken_off = stop.Stopped()
            say_stopped(broken_off, words)
            return broken_off.exit_code
        return _tell(error, as_json="--json" in words, debug=debug)
    return code


def _run(run: Callable[[], object]) -> int:
    try:
        result = run()
    except SystemExit as end:
        result = end.code
    except click.Abort:
        result = 1
    return result if isinstance(result, int) else 0 if result is None else 1


def say_stopped(stopped: stop.Stopped, words: Sequence[str]) -> None:
    """One line that says how to go on after a signal."""
    again = shlex.join(["danbooru-pipeline", *words])
    complain(f"stopped by {stopped.name}: what is finished is kept, and the rest is not done; to resume: {again}")


def _tell(error: Exception, *, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    # Here, since releases and their tables come with it, which a command that ends well need not wait for.
    from danbooru_pipeline.operate.faults import as_ours
    from danbooru_pipeline.settings.model import DEFAULT_ROOT

    ours = as_ours(_cause(error), Path(os.environ.get("DANBOORU_ROOT") or DEFAULT_ROOT))
    lost = isinstance(ours, OutputLost)
    if lost:
        drop_output()
    complain(str(ours) if isinstance(ours, SettingsError) else on_one_line(str(ours)))
    rows = ours.rows if isinstance(ours, ReleaseRefused) else ()
    for row in rows[:_ROWS_SHOWN]:
        click.echo(f"  {on_one_line(row)}", err=True)
    if as_json and not lost:
        _print_error(ours, rows)
    return ours.exit_code


def _cause(error: Exception) -> Exception:
    """The error that is ours, where a library has wrapped it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, DanbooruPipelineError):
            return found
        found = found.__cause__
    return error


def _print_error(error: DanbooruPipelineError, rows: Sequence[str]) -> None:
    said = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    with contextlib.suppress(OutputLost, ReaderGone):
        print_json({"error": said | ({"rows": list(rows)} if rows else {})})
        flush_output()


def _tell_usage(error: click.ClickException, *, as_json: bool) -> None:
    error.show(sys.stderr)
    if as_json:
        _print_error(SettingsError(error.format_message()), ())
