"""What several commands use: arguments, printing, the settings. No commands here."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from danbooru_pipeline.errors import on_one_line
from danbooru_pipeline.layout import Layout

if TYPE_CHECKING:
    from danbooru_pipeline.settings import Settings

#: The type of an option that names a file to read.
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
YEAR = click.argument("year", type=int)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def complain(text: str) -> None:
    """Print what is wrong, each line of it with the name of the program."""
    for line in text.split("\n"):
        click.echo(f"danbooru-pipeline: {on_one_line(line)}", err=True)


def tell(text: str) -> None:
    """Print a line of what the command was asked for, for people."""
    click.echo(on_one_line(text))


def say(text: str) -> None:
    """Print progress, which is not what the command was asked for."""
    click.echo(on_one_line(text), err=True)


def print_json(value: Any) -> None:
    """Print for programs: in UTF-8, as JSON is, whatever standard output has.

    A path may have bytes that are none, which Python holds as halves of surrogate pairs; they are told as in text.
    """
    import msgspec

    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_printable(msgspec.to_builtins(value)))
    click.echo(msgspec.json.format(data))


def _printable(value: Any) -> Any:
    """A value of JSON whose texts are all UTF-8."""
    if isinstance(value, dict):
        return {_printable(name): _printable(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_printable, value))
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def port_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--port`` of a command that serves a page."""
    kind, text = click.IntRange(0, 65535), "Port to listen on; 0 picks a free one."
    return click.option("--port", type=kind, default=default, show_default=True, help=text)


def warn_of_unknown_settings() -> None:
    """Name each misspelt variable, since it would silently do nothing."""
    from danbooru_pipeline.settings import Settings

    for name in Settings.unknown():
        complain(f"{name} is not a setting and has no effect; is it misspelt?")


def read_settings(*, offline: bool = False, any_root: bool = False) -> "Settings":
    """The settings of the environment, after a warning of variables that are misspelt.

    A root of newer code is refused, except where `any_root` only looks at it.

    Raises:
        SettingsError: some are not valid, or the contact is missing and the command is not `offline`.
        StoreError: the root is of newer code.
    """
    # Here, since pydantic takes 0.2 s of CPU time, which help and `verify` need not spend.
    from danbooru_pipeline.settings import Settings
    from danbooru_pipeline.store.root import require_known_root

    warn_of_unknown_settings()
    settings = Settings.from_env(offline=offline)
    if not any_root:
        require_known_root(Layout(settings.root))
    return settings
