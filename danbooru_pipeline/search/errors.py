"""What can be wrong with a search. The message is one line, and says where in the text the mistake is.

::

    DanbooruPipelineError
    └── BadSearch        the text is not a search       a ValueError, too
        └── UnknownTag   no post of the release has a tag that posts must have
"""

from collections.abc import Sequence

from danbooru_pipeline.errors import DanbooruPipelineError, on_one_line

_SHOWN = 60


class BadSearch(DanbooruPipelineError, ValueError):  # noqa: N818 - the name says what is wrong
    """The text is not a search.

    Attributes:
        position: of the mistake in the text, from 0.
        suggestions: what may have been meant, the likeliest first.
    """

    def __init__(self, message: str, *, position: int = 0, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.position = position
        self.suggestions = tuple(suggestions)

    @property
    def sentence(self) -> str:
        """What is wrong, without the position."""
        meant = f" (did you mean {' or '.join(map(shown, self.suggestions))}?)" if self.suggestions else ""
        return f"{self.args[0]}{meant}"

    def __str__(self) -> str:
        return f"search, position {self.position + 1}: {self.sentence}"


class UnknownTag(BadSearch):
    """No post of the release has a tag that posts must have, so nothing can be found."""


def shown(text: str, *, most: int = _SHOWN) -> str:
    """Part of a search for a message: on one line, and not too long."""
    line = on_one_line(text[: most + 1])
    return line if len(line) <= most else f"{line[:most]}…"
