"""Environment variables as texts of settings, and complaints about them. Nothing else is ever read.

pydantic-settings' own source is not used: it reads names in any case, takes an empty value for a value, wants lists as
JSON, and does not say which of two names a value came from.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from danbooru_pipeline.settings.declaration import PREFIX, Declaration, declarations_of


class EnvironmentSource(PydanticBaseSettingsSource):
    """The texts that an environment has for the settings of a model.

    Attributes:
        declarations: field -> its declaration.
        variables: field -> variable that its text was read from; only for those that are set.
    """

    def __init__(self, model: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(model)
        self.declarations: dict[str, Declaration] = {each.field: each for each in declarations_of(model)}
        self._environ = environ
        self.variables: dict[str, str] = {
            field: variable
            for field, declaration in self.declarations.items()
            if (variable := self._variable_set(declaration)) is not None
        }

    def _variable_set(self, declaration: Declaration) -> str | None:
        """The first of a setting's variables that is set; an empty one is unset, unless emptiness has a meaning."""
        for variable in declaration.variables:
            text = self._environ.get(variable)
            if text is not None and (text.strip() or declaration.allow_empty):
                return variable
        return None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - of the base
        """The text of a field without blanks around it, None when it is unset; its key; and that it is not JSON."""
        variable = self.variables.get(field_name)
        return (None if variable is None else self._environ[variable].strip()), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Field -> text, for `BaseSettings`."""
        return {field: self._environ[variable].strip() for field, variable in self.variables.items()}

    def complaints(self, error: ValidationError) -> Iterator[str]:
        """One line for each text that is not valid: what it is, and what to set instead."""
        for problem in error.errors(include_url=False, include_input=False):
            field = str(problem["loc"][0])
            variable = self.variables[field]
            shown = "'***'" if self.declarations[field].secret else _shown(self._environ[variable].strip())
            wanted = problem.get("ctx", {}).get("error", problem["msg"])
            yield f"{variable} is {shown}, which is not valid; set it to {wanted}"


def _shown(text: str) -> str:
    """A refused text in quotes, on one line. What stands before an @ may be a login in an address that allows none."""
    return repr(re.sub(r"^.*@", "***@", text, flags=re.DOTALL))


#: Read by docker-compose.yml, whose `env_file` hands it on to the containers, too.
_OF_COMPOSE: Final = frozenset({"DANBOORU_DATA"})


def unknown_variables(model: type[BaseSettings], environ: Mapping[str, str]) -> list[str]:
    """Names that look like a setting and are not: most likely misspelt."""
    known = {variable for each in declarations_of(model) for variable in each.variables}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known | _OF_COMPOSE)
