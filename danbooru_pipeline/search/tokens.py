"""The words of a search: what stands between blanks, parentheses apart, each with its position.

A tag may have parentheses of its own (``hatsune_miku_(append)``), and emoticons are tags (``:)``); so a parenthesis at
the end of a word closes a group only if the word has not opened it itself, and a group is open.
"""

from dataclasses import dataclass
from enum import StrEnum

from danbooru_pipeline.search.errors import BadSearch

#: Tags that end with a parenthesis, or begin with one, that nothing closes.
_FACES = frozenset({":)", ":(", ";)", ";(", ":'(", "=)", "8)", ">:)", ">:(", "):", "(:"})
#: A search is typed; what is longer was not.
_LONGEST = 100_000


class Sign(StrEnum):
    """What a token is."""

    OPEN = "("
    CLOSE = ")"
    MINUS = "-"
    TILDE = "~"
    OR = "or"
    AND = "and"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: what it is, its text, and its position."""

    sign: Sign
    text: str
    at: int


def split_tokens(text: str) -> list[Token]:
    """The tokens of a search.

    Raises:
        BadSearch: the text is too long, or a quotation mark is never closed.
    """
    if len(text) > _LONGEST:
        raise BadSearch(f"the text has more than {_LONGEST:,} characters; give a shorter one", position=_LONGEST)
    tokens: list[Token] = []
    at = depth = 0
    while at < len(text):
        letter = text[at]
        if letter.isspace():
            at += 1
        elif letter == "(" and not _is_tag(_run(text, at)):
            tokens.append(Token(Sign.OPEN, letter, at))
            depth, at = depth + 1, at + 1
        elif letter == ")" and _run(text, at) not in _FACES:
            tokens.append(Token(Sign.CLOSE, letter, at))
            depth, at = max(0, depth - 1), at + 1
        elif letter in "-~" and len(_run(text, at)) > 1:
            tokens.append(Token(Sign(letter), letter, at))
            at += 1
        else:
            word = _word(text, at, depth=depth)
            tokens.append(Token(_sign_of(word), word, at))
            at += len(word)
    return tokens


def _sign_of(word: str) -> Sign:
    return Sign(word.lower()) if word.lower() in {"or", "and"} else Sign.WORD


def _run(text: str, at: int) -> str:
    """What stands before the next blank. Nobody types more than a thousand characters of it."""
    end = at
    while end < min(len(text), at + 1000) and not text[end].isspace():
        end += 1
    return text[at:end]


def _is_tag(run: str) -> bool:
    """Whether a word that begins with a parenthesis is a tag, like ``(o)_(o)``, and no group."""
    if run in _FACES:
        return True
    close = run.find(")")
    return 0 < close < len(run) - 1 and run[close + 1] not in ")-~(" and run.count("(") == run.count(")")


def _word(text: str, at: int, *, depth: int) -> str:
    """The word that begins here, without the parentheses after it that close groups."""
    end, quoted = at, _quote_of_value(text, at)
    if quoted is not None:
        mark, start = quoted
        end = start + 1
        while end < len(text) and text[end] != mark:
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            raise BadSearch(f"the quotation mark {mark} is never closed; close it", position=start)
        return text[at : end + 1]
    while end < len(text) and not text[end].isspace():
        end += 1
    word = text[at:end]
    if word in _FACES and not (depth and ")" not in text[end:]):
        return word
    while depth and len(word) > 1 and word.endswith(")") and word.count(")") > word.count("("):
        word, depth = word[:-1], depth - 1
        if word in _FACES:
            break
    return word


def _quote_of_value(text: str, at: int) -> tuple[str, int] | None:
    """The quotation mark that begins the value of a metatag, and its position: ``source:"a b"``."""
    end = at
    while end < len(text) and (text[end].isalnum() or text[end] == "_"):
        end += 1
    is_value = end > at and text[end : end + 1] == ":" and text[end + 1 : end + 2] in {'"', "'"}
    return (text[end + 1], end + 1) if is_value else None
