"""What decides the bytes of a release's images: the choices of an operator, and what is fixed. No pixels here."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

#: What is put behind transparent pictures; ``contrast`` chooses between them and grey.
Background = Literal["white", "black", "contrast"]
#: Whether JPG originals are kept as they are, or as JPEG XL.
JpgArchive = Literal["off", "jxl"]
#: The worst case takes 3.3 bytes per pixel (progressive and interlaced pictures), which fits into a worker's 2 GiB.
MAX_PIXELS: Final = 200_000_000
#: How every 512px image is made, for RELEASE.json. Increase `px512_rules` when the same settings give
#: other bytes, or other perceptual hashes.
FIXED: Final[dict[str, Any]] = {
    "px512_encoding": "baseline JPEG, 4:4:4, optimised Huffman tables, no metadata",
    "px512_color": "sRGB; ICC profiles, PNG cICP, gAMA and cHRM, and AVIF nclx are applied; PQ and HLG are tone-mapped",
    "px512_rules": 7,
    "jpg_optimizer": "mozjpeg, lossless, all markers kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """The choices that decide the bytes of a release's images.

    Attributes:
        png_level: oxipng's level, 0-6.
        px512_quality: JPEG quality of the 512px images.
        px512_size: their side in pixels.
        max_pixels: larger pictures are not decoded.
        background: what is put behind transparent pictures.
        jpg_archive: ``jxl`` stores JPG originals as JPEG XL, from which they can be restored byte for byte.
    """

    png_level: int = 2
    px512_quality: int = 90
    px512_size: int = 512
    max_pixels: int = MAX_PIXELS
    background: Background = "contrast"
    jpg_archive: JpgArchive = "off"

    def as_dict(self) -> dict[str, Any]:
        """The choices and the fixed part, for RELEASE.json."""
        return asdict(self) | FIXED

    def fingerprint(self) -> str:
        """A short hash that changes exactly when 512px images would; lossless optimisation does not change it."""
        return fingerprint_of(self.as_dict())


def fingerprint_of(choices: Mapping[str, Any]) -> str:
    """The fingerprint of settings as RELEASE.json has them (see `ImageSettings.as_dict`)."""
    text = ",".join(
        f"{name}={value}"
        for name, value in sorted(choices.items())
        if name.startswith("px512") or name in {"background", "max_pixels"}
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
