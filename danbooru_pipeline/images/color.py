"""Colour that a file states by numbers instead of a profile (PNG `cICP`, `gAMA`, `cHRM`; AVIF `nclx`), made sRGB.

PNG's third edition decides what counts: `cICP`, then the profile, then `sRGB`, then `gAMA` with `cHRM`. Arithmetic on a
picture that is small already; HDR is tone-mapped by the rule of `_tone_map`. Nothing here reads pixels from a file.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[np.float64]
#: x and y of red, green, blue and white.
Chromaticities = tuple[float, ...]

_D65, _D50_WHITE_C, _DCI_WHITE = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
SRGB_PRIMARIES: Final[Chromaticities] = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
#: Colour primaries of ITU-T H.273; others, and 2 (unspecified), are taken for those of sRGB.
_PRIMARIES: Final[dict[int, Chromaticities]] = {
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_D50_WHITE_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_DCI_WHITE),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}
#: Transfer characteristics that are plain powers. 1, 6, 14 and 15 (BT.709 and its like) are shown as sRGB.
_GAMMAS: Final = {4: 2.2, 5: 2.8, 8: 1.0}
_PQ, _HLG = 16, 18
_HDR: Final = frozenset({_PQ, _HLG})
#: Light of SDR's white, and of the brightest highlight that is told from others, in cd/m² (BT.2408).
_WHITE_NITS, _PEAK_NITS = 203.0, 1000.0
#: Below this share of SDR's white nothing is changed by the tone mapping.
_KNEE: Final = 0.75
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@dataclass(frozen=True, slots=True)
class StatedColor:
    """What a file says about its values.

    Attributes:
        primaries: the chromaticities of its red, green, blue and white.
        gamma: the exponent that gives light; None for sRGB's own curve.
        transfer: 16 for PQ and 18 for HLG, as in ITU-T H.273; None for `gamma`.
        narrow: whether values run from 16 to 235 instead of 0 to 255.
    """

    primaries: Chromaticities = SRGB_PRIMARIES
    gamma: float | None = None
    transfer: int | None = None
    narrow: bool = False

    @property
    def is_hdr(self) -> bool:
        """Whether it is tone-mapped."""
        return self.transfer in _HDR

    @property
    def is_srgb(self) -> bool:
        """Whether there is nothing to do; a tolerance, since `gAMA` and `cHRM` of sRGB are rounded in many ways."""
        near = np.allclose(self.primaries, SRGB_PRIMARIES, atol=0.006)
        usual = self.gamma is None or abs(self.gamma / 2.2 - 1) < 0.05
        return bool(near and usual and not self.is_hdr and not self.narrow)


def from_cicp(primaries: int, transfer: int, *, narrow: bool = False) -> StatedColor:
    """Colour by the code points of ITU-T H.273."""
    return StatedColor(
        primaries=_PRIMARIES.get(primaries, SRGB_PRIMARIES),
        gamma=_GAMMAS.get(transfer),
        transfer=transfer if transfer in _HDR else None,
        narrow=narrow,
    )


def from_gamma(gamma: float, primaries: Chromaticities | None) -> StatedColor:
    """Colour by `gAMA` and, if there is one, `cHRM`. The curve of sRGB itself is meant by the gamma of 1 / 2.2."""
    stated = StatedColor(primaries or SRGB_PRIMARIES, gamma=gamma)
    return StatedColor(stated.primaries) if abs(gamma / 2.2 - 1) < 0.05 else stated


def to_srgb(values: npt.NDArray[np.generic], stated: StatedColor) -> npt.NDArray[np.uint8]:
    """Convert height × width × bands (grey or RGB, possibly with alpha; 8 or 16 bits) to 8 bits of sRGB."""
    most = 65535.0 if values.dtype == np.uint16 else 255.0
    bands = values.shape[2]
    colors = bands - (bands + 1) % 2  # 1 of 1 and 2, 3 of 3 and 4
    color = values[..., :colors].astype(np.float64) / most
    if stated.narrow:
        color = np.clip((color * 255 - 16) / 219, 0, 1)
    light = _light(color, stated)
    if colors == 3:
        light = light @ _matrix_to_srgb(stated.primaries).T
    if stated.is_hdr:
        light = _tone_map(light)
    out = np.empty(values.shape, np.uint8)
    out[..., :colors] = np.rint(_encode(np.clip(light, 0, 1)) * 255)
    if bands > colors:
        out[..., colors:] = np.rint(values[..., colors:].astype(np.float64) / most * 255)
    return out


def _light(color: _Array, stated: StatedColor) -> _Array:
    """Linear light; 1 is SDR's white."""
    if stated.transfer == _PQ:
        root = color ** (32 / 2523)
        nits = 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (8192 / 1305)
        return nits / _WHITE_NITS
    if stated.transfer == _HLG:
        scene = np.where(color <= 0.5, color**2 / 3, (np.exp((color - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        weights = np.array([0.2627, 0.6780, 0.0593]) if scene.shape[2] == 3 else np.array([1.0])
        brightness = np.maximum(scene @ weights, 1e-9)[..., np.newaxis]
        return np.asarray(_PEAK_NITS / _WHITE_NITS * brightness**0.2 * scene)
    if stated.gamma is not None:
        return np.asarray(color**stated.gamma)
    return np.asarray(np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4))


def _tone_map(light: _Array) -> _Array:
    """Keep the lower three quarters and bend what is above towards the peak, by one factor for all bands of a pixel.

    Above the knee it is Reinhard's curve with a white point: it leaves the knee with slope 1 and reaches 1 at the peak.
    """
    brightest = light.max(axis=2, keepdims=True)
    over = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    peak = (_PEAK_NITS / _WHITE_NITS - _KNEE) / (1 - _KNEE)
    bent = _KNEE + (1 - _KNEE) * np.minimum(1, over * (1 + over / peak**2) / (1 + over))
    return np.asarray(light * np.where(brightest > _KNEE, bent / np.maximum(brightest, 1e-9), 1.0))


def _encode(light: _Array) -> _Array:
    return np.asarray(np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055))


@cache
def _matrix_to_srgb(primaries: Chromaticities) -> _Array:
    """From linear light of these primaries to that of sRGB, with its white made sRGB's (Bradford)."""
    source, target = _to_xyz(primaries), _to_xyz(SRGB_PRIMARIES)
    cones = _BRADFORD @ target.sum(axis=1) / (_BRADFORD @ source.sum(axis=1))
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return np.asarray(np.linalg.inv(target) @ adapted @ source)


def _to_xyz(primaries: Chromaticities) -> _Array:
    """From linear RGB to XYZ; white has a Y of 1."""
    x, y = np.array(primaries[0::2]), np.array(primaries[1::2])
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    scale = np.linalg.solve(columns[:, :3], columns[:, 3])
    return np.asarray(columns[:, :3] * scale)


def are_possible(primaries: Chromaticities) -> bool:
    """Whether these chromaticities span colours; those of a damaged chunk may not."""
    if min(primaries[1::2]) <= 0 or max(primaries) > 1:
        return False
    x, y = np.array(primaries[0::2]), np.array(primaries[1::2])
    area = abs((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]))
    return bool(area > 0.001)
