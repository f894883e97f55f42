"""An interrupted download: the bytes received so far, beside the target, and the validator of their entity.

The file name says which post's file it is and its MD5, so the next process can resume what a killed one left. It
resumes only if the server confirms that the entity is unchanged; the whole file is checked against its MD5 anyway.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from danbooru_pipeline.fetch.content_encoding import declared_encoding
from danbooru_pipeline.fetch.ranges import continues, is_validator, validators
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.layout import PART_SUFFIX

#: Below this size, requesting the file again is cheaper than keeping the part of a failed download.
MIN_RESUME_BYTES: Final = 64 * 2**10
#: From this size on, the validator is written during the download, since a kill leaves no time for it.
SAVE_VALIDATOR_BYTES: Final = 2**20


class PartialFile:
    """The unfinished file of one download. Not thread-safe: it belongs to one download.

    Args:
        target: path of the finished file.
        md5: what the metadata declares for it.
    """

    def __init__(self, target: Path, md5: str) -> None:
        self.path, self.validator_path = (target.with_name(name) for name in part_names(target.name, md5))
        self.decoded_path = self.path.with_suffix(f".decoded{PART_SUFFIX}")
        self.aside_path = self.path.with_suffix(f".aside{PART_SUFFIX}")
        self._is_validator_saved = False
        self._validator = self._read_validator()

    @property
    def size(self) -> int:
        """Bytes that can be resumed; 0 without a stored validator."""
        try:
            return self.path.stat().st_size if self._validator else 0
        except FileNotFoundError:
            return 0

    def resume_headers(self) -> dict[str, str]:
        """Headers that request the rest, or the whole file if the server's entity has changed."""
        size = self.size
        return {"Range": f"bytes={size}-", "If-Range": self._validator} if size else {}

    def is_continued_by(self, response: httpx.Response) -> bool:
        """Whether a response is the rest of this entity: a 206 with the same validator that starts where we stopped."""
        size = self.size
        if not size:
            return False
        part = continues(response.status_code, response.headers, offset=size, validator=self._validator)
        return part is not None and part.end == part.whole

    def start_over(self, response: httpx.Response) -> None:
        """Forget the old bytes; those to come belong to the entity of this response."""
        self.remove_validator()
        known = [] if declared_encoding(response.headers) else validators(response.headers)
        self._validator = known[0] if known else ""

    def write_validator(self) -> None:
        """Store the validator, so another process can resume the download."""
        if self._validator and not self._is_validator_saved:
            write_atomic(self.validator_path, self._validator.encode())
            self._is_validator_saved = True

    def keep_for_resume(self) -> None:
        """Keep what was received for the next run, if it is large enough to be worth it."""
        if self.size >= MIN_RESUME_BYTES:
            self.write_validator()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove the bytes and their validator."""
        self._validator = ""
        self.remove_validator()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """Keep the bytes of a whole body for the length of the block, while another one is received."""
        self.remove_validator()
        self._validator = ""
        self.path.replace(self.aside_path)
        try:
            yield
        finally:
            self.aside_path.unlink(missing_ok=True)

    def take_back(self) -> None:
        """Put the bytes that were set aside in their place again."""
        self.remove_validator()
        self.aside_path.replace(self.path)

    def take_decoded(self) -> None:
        """Put the decoded bytes in the place of the encoded ones."""
        self.decoded_path.replace(self.path)

    def remove_validator(self) -> None:
        """Remove the validator's file once its bytes are gone or renamed to the target."""
        if self._is_validator_saved:
            self.validator_path.unlink(missing_ok=True)
            self._is_validator_saved = False

    def _read_validator(self) -> str:
        try:
            text = self.validator_path.read_bytes().decode("latin-1")
        except FileNotFoundError:
            return ""
        self._is_validator_saved = True
        return text if is_validator(text) else ""


def part_names(name: str, md5: str) -> tuple[str, str]:
    """File names of the received bytes and of their validator."""
    return f".{name}.{md5}{PART_SUFFIX}", f".{name}.{md5}.entity{PART_SUFFIX}"
