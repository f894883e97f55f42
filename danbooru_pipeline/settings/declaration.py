"""What is declared about one setting, beside its name and type: default, meaning, unit, secrecy, former name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, Field

PREFIX: Final = "DANBOORU_"


def setting(
    meaning: str,
    *,
    default: Any = None,
    default_factory: Callable[[], Any] | None = None,
    default_text: str = "",
    unit: str = "",
    secret: bool = False,
    allow_empty: bool = False,
    former_name: str = "",
) -> Any:
    """Declare a setting as a field of `Settings`.

    Args:
        meaning: what it is, as the README says it (one line of Markdown).
        default: value when the variable is unset.
        default_factory: makes that value, when it depends on the machine.
        default_text: the default in words (Markdown), when the value does not speak for itself.
        unit: of the value.
        secret: never shown: not in a repr, a complaint, a listing or a log.
        allow_empty: an empty value is meaningful; elsewhere it means unset.
        former_name: older name of the variable, without its prefix. It is read when the new one is unset.
    """
    extra: dict[str, Any] = {
        "default_text": default_text,
        "unit": unit,
        "secret": secret,
        "allow_empty": allow_empty,
        "former_name": former_name,
    }
    chosen: dict[str, Any] = {"default_factory": default_factory} if default_factory else {"default": default}
    return Field(description=meaning, repr=not secret, json_schema_extra=extra, **chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """One setting, as it was declared; `setting` explains the fields.

    Attributes:
        field: its name in `Settings`.
        default: None where the default depends on the machine; `default_text` then says how.
    """

    field: str
    meaning: str
    default: Any
    default_text: str
    unit: str
    secret: bool
    allow_empty: bool
    former_name: str

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return PREFIX + self.field.upper()

    @property
    def variables(self) -> tuple[str, ...]:
        """All names that are read, the first of them that is set wins."""
        return (self.variable, *([PREFIX + self.former_name] if self.former_name else []))


def declarations_of(model: type[BaseModel]) -> tuple[Declaration, ...]:
    """All settings of a model whose fields are declared by `setting`, in their order."""
    found = []
    for name, field in model.model_fields.items():
        extra: Any = field.json_schema_extra
        default = None if field.default_factory else field.default
        found.append(Declaration(field=name, meaning=field.description or "", default=default, **extra))
    return tuple(found)
