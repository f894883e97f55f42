"""Parses searches in the site's language into `Search`, and knows nothing of any release.

::

    search := group                     group := all { "or" all }
    all    := factor { ["and"] factor } factor := { "-" | "~" } ( "(" group ")" | word )

Of several factors with ``~`` a post must meet at least one. A word is a metatag if it is named like one, else a tag;
with ``*`` it is a pattern of tags.
"""

import difflib
from dataclasses import dataclass, field
from typing import Final

from danbooru_pipeline.search.errors import BadSearch, shown
from danbooru_pipeline.search.metatags import METATAGS, UNSUPPORTED, read_order, whole_number
from danbooru_pipeline.search.nodes import And, Node, Not, Or, Order, Pool, Search, Tag, Wildcard
from danbooru_pipeline.search.tokens import Sign, Token, split_tokens

#: Metatags that say how many posts are wanted, and in which order.
OPTIONS: Final = ("order", "limit", "random", "seed")
_DEEPEST: Final = 100


@dataclass(frozen=True, slots=True)
class _Factor:
    """A condition, and whether it is one of those of which one is enough."""

    node: Node
    is_optional: bool


@dataclass(slots=True)
class _Parser:
    """The tokens of a search, read from the left."""

    tokens: list[Token]
    end: int
    next: int = 0
    order: Order | None = None
    numbers: dict[str, int] = field(default_factory=dict)

    def peek(self) -> Token | None:
        return self.tokens[self.next] if self.next < len(self.tokens) else None

    def take(self) -> Token:
        self.next += 1
        return self.tokens[self.next - 1]

    def group(self, depth: int) -> Node:
        if depth > _DEEPEST:
            raise BadSearch(f"parentheses are nested deeper than {_DEEPEST}; use fewer", position=self._at())
        parts = [self.all(depth)]
        while (token := self.peek()) is not None and token.sign is Sign.OR:
            self.take()
            parts.append(self.all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def all(self, depth: int) -> Node:
        start = self.next
        needed: list[Node] = []
        optional: list[Node] = []
        while (token := self.peek()) is not None and token.sign not in {Sign.OR, Sign.CLOSE}:
            if token.sign is Sign.AND:
                self._require_factors(start, token)
                self.take()
                self._require_more(token)
                continue
            factor = self.factor(depth)
            if factor is not None:
                (optional if factor.is_optional else needed).append(factor.node)
        if self.next == start and (token is not None or start):
            at = self._at()
            before = self.tokens[start - 1].text if start else ""
            raise BadSearch(
                f"nothing stands {f'after {before!r}' if before else f'before {token.text if token else chr(32)!r}'}; "
                "put a tag there, or remove it",
                position=at,
            )
        if optional:
            needed.append(optional[0] if len(optional) == 1 else Or(tuple(optional)))
        return needed[0] if len(needed) == 1 else And(tuple(needed))

    def factor(self, depth: int) -> _Factor | None:
        """One condition; None for a metatag that is an option."""
        minus = tilde = False
        first = self.peek()
        while (token := self.peek()) is not None and token.sign in {Sign.MINUS, Sign.TILDE}:
            self.take()
            minus ^= token.sign is Sign.MINUS
            tilde |= token.sign is Sign.TILDE
        if token is None or token.sign in {Sign.OR, Sign.AND, Sign.CLOSE}:
            sign = self.tokens[self.next - 1]
            raise BadSearch(f"nothing stands after {sign.text!r}; put a tag there, or remove it", position=sign.at)
        if token.sign is Sign.OPEN:
            node: Node | None = self.parenthesis(depth)
        else:
            node = self.word(self.take(), is_bare=first is token and depth == 0)
        if node is None:
            return None
        return _Factor(Not(node) if minus else node, tilde)

    def parenthesis(self, depth: int) -> Node:
        opened = self.take()
        node = self.group(depth + 1)
        closing = self.peek()
        if closing is None:
            raise BadSearch("the parenthesis is never closed; close it", position=opened.at)
        self.take()
        return node

    def word(self, token: Token, *, is_bare: bool) -> Node | None:
        """A tag, a pattern or a metatag; None for an option, which is only allowed as a bare word."""
        name, colon, value = token.text.partition(":")
        name = name.lower()
        if colon and name in OPTIONS:
            if not is_bare:
                raise BadSearch(
                    f"{name}: cannot be excluded, optional or in parentheses; move it out", position=token.at
                )
            self.option(name, token)
            return None
        if colon and name in METATAGS:
            node = _metatag(name, token)
            return Pool(node.name, token.at) if isinstance(node, Pool) else node
        if colon and value and name in UNSUPPORTED:
            raise BadSearch(f"{name}: cannot be searched for: {UNSUPPORTED[name]}", position=token.at)
        return Wildcard(token.text, token.at) if "*" in token.text else Tag(token.text, token.at)

    def option(self, name: str, token: Token) -> None:
        value = token.text.partition(":")[2]
        try:
            if name == "order":
                compared, ascending = (None, False) if value.lower() == "none" else read_order(value)
                self.order = None if compared is None else Order(field=compared, ascending=ascending)
            else:
                self.numbers[name] = whole_number(value)
        except ValueError as error:
            raise _bad_value(name, value, token, str(error)) from None

    def _at(self) -> int:
        token = self.peek()
        return self.end if token is None else token.at

    def _require_factors(self, start: int, token: Token) -> None:
        if self.next == start:
            raise BadSearch("nothing stands before 'and'; put a tag there, or remove it", position=token.at)

    def _require_more(self, token: Token) -> None:
        following = self.peek()
        if following is None or following.sign in {Sign.OR, Sign.AND, Sign.CLOSE}:
            raise BadSearch("nothing stands after 'and'; put a tag there, or remove it", position=token.at)


def parse(text: str) -> Search:
    """A search as it is typed.

    Raises:
        BadSearch: the text is not one; it says where, and what may have been meant.
    """
    parser = _Parser(split_tokens(text), len(text))
    root = parser.group(0) if parser.tokens else And()
    if (left := parser.peek()) is not None:
        raise BadSearch("nothing opens this parenthesis; remove it", position=left.at)
    return Search(root=root, order=parser.order, **parser.numbers)


def _metatag(name: str, token: Token) -> Node:
    value = _unquoted(token.text[len(name) + 1 :])
    if not value:
        raise BadSearch(f"{name}: needs a value, like {METATAGS[name].example}", position=token.at)
    try:
        return METATAGS[name].read(value)
    except ValueError as error:
        raise _bad_value(name, value, token, str(error)) from None


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        letters = iter(value[1:-1])
        return "".join(next(letters, "") if letter == "\\" else letter for letter in letters)
    return value


def _bad_value(name: str, value: str, token: Token, why: str) -> BadSearch:
    known = [word.strip(",") for word in why.partition("only ")[2].split()]
    close = difflib.get_close_matches(value.lower()[:50], known, n=2)
    return BadSearch(
        f"{name}:{shown(value)} is not possible: {name} {shown(why, most=1000)}",
        position=token.at + len(name) + 1,
        suggestions=[f"{name}:{word}" for word in close],
    )
