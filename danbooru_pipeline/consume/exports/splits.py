"""Splits of posts for training, validation and test: by a hash of the id, so a post stays in its split for ever."""

import hashlib
from dataclasses import dataclass
from typing import Final

from danbooru_pipeline.errors import SettingsError

NAMES: Final = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How posts are split.

    Attributes:
        splits: percent of train, validation and test, like ``(90, 5, 5)``; empty for no splits.
    """

    splits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.splits and (
            len(self.splits) != len(NAMES)
            or not all(part.isdecimal() for part in self.splits)
            or sum(map(int, self.splits)) != 100
        ):
            raise SettingsError(
                f"--splits {','.join(self.splits)} are not three percentages of 100; give some like 90,5,5"
            )

    def split_of(self, post_id: int) -> str:
        """The split of a post; empty without splits."""
        if not self.splits:
            return ""
        # As a fraction of 10,000, so that a change of one percentage moves no more posts than it must.
        place = int.from_bytes(hashlib.sha256(b"%d" % post_id).digest()[:8]) % 10_000
        train, validation, _ = (int(part) * 100 for part in self.splits)
        return NAMES[0] if place < train else NAMES[1] if place < train + validation else NAMES[2]
