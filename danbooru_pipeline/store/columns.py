"""The table of file facts: each is declared once, and ledger, manifest and `docs/images.md` are derived from it.

**To add a fact**, say `bit_depth`, add one line to `FileFacts`, in the place where its column should stand, and compute
it in `images`: an attribute of the same name on `ImageFacts` (`Origin.FILE`) or `ImageResult` (`Origin.RESULT`,
`Origin.PX512`). Schemas, rows, reading, writing and the manifest follow; the test of `docs/images.md` prints the row of
its table. If not every value makes sense there, say which do (`Domain`): `verify` compares all rows with that. What
only the ledger or only the manifest holds is declared on `LedgerRow` or `ManifestRow` in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final, get_type_hints

import pyarrow as pa

from danbooru_pipeline.images.signature import FILE_TYPES
from danbooru_pipeline.images.words import (
    COLOR_SPACES,
    FIRST_ORIENTATION,
    LAST_ORIENTATION,
    LEVELS,
    OPTIMIZERS,
    Flag,
    Kept,
    Quality,
)
from danbooru_pipeline.layout import MD5_FORM

#: Version of both schemas, in the metadata of every file.
SCHEMA_METADATA: Final = {"danbooru_pipeline.schema": "1"}
STRINGS: Final = pa.list_(pa.string())


class Origin(StrEnum):
    """Where the value of a column comes from."""

    POST = "post"
    BUILD = "build"
    DOWNLOAD = "download"
    FILE = "file"
    RESULT = "image worker"
    PX512 = "512px image"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """The values that any version writes into a column, or as items of its lists; null is always one.

    Attributes:
        words: all of them.
        least, most: of numbers.
        form: regular expression of texts.
    """

    words: frozenset[str] | None = None
    least: int | None = None
    most: int | None = None
    form: str | None = None


_COUNTED: Final = Domain(least=1)
_BYTES: Final = Domain(least=0)
MD5S: Final = Domain(form=MD5_FORM)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a row class says of one of its fields, as ``Annotated[type, Fact(…)]``.

    Attributes:
        type: of the column.
        origin: where the value comes from.
        meaning: one line, for the docs.
        before: the column that this one stands in front of; None: its place in `FileFacts`, or the end of a row class.
        attribute: the name of the value where it comes from, when that is another.
        nullable: whether a row may lack it.
        domain: what may stand there; None: anything of its type.
    """

    type: pa.DataType
    origin: Origin
    meaning: str
    before: str | None = None
    attribute: str | None = None
    nullable: bool = True
    domain: Domain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Facts that ledger and manifest share, in the order of their columns. Sizes in bytes.

    A row whose file is not there has the defaults in the ledger, and `ABSENT` in the manifest.
    """

    size: Annotated[int | None, Fact(pa.int64(), Origin.RESULT, "bytes of the file in the store", domain=_BYTES)] = None
    sha256: Annotated[str | None, Fact(pa.string(), Origin.RESULT, "SHA-256 of the file in the store")] = None
    source_size: Annotated[
        int | None,
        Fact(
            pa.int64(),
            Origin.DOWNLOAD,
            "bytes that the source sent, before optimisation",
            attribute="size",
            domain=_BYTES,
        ),
    ] = None
    fetched_md5: Annotated[
        str | None,
        Fact(pa.string(), Origin.DOWNLOAD, "MD5 of the bytes that the source sent", attribute="md5", domain=MD5S),
    ] = None
    pixel_hash: Annotated[
        str | None,
        Fact(pa.string(), Origin.RESULT, "MD5 of the decoded picture, by the site's rule; see below", domain=MD5S),
    ] = None
    file_type: Annotated[
        str | None, Fact(pa.string(), Origin.FILE, "type by its first bytes", domain=Domain(words=FILE_TYPES))
    ] = None
    width: Annotated[
        int | None, Fact(pa.int32(), Origin.FILE, "pixels as stored, before orientation", domain=_COUNTED)
    ] = None
    height: Annotated[
        int | None, Fact(pa.int32(), Origin.FILE, "pixels as stored, before orientation", domain=_COUNTED)
    ] = None
    pages: Annotated[int | None, Fact(pa.int32(), Origin.FILE, "frames; 1 for a still picture", domain=_COUNTED)] = None
    flags: Annotated[
        tuple[str, ...],
        Fact(STRINGS, Origin.FILE, "what is odd about the file, as listed above", domain=Domain(words=frozenset(Flag))),
    ] = ()
    alpha: Annotated[bool | None, Fact(pa.bool_(), Origin.FILE, "has an alpha channel or a transparent colour")] = None
    color_space: Annotated[
        str | None,
        Fact(pa.string(), Origin.FILE, "`srgb`, `b-w`, `cmyk` …, as in libvips", domain=Domain(words=COLOR_SPACES)),
    ] = None
    has_profile: Annotated[bool | None, Fact(pa.bool_(), Origin.FILE, "embeds an ICC profile")] = None
    orientation: Annotated[
        int | None,
        Fact(
            pa.int8(),
            Origin.FILE,
            "EXIF orientation, 1 to 8",
            domain=Domain(least=FIRST_ORIENTATION, most=LAST_ORIENTATION),
        ),
    ] = None
    optimized: Annotated[bool | None, Fact(pa.bool_(), Origin.BUILD, "the stored bytes are not the source's")] = False
    optimized_by: Annotated[
        str | None, Fact(pa.string(), Origin.RESULT, "what made the stored bytes", domain=Domain(words=OPTIMIZERS))
    ] = None
    kept: Annotated[
        str | None,
        Fact(pa.string(), Origin.RESULT, "why the source's bytes were kept", domain=Domain(words=frozenset(Kept))),
    ] = None
    px512_size: Annotated[int | None, Fact(pa.int64(), Origin.PX512, "bytes of the 512px image", domain=_BYTES)] = None
    px512_sha256: Annotated[str | None, Fact(pa.string(), Origin.PX512, "SHA-256 of the 512px image")] = None
    px512_background: Annotated[
        str | None,
        Fact(
            pa.string(),
            Origin.PX512,
            "`white`, `black` or `grey`, behind and around it",
            attribute="background",
            domain=Domain(words=frozenset(LEVELS)),
        ),
    ] = None
    px512_flags: Annotated[
        tuple[str, ...],
        Fact(STRINGS, Origin.PX512, "warnings to those who use it", domain=Domain(words=frozenset(Quality))),
    ] = ()
    px512_dhash: Annotated[
        bytes | None, Fact(pa.binary(32), Origin.PX512, "perceptual hash: which of two neighbours is lighter")
    ] = None
    px512_phash: Annotated[
        bytes | None, Fact(pa.binary(32), Origin.PX512, "perceptual hash: the lowest frequencies")
    ] = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ledger or manifest: its name, and the fact in it."""

    name: str
    fact: Fact


