"""What can go wrong when a release is read from Python. Each error is also the built-in one that a reader would expect.

::

    ReleaseError
    ├── NotARelease          the folder is not a release (see `danbooru_pipeline.errors`)
    ├── BadQuery             `columns`, `where` or another argument does not fit      a ValueError
    ├── UnknownName          there is no such table or column                         a KeyError
    └── NoImage              the release has no such file of this post                a KeyError

What is wrong with the text of a search is in `danbooru_pipeline.search.errors`.
"""

from danbooru_pipeline.errors import ReleaseError


class BadQuery(ReleaseError, ValueError):  # noqa: N818 - the family name is the suffix
    """`columns`, `where` or another argument asks for something that the table cannot answer."""


class UnknownName(ReleaseError, KeyError):  # noqa: N818
    """The release has no table, or the table no column, of this name. The message names close ones."""

    # KeyError would print the message with quotes around it.
    __str__ = Exception.__str__


class NoImage(ReleaseError, KeyError):  # noqa: N818
    """The release has no such file of a post.

    Attributes:
        post_id: the post.
        kind: ``512px`` or ``original``.
        status, reason: the manifest's, for this file; None when the release does not have the post.
    """

    __str__ = Exception.__str__

    # All have defaults, since an exception that crosses processes is made again from its message alone.
    def __init__(
        self, message: str, *, post_id: int = 0, kind: str = "", status: str | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.post_id = post_id
        self.kind = kind
        self.status = status
        self.reason = reason
