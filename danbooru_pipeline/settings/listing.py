"""The settings in force, for people and programs: name, value, and where it came from. Secrets show as ``***``."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from danbooru_pipeline.errors import without_login
from danbooru_pipeline.settings.environment import EnvironmentSource
from danbooru_pipeline.settings.model import Settings


class Origin(StrEnum):
    """Where a value came from."""

    ENVIRONMENT = "environment"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInForce:
    """One setting.

    Attributes:
        name: of its environment variable.
        value: as JSON has it: text, number, true or false, list of texts, or null.
        origin: where it came from.
        read_from: variable that was read, which may be a former name; None for a default.
        unit: of the value, empty when it has none.
        meaning: what it is.
    """

    name: str
    value: Any
    origin: Origin
    read_from: str | None
    unit: str
    meaning: str

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    @property
    def text(self) -> str:
        """The value on one line, as the variable would say it."""
        if isinstance(self.value, bool):
            return "on" if self.value else "off"
        if isinstance(self.value, list):
            return " ".join(self.value) or ("none" if self.origin is Origin.ENVIRONMENT else "-")
        if isinstance(self.value, float):
            return f"{self.value:g}" if self.value < 1e6 else str(self.value)
        text = "" if self.value is None else str(self.value)
        return (text if text.isprintable() else repr(text)) or "-"


def settings_in_force(environ: Mapping[str, str] = os.environ) -> list[SettingInForce]:
    """All settings in the order of their declarations; no contact is needed.

    Raises:
        SettingsError: some are not valid.
    """
    values = Settings.from_env(environ, offline=True).in_force()
    source = EnvironmentSource(Settings, environ)
    return [
        SettingInForce(
            name=declaration.variable,
            value="***" if declaration.secret and values[field] else _plain(values[field]),
            origin=Origin.ENVIRONMENT if field in source.variables else Origin.DEFAULT,
            read_from=source.variables.get(field),
            unit=declaration.unit,
            meaning=declaration.meaning,
        )
        for field, declaration in source.declarations.items()
    ]


def _plain(value: Any) -> Any:
    """A value as JSON has it. What is secret in it is left out."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path | str):
        return without_login(str(value))
    return value


def settings_lines(settings: list[SettingInForce]) -> list[str]:
    """A table: name, value, where it came from."""
    names = max(len(each.name) for each in settings)
    values = min(48, max(len(each.text) for each in settings))
    return [f"{each.name:{names}}  {each.text:{values}}  {_origin(each)}" for each in settings]


def _origin(each: SettingInForce) -> str:
    if each.read_from in {None, each.name}:
        return each.origin
    return f"{each.origin} (as {each.read_from}, its former name)"
