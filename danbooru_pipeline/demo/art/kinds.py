"""The kinds of file on a booru, including awkward ones."""

from enum import StrEnum


class Kind(StrEnum):
    """The kind of a post's file; everything before the first ``_`` of a value is its extension."""

    JPG = "jpg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    ZIP = "zip"
    MP4 = "mp4"
    WEBM = "webm"
    SWF = "swf"
    GIF_ANIMATED = "gif_animated"
    WEBP_ANIMATED = "webp_animated"
    PNG_STICKER = "png_sticker"
    PNG_BLACK_LINES = "png_black_lines"
    PNG_WHITE_LINES = "png_white_lines"
    PNG_PALETTE = "png_palette"
    PNG_GREY = "png_grey"
    PNG_16BIT = "png_16bit"
    PNG_ANIMATED = "png_animated"
    PNG_TINY = "png_tiny"
    JPG_GREY = "jpg_grey"
    JPG_CMYK = "jpg_cmyk"
    JPG_PROFILE = "jpg_profile"
    JPG_ROTATED = "jpg_rotated"
    JPG_TRUNCATED = "jpg_truncated"
    JPG_TRAILING = "jpg_trailing"
    JPG_IS_PNG = "jpg_is_png"

    @property
    def ext(self) -> str:
        """The extension that the site gives the file."""
        return self.value.partition("_")[0]

    @property
    def needs_figure(self) -> bool:
        """Whether the picture needs a figure to cut out or to move."""
        return self.value.endswith(("animated", "lines", "sticker", "palette", "zip"))
