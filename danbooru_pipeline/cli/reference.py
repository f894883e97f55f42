"""The reference of settings, commands, exit codes and reasons, written into the docs from their declarations.

``make docs`` (or ``python -m danbooru_pipeline.cli.reference``) rewrites what stands between the marks
``<!-- name -->`` and ``<!-- /name -->``; a test compares them word for word. Everything else on those pages is prose.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.errors import EXIT_CODES
from danbooru_pipeline.operate.state_files import STATE_FILES
from danbooru_pipeline.outcomes import REASONS
from danbooru_pipeline.settings import Declaration, Settings
from danbooru_pipeline.settings.declaration import declarations_of

#: Folder that README.md is in, when this package runs from a checkout.
CHECKOUT: Final = Path(__file__).parents[2]


def settings_table() -> list[str]:
    """Every setting: variable, default with its unit, meaning."""
    rows = (f"| `{each.variable}` | {_default(each)} | {_meaning(each)} |" for each in declarations_of(Settings))
    return ["| variable | default | what it is |", "|---|---|---|", *(re.sub("  +", " ", row) for row in rows)]


def _default(declaration: Declaration) -> str:
    if declaration.default_text:
        return declaration.default_text
    value = declaration.default
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        value = "on" if value else "off"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{text}` {declaration.unit}".strip()


def _meaning(declaration: Declaration) -> str:
    former = declaration.variables[1:]
    return (
        declaration.meaning
        + ("; a secret" if declaration.secret else "")
        + "".join(f"; its former name `{name}` still works" for name in former)
    )


def exit_codes_table() -> list[str]:
    """Every exit code and what it means."""
    return [
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
    ]


def reasons_table() -> list[str]:
    """Every reason, the status it belongs to, and what it means."""
    rows = [f"| `{reason}` | {status} | {text} |" for reason, (status, text) in REASONS.items()]
    return ["| reason | status | what it says |", "|---|---|---|", *rows]


def commands_table() -> list[str]:
    """Every command with its arguments, and its help."""
    rows = [f"| `{usage}` | {_help(command)} |" for usage, command in _commands(main, "")]
    return ["| command | what it does |", "|---|---|", *rows]


def command_sections() -> list[str]:
    """Every command as a section: usage, help, options. What all commands of a group share is listed with the group."""
    lines: list[str] = []
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            lines += _group_sections(name, command)
        else:
            usage = _usage(command, name)
            lines += _section(usage, _help(command), _option_rows(command), otherwise="It has no options.")
    return lines[1:]


def _group_sections(name: str, group: click.Group) -> list[str]:
    rows = [_option_rows(command) for command in group.commands.values()]
    shared = [row for row in rows[0] if all(row in others for others in rows[1:])]
    about = _help(group) + (" Each of its commands has these options:" if shared else "")
    lines = _section(f"{name} COMMAND", about, shared, otherwise="Its commands share no options.")
    for (own_name, command), own in zip(group.commands.items(), rows, strict=True):
        usage = _usage(command, f"{name} {own_name}")
        mine = [row for row in own if row not in shared]
        lines += _section(usage, _help(command), mine, otherwise="It has no options of its own.")
    return lines


def _section(usage: str, text: str, rows: list[str], *, otherwise: str) -> list[str]:
    table = ["| option | default | what it does |", "|---|---|---|", *rows] if rows else [otherwise]
    return ["", f"## `{usage}`", "", text, "", *table]


def _option_rows(command: click.Command) -> list[str]:
    context = click.Context(command)
    return [_option_row(param, context) for param in command.params if isinstance(param, click.Option)]


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Commands in the order in which they were added, those of subgroups too, each with its usage."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield _usage(command, prefix + name), command


def _usage(command: click.Command, name: str) -> str:
    context = click.Context(command)
    words = [
        param.make_metavar(context) if isinstance(param, click.Argument) else _spelled(param, context)
        for param in command.params
        if isinstance(param, click.Argument) or param.required
    ]
    return " ".join([name, *words])


def _help(command: click.Command) -> str:
    return " ".join((command.help or "").split())


def _spelled(option: click.Parameter, context: click.Context) -> str:
    """An option as it is typed, like ``--buckets TEXT`` or ``--deleted / --no-deleted``."""
    names = " / ".join((*option.opts, *option.secondary_opts))
    return names if getattr(option, "is_flag", False) else f"{names} {option.make_metavar(context)}"


def _option_row(option: click.Option, context: click.Context) -> str:
    default = f"`{_shown_default(option)}`" if option.show_default else "required" if option.required else ""
    return re.sub("  +", " ", f"| `{_cell(_spelled(option, context))}` | {default} | {_cell(option.help or '')} |")


def _shown_default(option: click.Option) -> Any:
    if option.is_flag:
        return (option.opts if option.default else option.secondary_opts)[0]
    return option.default


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def state_files_table() -> list[str]:
    """Every file of ours in the root: what it is made from, and who makes it again."""
    rows = [f"| {each.name} | `{each.pattern}` | {each.made_from} | {each.by} |" for each in STATE_FILES]
    return ["| file | path below ROOT | made from | made again by |", "|---|---|---|---|", *rows]


#: page -> name of a mark -> what belongs there
SECTIONS: Final[dict[str, dict[str, Callable[[], list[str]]]]] = {
    "README.md": {
        "commands": commands_table,
        "exit codes": exit_codes_table,
        "settings": settings_table,
        "reasons": reasons_table,
    },
    "docs/commands.md": {"commands": command_sections},
    "docs/runbook.md": {"state files": state_files_table},
}


def section_of(text: str, name: str) -> re.Match[str]:
    """What stands between two marks of a page, as group 1.

    Raises:
        ValueError: the page has no such marks.
    """
    match = re.search(rf"(?<=<!-- {name} -->\n)(.*?)(?=<!-- /{name} -->)", text, flags=re.DOTALL)
    if match is None:
        raise ValueError(f"there are no marks <!-- {name} --> and <!-- /{name} -->; put them where it belongs")
    return match


def write_reference(checkout: Path = CHECKOUT) -> None:
    """Bring the pages of a checkout up to date."""
    for page, sections in SECTIONS.items():
        path = checkout / page
        text = path.read_text()
        for name, render in sections.items():
            match = section_of(text, name)
            text = text[: match.start()] + "".join(f"{line}\n" for line in render()) + text[match.end() :]
        path.write_text(text)


if __name__ == "__main__":
    write_reference()
