"""The boxes of an AVIF: how many frames it has, and whether it is whole. Never raises on any bytes."""

from dataclasses import dataclass

_MAX_BOXES = 1000  # real files have three to five at the top level


@dataclass(frozen=True, slots=True)
class AvifWalk:
    """What the boxes say.

    Attributes:
        frames: samples of an image sequence; None for a still picture.
        truncated: whether the file ends inside a box.
    """

    frames: int | None
    truncated: bool


def walk_avif(data: bytes) -> AvifWalk:
    """Walk the boxes at the top level."""
    at = 0
    for _ in range(_MAX_BOXES):
        if at + 8 > len(data):
            break
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:  # the box runs to the end of the file
            at = len(data)
            break
        at += max(8, size)
    return AvifWalk(_frames(data), truncated=at > len(data))


def _frames(data: bytes) -> int | None:
    """The sample count in the first `stsz` box of a sequence; the decoder sees only the still picture beside it."""
    if data[8:12] != b"avis":
        return None
    at = data.find(b"stsz")
    return int.from_bytes(data[at + 12 : at + 16], "big") if at >= 0 else None
