"""Errors of libvips, whatever bytes of a file it quotes in them."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyvips


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise `pyvips.Error` also where the text of an error is not UTF-8, as a box of an AVIF may be named.

    pyvips decodes the text before it clears it, so it would raise the same for every later error of this process.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        pyvips.vips_lib.vips_error_clear()
        text = bytes(error.object).decode("utf-8", "replace")
        raise pyvips.Error("libvips failed", text) from error
