"""JPG originals stored as JPEG XL: a fifth smaller, and the JPG can be restored byte for byte.

JPEG XL keeps the coefficients of a JPEG and how they were coded, so nothing is decoded to pixels. Every file is
restored and compared before it is accepted; the encoder itself refuses truncated and corrupt files, and CMYK. Source of
the figures: `benchmarks/images.py`.
"""

import pylibjxl


def archive_jpeg(data: bytes) -> bytes | None:
    """Encode a JPEG as JPEG XL; None unless that is smaller and restores exactly these bytes."""
    try:
        archived: bytes = pylibjxl.jpeg_to_jxl(data)
        restored: bytes = pylibjxl.jxl_to_jpeg(archived)
    except RuntimeError:
        return None
    return archived if restored == data and len(archived) < len(data) else None


def restore_jpeg(archived: bytes) -> bytes:
    """Restore the JPEG that was archived.

    Raises:
        ValueError: these bytes are damaged, or were not made from a JPEG.
    """
    try:
        restored: bytes = pylibjxl.jxl_to_jpeg(archived)
    except RuntimeError as error:
        raise ValueError(f"no JPEG can be restored from it: {error}") from error
    return restored
