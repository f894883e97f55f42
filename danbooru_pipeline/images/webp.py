"""The container of a WebP: where the file ends according to its RIFF header. Never raises on any bytes."""


def webp_end(data: bytes) -> int | None:
    """Offset after the RIFF chunk; None if the file is truncated."""
    end = 8 + int.from_bytes(data[4:8], "little")
    return end if end <= len(data) else None
