"""What the image chain needs to know about a post, read from a bucket's slice of the sweep."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.io.damage import damage_named
from danbooru_pipeline.io.parquet import one_chunk
from danbooru_pipeline.layout import EXTENSIONS, MD5_FORM
from danbooru_pipeline.posts.schema import TAG_STRINGS, CompleteRow

MD5 = re.compile(MD5_FORM)
MAX_FILE_BYTES = 2**40


@dataclass(frozen=True, slots=True)
class Post:
    """What the image chain needs to know about a post.

    Attributes:
        md5, ext, file_size: of its file, as the metadata says; a size of 0 is unknown.
        tags: all of them, with spaces between; None where the source does not say, or not all of them.
        more_tags: those of each category, which should be the same ones; not compared.
        is_doubtful: a value that decides whether the file may be taken could not be understood.
        is_expunged: the source had it in the sweep and no longer knows it.
        replaced: its file was replaced since the sweep.
        pixel_hash: of its file, as the site says; hidden posts have it too, and it is never used to find theirs.
    """

    id: int
    md5: str | None
    ext: str | None
    file_size: int | None
    rating: str | None
    file_url: str | None
    is_banned: bool
    tags: str | None
    is_expunged: bool = False
    replaced: bool = False
    is_doubtful: bool = False
    pixel_hash: str | None = None
    more_tags: str = field(default="", compare=False)

    @property
    def visible(self) -> bool:
        """Whether the source shows the file: hidden posts come without MD5.

        An address alone may be lacking, since exports drop that column; it follows from the MD5.
        """
        return self.md5 is not None or self.is_doubtful

    @property
    def names_a_file(self) -> bool:
        """Whether MD5, extension and size are valid, so a path can be built and a download checked."""
        return (
            not self.is_doubtful
            and self.md5 is not None
            and MD5.fullmatch(self.md5) is not None
            and self.ext in EXTENSIONS
            and (self.file_size is None or 0 < self.file_size <= MAX_FILE_BYTES)
        )


@dataclass(frozen=True, slots=True)
class Fetch:
    """The file of a visible post that names one, so its MD5 and extension are known: what a plan fetches.

    Attributes:
        file_size: bytes, as the metadata declares; None when it does not.
        file_url: as the source gives it; without one the MD5 gives the address.
        replaced: whether it is another file than in the sweep.
        pixel_hash: as the site says.
    """

    id: int
    md5: str
    ext: str
    file_size: int | None
    rating: str | None
    file_url: str | None
    replaced: bool = False
    pixel_hash: str | None = None

    @classmethod
    def of(cls, post: Post) -> Self:
        """The file of a post.

        Raises:
            ValueError: the post names none (see `Post.names_a_file`).
        """
        if post.md5 is None or post.ext is None or not post.names_a_file:
            raise ValueError(f"post {post.id} names no file")
        return cls(
            post.id, post.md5, post.ext, post.file_size, post.rating, post.file_url, post.replaced, post.pixel_hash
        )


_FACTS = ("id", "md5", "file_ext", "file_size", "rating", "file_url", "is_banned", "tag_string", "extra")
#: The columns that a `Post` is made from, so a bucket reads no others.
POST_COLUMNS = [*_FACTS, *TAG_STRINGS]
#: What decides whether a file may be taken. A value that cannot be typed is in `extra`, and its column is null.
DECISIVE = ("is_banned", "tag_string", "md5")


def read_posts(path: Path, *, refreshed: Path | None = None, pixel_hashes: bool = False) -> list[Post]:
    """The posts of one bucket, by id.

    Args:
        path: the bucket's slice of the sweep; without the file there are no posts.
        refreshed: updates since the sweep, of some of these posts and of restored ones that it did not have; the file
            may be missing.
        pixel_hashes: read them too; decoding them costs more than all the rest.
    """
    posts = _read_columns(path, POST_COLUMNS, pixel_hashes=pixel_hashes) if path.exists() else []
    if refreshed is None or not refreshed.exists():
        return posts
    refreshed_posts = _read_columns(refreshed, [*POST_COLUMNS, "is_expunged"], pixel_hashes=pixel_hashes)
    updates = {post.id: post for post in refreshed_posts}
    swept = {post.id for post in posts}
    restored = [post for post in refreshed_posts if post.id not in swept and not post.is_expunged]
    known = [_updated(post, updates[post.id]) if post.id in updates else post for post in posts]
    return sorted([*known, *restored], key=lambda post: post.id) if restored else known


def _updated(old: Post, new: Post) -> Post:
    # A post that was hidden in the sweep and is shown now has no file that another one could have replaced.
    is_other = old.md5 is not None and (old.md5, old.ext) != (new.md5, new.ext)
    return replace(new, replaced=new.visible and is_other)


def _read_columns(path: Path, names: list[str], *, pixel_hashes: bool) -> list[Post]:
    # Not read_table: for a file this small its dataset machinery costs more than reading it.
    with damage_named(path):
        return posts_from(read_columns(path, names), pixel_hashes=pixel_hashes)


def read_columns(path: Path, names: list[str]) -> pa.Table:
    """Some columns of a small table, which must have them all.

    Raises:
        KeyError: it lacks one.
    """
    # By this thread alone: others are waited for longer than they read.
    table = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False).read(names, use_threads=False)
    return table.select(names)


def posts_from(table: pa.Table, *, pixel_hashes: bool = False) -> list[Post]:
    """The posts of a table; a column that it lacks is as if it were null everywhere."""
    columns = {name: table[name] for name in (*_FACTS, "is_expunged") if name in table.column_names}
    # Without nulls: of a row that has nothing else, Arrow leaves the whole row out where it skips them.
    parts = [one_chunk(table[name]).fill_null("") for name in TAG_STRINGS if name in table.column_names]
    if parts:  # joined here, since a text more for each post costs as much as all others
        columns["more_tags"] = pc.binary_join_element_wise(*parts, " ")
    nothing = [None] * table.num_rows
    lists = (columns[n].to_pylist() if n in columns else nothing for n in ("is_expunged", "more_tags", *_FACTS))
    return [_post(row, pixel_hashes=pixel_hashes) for row in zip(*lists, strict=True)]


def post_of(row: CompleteRow) -> Post:
    """One row of an answer as a post."""
    more_tags = " ".join(row[name] for name in TAG_STRINGS if row[name])
    return _post([None, more_tags, *(row[name] for name in _FACTS)], pixel_hashes=True)


def _post(values: Sequence[Any], *, pixel_hashes: bool) -> Post:
    """A post from whether it is expunged, its tags by category, and the values of `_FACTS`."""
    expunged, more_tags, id_, md5, ext, size, rating, url, banned, tags, extra = values
    return Post(
        id=id_,
        md5=md5,
        ext=ext,
        file_size=size or None,
        rating=rating,
        file_url=url,
        is_banned=bool(banned),
        tags=_tags_of(tags, extra),
        more_tags=more_tags or "",
        is_expunged=bool(expunged),
        is_doubtful=not says_nothing_doubtful(extra),
        pixel_hash=read_pixel_hash(extra) if pixel_hashes and extra is not None else None,
    )


def says_nothing_doubtful(extra: str | None) -> bool:
    """Whether no decisive value is among those that could not be typed; the column `extra` has them."""
    return extra is None or not _is_doubtful(extra)


def _is_doubtful(extra: str) -> bool:
    """Whether a decisive value is among those that could not be typed. Fails closed: such a file is not taken."""
    if not any(name in extra for name in DECISIVE):
        return False
    return any(name in msgspec.json.decode(extra, type=dict[str, msgspec.Raw]) for name in DECISIVE)


#: Columns whose tags may be in `extra`, since they could not be typed, or not in full.
_OF_TAGS = ("tags", *TAG_STRINGS)


def _tags_of(tag_string: str | None, extra: str | None) -> str | None:
    """The tags of a row; None where one of them may be unknown.

    A list of tags is in `extra` as well when it could not be typed in full, and then `tag_string` lacks some.
    """
    if extra is None or not ('"tags"' in extra or '"tag_string_' in extra):
        return tag_string
    held = msgspec.json.decode(extra)
    found = [tag_string] if tag_string else []
    for value in (held[name] for name in _OF_TAGS if held.get(name) is not None):
        names = _names_of(value)
        if names is None:
            return None
        found += names
    return " ".join(found) if tag_string is not None or isinstance(held.get("tags"), list) else None


def _names_of(value: object) -> list[str] | None:
    """The names in a text of tags, or in a list of names or objects; None where one cannot be read."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        return None
    names = [item.get("name") if isinstance(item, dict) else item for item in value]
    known = [name for name in names if isinstance(name, str)]
    return known if len(known) == len(names) else None


class _Asset(msgspec.Struct):
    pixel_hash: str | None = None


class _Extra(msgspec.Struct):
    media_asset: _Asset | None = None


_decode_extra = msgspec.json.Decoder(_Extra).decode


def read_pixel_hash(extra: str) -> str | None:
    """The site's `media_asset.pixel_hash`, from the column `extra`; None where it is missing or malformed."""
    if "pixel_hash" not in extra:
        return None
    try:
        asset = _decode_extra(extra).media_asset
    except msgspec.MsgspecError:
        return None
    found = None if asset is None else asset.pixel_hash
    return found if found is not None and MD5.fullmatch(found) else None
