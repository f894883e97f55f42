"""One image of a release: where it is, what the manifest says of it, and its pixels when somebody asks for them.

The path is made from id and extension by `layout`; what the manifest calls a path is not followed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from danbooru_pipeline.consume.errors import BadQuery, NoImage
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.archive import restore_jpeg
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import ARCHIVE_EXTENSION, original_path, px512_path
from danbooru_pipeline.outcomes import REASONS, Reason

#: Which file of a post.
ImageKind = Literal["512px", "original"]

#: What is in front of the manifest's columns about each kind.
_PREFIX: Final[Mapping[str, str]] = {"512px": "px512_", "original": ""}

#: Pillow reads more, some of it by starting other programs; a booru has no picture in those formats.
_FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP")
_PICTURES: Final = frozenset({"jpg", "jpeg", "png", "gif", "webp", "avif", "bmp", ARCHIVE_EXTENSION})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseImage:
    """A file of a post, as the manifest has it. Nothing is opened before `open` or `array` is called.

    Attributes:
        kind: ``512px`` or ``original``.
        path: where it is in this copy of the release. A copy may lack it: ``image.path.exists()`` says so.
        size: in bytes.
        sha256: of these bytes.
        facts: the post's row of the manifest. `width` and `height` there are those of the original.
    """

    id: int
    kind: ImageKind
    path: Path
    size: int
    sha256: str
    facts: Mapping[str, Any] = field(compare=False, repr=False)

    def open(self) -> Image.Image:
        """Decode it with Pillow; JPEG XL of a JPG archive becomes its JPG first.

        Raises:
            NoImage: this copy of the release lacks the file.
            ReleaseError: it is not a picture, or damaged, or has more pixels than Pillow takes.
        """
        ext = self.path.suffix[1:]
        if ext not in _PICTURES:
            raise ReleaseError(f"{self.path} is not a picture; open `image.path` with a reader of .{ext} files")
        if not is_plain(self.path.parents[2], "/".join(self.path.parts[-3:])):
            raise NoImage(f"this copy of the release lacks {self.path}; fetch it", post_id=self.id, kind=self.kind)
        try:
            data = self.path.read_bytes()
            image = Image.open(BytesIO(restore_jpeg(data) if ext == ARCHIVE_EXTENSION else data), formats=_FORMATS)
            image.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ReleaseError(
                f"{self.path} cannot be decoded ({error}); `px512_reason` in image.facts says whether the site's own "
                "file is damaged, and `verify` whether this copy is"
            ) from error
        return image

    def array(self, mode: str = "RGB") -> NDArray[np.uint8]:
        """Its pixels, upright: height × width × channels of a Pillow mode; transparent ones are shown on white.

        Raises:
            As `open`.
        """
        image = ImageOps.exif_transpose(self.open())
        if image.has_transparency_data and not mode.endswith("A"):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert(mode))


def path_column(kind: str) -> str:
    """The manifest's column that has a value when a post has a file of this kind.

    Raises:
        BadQuery: there is no such kind.
    """
    if kind not in _PREFIX:
        raise BadQuery(f"kind={kind!r} does not exist; use {' or '.join(map(repr, _PREFIX))}")
    return f"{_PREFIX[kind]}path"


def image_of(release: Path, row: Mapping[str, Any], kind: ImageKind) -> ReleaseImage:
    """The image that a row of the manifest tells of.

    Raises:
        NoImage: it tells why there is no such file.
        ReleaseError: it gives an extension that no original has, or lacks a fact.
    """
    fact, prefix = partial(_fact, release, row), _PREFIX[kind]
    id_, name = fact("id", int), fact(path_column(kind), str, may_lack=True)
    if name is None:
        raise _no_image(release, row, kind)
    try:
        path = px512_path(id_) if kind == "512px" else original_path(id_, name.rpartition(".")[2])
    except ValueError as error:
        raise ReleaseError(f"the manifest of {release} has {name!r} ({error}); verify the release") from error
    size, sha256 = fact(f"{prefix}size", int), fact(f"{prefix}sha256", str)
    return ReleaseImage(id=id_, kind=kind, path=release / path, size=size, sha256=sha256, facts=row)


def _fact(release: Path, row: Mapping[str, Any], column: str, of: type, *, may_lack: bool = False) -> Any:
    """A value of a row of the manifest, of the type that it has in every release.

    Raises:
        ReleaseError: it has another.
    """
    value = row.get(column)
    if column in row and (type(value) is of or (value is None and may_lack)):
        return value
    raise ReleaseError(f"the manifest of {release} has no {column} of a post; verify the release")


def _no_image(release: Path, row: Mapping[str, Any], kind: ImageKind) -> NoImage:
    fact = partial(_fact, release, row, of=str, may_lack=True)
    status, reason = fact(f"{_PREFIX[kind]}status"), fact(f"{_PREFIX[kind]}reason")
    why = f"{status}: {reason}{_sentence(reason)}"
    if reason == Reason.NO_ORIGINAL:
        why += f"; its original is {fact('status')}: {fact('reason')}{_sentence(fact('reason'))}"
    return NoImage(
        f"{release.name} has no {kind} image of post {row['id']}, {why}",
        post_id=row["id"],
        kind=kind,
        status=status,
        reason=reason,
    )


def _sentence(reason: str | None) -> str:
    """What a reason means, in brackets; nothing for one that only a later version of this tool knows."""
    if reason is None or reason not in set(Reason):
        return ""
    return f" ({REASONS[Reason(reason)][1].rstrip('.')})"
