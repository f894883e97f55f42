"""The container of a WebP: its size, and where it ends by its RIFF header. Never raises on any bytes."""


def webp_end(data: bytes) -> int | None:
    """Offset after the RIFF chunk; None if the file is truncated."""
    end = 8 + int.from_bytes(data[4:8], "little")
    return end if end <= len(data) else None


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk; 0 where the file ends before them, or begins with another chunk."""
    kind, head = data[12:16], data[20:30]
    if kind == b"VP8X" and len(head) == 10:
        return _int(head[4:7]) + 1, _int(head[7:10]) + 1
    if kind == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) == 10:
        return _int(head[6:8]) & 0x3FFF, _int(head[8:10]) & 0x3FFF
    if kind == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        sides = _int(head[1:5])
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    return 0, 0


def _int(data: bytes) -> int:
    return int.from_bytes(data, "little")
