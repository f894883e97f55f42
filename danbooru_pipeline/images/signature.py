"""File types by their magic bytes alone; names and HTTP headers are not trusted.

A type is one of the extensions of a release, in one spelling (never ``jpeg``), or None.
"""

from collections.abc import Callable, Mapping
from typing import Final

#: Types that are pictures; nothing else gets a 512px image.
IMAGE_TYPES = frozenset({"jpg", "png", "gif", "webp", "avif", "bmp"})

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
#: Pictures in the same container that are not part of a release.
_OTHER_STILL_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"jxl ", b"crx "}
    | {b"heif", b"mif2", b"miaf", b"1pic", b"tmap", b"avci", b"avcs", b"vvic", b"vvis", b"j2ki", b"j2is"}
)
#: Formats of pictures that no release has, by their first bytes or their brand; named after their extension.
_OTHER_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\xff\x0a", "jxl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
    (b"8BPS", "psd"),
)
_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<title")

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x1aE\xdf\xa3", "webm"),
    (b"FWS", "swf"),
    (b"CWS", "swf"),
    (b"ZWS", "swf"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"Rar!\x1a\x07", "rar"),
    (b"%PDF-", "pdf"),
    (b"0&\xb2u\x8ef\xcf\x11", "wmv"),
    (b"\x00\x00\x01\xba", "mpg"),
    (b"\x00\x00\x01\xb3", "mpg"),
    (b"ID3", "mp3"),
)


def sniff_type(data: bytes) -> str | None:
    """The type of `data`; None if it is not recognised."""
    for prefix, file_type in _PREFIXES:
        if data.startswith(prefix):
            return file_type
    for recognise in _RECOGNISERS:
        found = recognise(data)
        if found is not None:
            return found
    return None


def sniff_other_picture(data: bytes) -> str | None:
    """The format of a picture that no release has: ``heic``, ``jxl``, ``tiff`` …; None for anything else."""
    for prefix, name in _OTHER_PREFIXES:
        if data.startswith(prefix):
            return name
    is_other = data[4:8] == b"ftyp" and sniff_type(data) is None
    return {b"jxl ": "jxl", b"crx ": "tiff"}.get(data[8:12], "heic") if is_other else None


def _riff(data: bytes) -> str | None:
    """RIFF has the type of its content in bytes 8 to 11."""
    if data[:4] != b"RIFF":
        return None
    return {b"WEBP": "webp", b"AVI ": "avi"}.get(data[8:12])


def _iso_media(data: bytes) -> str | None:
    """MP4 and AVIF share a container; the brands of its first box tell them apart."""
    if data[4:8] != b"ftyp":
        return None
    brands = iso_brands(data)
    if not _AVIF_BRANDS.isdisjoint(brands):
        return "avif"
    return None if brands[0] in _OTHER_STILL_BRANDS else "mp4"


def iso_brands(data: bytes) -> tuple[bytes, ...]:
    """The brands of an ISO media file, the major one first."""
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return (data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4)))


def _bmp(data: bytes) -> str | None:
    """Two letters prove too little, so the size of the second header must be a known one too."""
    return (
        "bmp" if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in {12, 40, 52, 56, 64, 108, 124} else None
    )


def _mpeg_audio(data: bytes) -> str | None:
    """An MP3 without tags starts with the sync word of MPEG layer III."""
    return "mp3" if len(data) > 1 and data[0] == 0xFF and data[1] in {0xFA, 0xFB, 0xF2, 0xF3, 0xE2, 0xE3} else None


def _html(data: bytes) -> str | None:
    """Error pages that were saved in place of files."""
    return "html" if data[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_HTML_STARTS) else None


#: Every type that `sniff_type` knows.
FILE_TYPES = frozenset({name for _, name in _PREFIXES} | {"webp", "avi", "avif", "mp4", "bmp", "mp3", "html"})

#: Type -> its name in HTTP and in descriptions of data sets, by IANA where it has one there.
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "avi": "video/vnd.avi",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "html": "text/html",
    "jpg": "image/jpeg",
    "jxl": "image/jxl",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpg": "video/mpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "rar": "application/vnd.rar",
    "swf": "application/vnd.adobe.flash.movie",
    "webm": "video/webm",
    "webp": "image/webp",
    "wmv": "video/x-ms-wmv",
    "zip": "application/zip",
}

_RECOGNISERS: tuple[Callable[[bytes], str | None], ...] = (_riff, _iso_media, _bmp, _mpeg_audio, _html)
