"""JPG originals as JPEG XL: a fifth smaller, and the same file comes back from it, byte for byte.

JPEG XL keeps the coefficients of a JPEG and how they were coded, so nothing is decoded to pixels. Every file is turned
back before it is taken; the encoder itself refuses what is cut off or rotten, and CMYK. Source of the figures:
`benchmarks/images.py`.
"""

import pylibjxl

#: What made the bytes, for the ledger and the manifest.
TOOL = "jpeg-xl"


def archive_jpeg(data: bytes) -> bytes | None:
    """A JPEG as JPEG XL that is smaller and gives back exactly these bytes; None when there is no such thing."""
    try:
        archived: bytes = pylibjxl.jpeg_to_jxl(data)
        restored: bytes = pylibjxl.jxl_to_jpeg(archived)
    except RuntimeError:
        return None
    return archived if restored == data and len(archived) < len(data) else None


def restore_jpeg(archived: bytes) -> bytes:
    """The JPEG that was archived.

    Raises:
        ValueError: these bytes are damaged, or never were a JPEG.
    """
    try:
        restored: bytes = pylibjxl.jxl_to_jpeg(archived)
    except RuntimeError as error:
        raise ValueError(f"no JPEG comes back from it: {error}") from error
    return restored
