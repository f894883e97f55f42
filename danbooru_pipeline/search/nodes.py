"""A search as values: what posts must meet, in which order they come, and how many of them."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Range:
    """Values from `low` to `high`; None is no bound.

    Attributes:
        open_low, open_high: the bound itself is outside.
    """

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False


@dataclass(frozen=True, slots=True)
class Tag:
    """Posts that have a tag, as it was typed. `at` is its place in the text."""

    name: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Posts that have a tag of this pattern, in which ``*`` stands for any characters."""

    pattern: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Among:
    """Posts for which a field has one of some values, like ``rating:g,s``."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """Posts for which a number is in one of some ranges."""

    field: str
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """Posts for which a field has any value."""

    field: str


@dataclass(frozen=True, slots=True)
class Text:
    """Posts for which a text matches a pattern, in which ``*`` stands for any characters; case does not count."""

    field: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Posts of a pool, by its number or by its name, which may have wildcards."""

    name: str
    at: int = 0


@dataclass(frozen=True, slots=True)
class Not:
    """All posts but those of another condition."""

    part: "Node"


@dataclass(frozen=True, slots=True)
class And:
    """Posts that meet all of some conditions; of none: all posts."""

    parts: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """Posts that meet at least one of some conditions."""

    parts: tuple["Node", ...]


Node: TypeAlias = Tag | Wildcard | Among | Within | Present | Text | Pool | Not | And | Or


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order of posts: by a number, the largest first, or the smallest first; among equals the newest first."""

    field: str = "id"
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A whole search.

    Attributes:
        root: what posts must meet.
        order: None when the text has none.
        limit: most posts; those that come first in the order, the newest without one.
        random: that many posts, chosen by a hash of `seed` and id, so they are the same each time.
        seed: of that choice, and of ``order:random``.
    """

    root: Node = And()
    order: Order | None = None
    limit: int | None = None
    random: int | None = None
    seed: int = 0


def describe(node: Node) -> str:
    """A condition as text, for explanations."""
    if isinstance(node, And):
        return f"({' '.join(map(describe, node.parts))})" if node.parts else "everything"
    if isinstance(node, Or):
        return f"({' or '.join(map(describe, node.parts))})"
    return f"-{describe(node.part)}" if isinstance(node, Not) else _leaf_text(node)


def _leaf_text(node: Tag | Wildcard | Among | Within | Present | Text | Pool) -> str:
    match node:
        case Tag(text) | Wildcard(text):
            return text
        case Among(field, values):
            return f"{field}:{','.join(values)}"
        case Within(field, ranges):
            return f"{field}:{','.join(map(_range_text, ranges))}"
        case Text(field, pattern):
            return f"{field}:{pattern}"
        case Present(field):
            return f"{field}:any"
    return f"pool:{node.name}"


def _range_text(each: Range) -> str:
    if each.low == each.high and each.low is not None:
        return f"{each.low:g}" if isinstance(each.low, float) else str(each.low)
    if each.high is None:
        return f">{'' if each.open_low else '='}{each.low}"
    if each.low is None:
        return f"<{'' if each.open_high else '='}{each.high}"
    return f"{each.low}..{'.' if each.open_high else ''}{each.high}"
