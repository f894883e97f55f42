"""Review without pictures: what rules ask for or against, one tag at a time, answered by a letter in a terminal."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from danbooru_pipeline.curate.log import Verdict
from danbooru_pipeline.curate.review.queue import Sheet
from danbooru_pipeline.curate.review.session import ReviewSession

HELP: Final = "y: all show it, n: none does, ?: unsure, s: skip this tag, u: undo, q: quit; or a list like 1y 2n 3?"
_LETTERS: Final[dict[str, Verdict]] = {"y": "+", "n": "-", "?": "?"}
_LINES: Final = 12


def review_rules(session: ReviewSession, *, ask: Callable[[str], str], say: Callable[[str], None]) -> int:
    """Ask until nothing is left or the reviewer quits. Returns how many pages were saved.

    Args:
        session: whose queue has candidates of rules.
        ask: shows a prompt and returns a line; raises `EOFError` at the end of the input.
        say: shows a line.
    """
    say(HELP)
    sheet = session.next()
    while sheet is not None:
        for line in _lines(sheet):
            say(line)
        began = time.monotonic()
        try:
            said = ask("> ").strip().lower()
        except EOFError:
            break
        if said == "q":
            break
        if said == "u":
            found = session.undo()
            sheet = sheet if found is None else found[0]
        elif said == "s":
            session.skip(sheet.number)
            sheet = session.next()
        elif (verdicts := read_answer(said, sheet)) is None:
            say(f"{said!r} is no answer; {HELP}")
        else:
            session.save(sheet.number, verdicts, ms=int(1000 * (time.monotonic() - began)))
            sheet = session.next()
    return session.saved


def _lines(sheet: Sheet) -> Iterator[str]:
    asked = "is it right" if sheet.asked == "-" else "is it missing"
    yield f"{sheet.tag}: {asked} on {len(sheet.questions)} posts?"
    for number, each in enumerate(sheet.questions[:_LINES], start=1):
        yield f"  {number:2d}  post {each.post}: {each.evidence}"
    if len(sheet.questions) > _LINES:
        yield f"      … and {len(sheet.questions) - _LINES} more for the same kind of reason"


def read_answer(said: str, sheet: Sheet) -> dict[int, Verdict] | None:
    """The verdicts that a line means; None if it means none. What a list leaves out is unsure."""
    if said in _LETTERS:
        return {each.post: _LETTERS[said] for each in sheet.questions}
    found: dict[int, Verdict] = {}
    for word in said.split():
        number, letter = word[:-1], word[-1]
        if letter not in _LETTERS or not number.isdecimal() or not 1 <= int(number) <= len(sheet.questions):
            return None
        found[sheet.questions[int(number) - 1].post] = _LETTERS[letter]
    return found or None
