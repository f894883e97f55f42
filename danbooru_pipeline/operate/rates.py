"""What work costs, as benchmarks measured it: the figures that `plan` reckons with.

`rates.json` beside this module has them. ``python -m benchmarks.images --record`` and ``python -m benchmarks.scale
FOLDER POSTS --record`` write what they measured there, and nothing else says them again.
"""

import functools
from pathlib import Path
from typing import Final

import msgspec

PATH: Final = Path(__file__).with_name("rates.json")


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of one machine, measured.

    Attributes:
        image_cpu_seconds_per_mb: to check, optimise, hash and shrink originals, half of their bytes JPG and half PNG.
        px512_bytes: mean size of a 512px image, of illustrations.
        px512_share: share of posts that get one.
        metadata_bytes_per_post: all forms of a post's metadata in a release.
        release_cpu_seconds_per_post: from posts in bulk to a verified release, without images.
    """

    image_cpu_seconds_per_mb: float
    px512_bytes: int
    px512_share: float
    metadata_bytes_per_post: int
    release_cpu_seconds_per_post: float


@functools.cache
def measured_rates() -> Rates:
    """The figures in force."""
    return msgspec.json.decode(PATH.read_bytes(), type=Rates)


def with_figures(figures: dict[str, float]) -> bytes:
    """The file with some figures measured again.

    Raises:
        msgspec.ValidationError: one is unknown, or of another type.
    """
    known: dict[str, float] = msgspec.json.decode(PATH.read_bytes())
    rates = msgspec.convert(known | figures, Rates)
    return msgspec.json.format(msgspec.json.encode(rates), indent=1) + b"\n"