def _declared(rows: type[FileFacts]) -> list[Column]:
    hints = get_type_hints(rows, include_extras=True)
    return [Column(each.name, hints[each.name].__metadata__[0]) for each in fields(rows)]


def columns_of(rows: type[FileFacts], **derived: Fact) -> tuple[Column, ...]:
    """The columns of a class of rows: the shared facts in their order, its own where their `before` puts them.

    Args:
        rows: the class.
        derived: facts that it computes, as a property of that name, and does not store.
    """
    shared = _declared(FileFacts)
    columns = list(shared)
    own = [column for column in _declared(rows) if column not in shared]
    for column in [*own, *(Column(name, fact) for name, fact in derived.items())]:
        place = next((i for i, other in enumerate(columns) if other.name == column.fact.before), len(columns))
        columns.insert(place, column)
    return tuple(columns)


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of some columns."""
    return pa.schema(
        [pa.field(column.name, column.fact.type, nullable=column.fact.nullable) for column in columns],
        metadata=SCHEMA_METADATA,
    )


def table_of(rows: Sequence[FileFacts], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table of their class's schema."""
    columns = [pa.array([getattr(row, column.name) for row in rows], column.type) for column in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def with_tuples(record: dict[str, Any]) -> dict[str, Any]:
    """The same record, as Arrow gives it, with tuples for the shared lists; one that is null or not there is empty."""
    for name in _LISTS:
        record[name] = tuple(record.get(name) or ())
    return record


def values_from(source: object, origin: Origin, columns: Sequence[Column]) -> dict[str, Any]:
    """The values of the columns that come from `source`: a download, the facts of a file, or the result of a job."""
    return {c.name: getattr(source, c.fact.attribute or c.name) for c in columns if c.fact.origin is origin}


_SHARED: Final = _declared(FileFacts)
_LISTS: Final = tuple(column.name for column in _SHARED if pa.types.is_list(column.fact.type))
#: Names of the shared facts: those of the original, and those of its 512px image.
ORIGINAL_FACTS: Final = tuple(column.name for column in _SHARED if column.fact.origin is not Origin.PX512)
PX512_FACTS: Final = tuple(column.name for column in _SHARED if column.fact.origin is Origin.PX512)
#: The shared facts of a file that is not there.
ABSENT: Final[Mapping[str, Any]] = {column.name: () if column.name in _LISTS else None for column in _SHARED}
