"""What the first header inside an AV1 picture says about its colour; it counts where the container says nothing.

Only what leads to the colour is read (AV1 specification, 5.5). Never raises on any bytes.
"""

from dataclasses import dataclass

_SEQUENCE_HEADER = 1
_MAX_UNITS = 8  # the header is the first or the second
_UNSPECIFIED = 2
_SRGB, _IDENTITY = (1, 13), 0


@dataclass(frozen=True, slots=True)
class Av1Color:
    """Colour by code points of ITU-T H.273; 2 is unspecified."""

    primaries: int
    transfer: int
    full_range: bool


class _Bits:
    """Reads numbers bit by bit; beyond the end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), len(data) * 8

    def take(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)


def read_av1_color(data: bytes) -> Av1Color | None:
    """Find the sequence header among the first units of a coded picture; None without one."""
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(data):
            return None
        kind, extended, sized = data[at] >> 3 & 15, data[at] & 4, data[at] & 2
        at += 2 if extended else 1
        if not sized:
            return None
        size = shift = 0
        while at < len(data) and shift < 56:
            byte = data[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        if kind == _SEQUENCE_HEADER:
            return _read_sequence_header(_Bits(data[at : at + min(size, 256)]))
        at += size
    return None


def _read_sequence_header(bits: _Bits) -> Av1Color | None:
    profile, _still, reduced = bits.take(3), bits.take(1), bits.take(1)
    if reduced:
        bits.take(5)
    elif not _skip_operating_points(bits):
        return None
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    bits.take(width_bits + height_bits)
    if not reduced and bits.take(1):  # frame numbers
        bits.take(7)
    bits.take(3)
    if not reduced:
        _skip_tools(bits)
    bits.take(3)
    return _read_color(bits, profile)


def _skip_operating_points(bits: _Bits) -> bool:
    """False for timing, which no still picture has."""
    if bits.take(1):
        return False
    delayed = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delayed and bits.take(1):
            bits.take(4)
    return True


def _skip_tools(bits: _Bits) -> None:
    """Coding tools that only moving pictures use."""
    bits.take(4)
    ordered = bits.take(1)
    if ordered:
        bits.take(2)
    screen = 2 if bits.take(1) else bits.take(1)
    if screen and not bits.take(1):
        bits.take(1)
    if ordered:
        bits.take(3)


def _read_color(bits: _Bits, profile: int) -> Av1Color:
    deep = bits.take(1)
    if profile == 2 and deep:
        bits.take(1)
    monochrome = bits.take(1) if profile != 1 else 0
    primaries, transfer, matrix = _UNSPECIFIED, _UNSPECIFIED, _UNSPECIFIED
    if bits.take(1):
        primaries, transfer, matrix = bits.take(8), bits.take(8), bits.take(8)
    if not monochrome and ((primaries, transfer), matrix) == (_SRGB, _IDENTITY):
        return Av1Color(primaries, transfer, full_range=True)
    return Av1Color(primaries, transfer, full_range=bool(bits.take(1)))
