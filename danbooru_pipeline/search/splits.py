"""The splits for training, validation and test: by a hash of the id, so a post stays in its split for ever."""

import hashlib
from collections.abc import Sequence
from typing import Final

NAMES: Final = ("train", "validation", "test")
#: Percent of each, where nobody says otherwise.
USUAL: Final = (90, 5, 5)


def split_of(post_id: int, percents: Sequence[int] = USUAL) -> str:
    """The split of a post."""
    # As a fraction of 10,000, so that a change of one percentage moves no more posts than it must.
    place = int.from_bytes(hashlib.sha256(b"%d" % post_id).digest()[:8]) % 10_000
    train, validation, _ = (part * 100 for part in percents)
    return NAMES[0] if place < train else NAMES[1] if place < train + validation else NAMES[2]
