"""Walk the boxes of an AVIF: frames, and whether the file is whole. Never raises, whatever the bytes are."""

from dataclasses import dataclass

_MAX_BOXES = 1000  # at the top there are three to five


@dataclass(frozen=True, slots=True)
class AvifWalk:
    """What the boxes say.

    Attributes:
        frames: samples of an image sequence, None for a still picture.
        truncated: the file stops inside a box.
    """

    frames: int | None
    truncated: bool


def walk_avif(data: bytes) -> AvifWalk:
    """Follow the boxes at the top of the file."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            break
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:  # the size follows, in 64 bits
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # up to the end of the file
            at = len(data)
            break
        at += max(8, size)
    return AvifWalk(_frames(data), truncated=at > len(data))


def _frames(data: bytes) -> int | None:
    """The count in the first sample size box of a sequence; the decoder only knows the still picture beside it."""
    if data[8:12] != b"avis":
        return None
    at = data.find(b"stsz")
    return int.from_bytes(data[at + 12 : at + 16], "big") if at >= 0 else None
