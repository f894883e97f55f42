"""What the columns of posts that come as Arrow may be, and what a batch may hold; messages name the column."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SourceUnusable

Kinds = tuple[Callable[[pa.DataType], bool], ...]
#: Numbers that have a place for a fraction.
_WITH_FRACTION: Final[Kinds] = (pa.types.is_floating, pa.types.is_decimal)
_TEXTS: Final[Kinds] = (pa.types.is_string, pa.types.is_large_string)
BYTES: Final[Kinds] = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
MD5_BYTES: Final = 16
#: Columns without which there are no posts, or no files: what each may come as, and what else it may not be.
_NEEDED: Final[Mapping[str, tuple[str, Kinds]]] = {
    "id": ("no integer", (pa.types.is_integer, *_WITH_FRACTION, *_TEXTS)),
    "created_at": (
        "no time with its zone",
        (lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None, *_TEXTS),
    ),
    "md5": ("neither text nor bytes", (*_TEXTS, *BYTES)),
}
#: Types as BigQuery calls them, in whose tables they are changed; any other has its name in Arrow.
_NAMES: Final[tuple[tuple[Kinds, str], ...]] = (
    ((lambda kind: pa.types.is_timestamp(kind) and kind.tz is not None,), "TIMESTAMP"),
    ((pa.types.is_timestamp,), "DATETIME"),
    ((pa.types.is_date,), "DATE"),
    ((pa.types.is_time,), "TIME"),
    ((pa.types.is_boolean,), "BOOL"),
    ((pa.types.is_integer,), "INT64"),
    ((pa.types.is_floating,), "FLOAT64"),
    ((pa.types.is_decimal,), "NUMERIC"),
    (_TEXTS, "STRING"),
    (BYTES, "BYTES"),
    ((pa.types.is_struct,), "STRUCT"),
    ((pa.types.is_list, pa.types.is_large_list), "ARRAY"),
)


def is_any(kind: pa.DataType, kinds: Kinds) -> bool:
    """Whether a type is one of these kinds."""
    return any(is_kind(kind) for is_kind in kinds)


def is_list(kind: pa.DataType) -> bool:
    """Whether its values are lists."""
    return is_any(kind, (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _name_of(kind: pa.DataType) -> str:
    return next((name for kinds, name in _NAMES if is_any(kind, kinds)), str(kind))


def require_columns(schema: pa.Schema) -> None:
    """Refuse posts whose id, time or MD5 comes as a type that holds none.

    Raises:
        SourceUnusable: naming the column and its type.
    """
    for name, (why, kinds) in _NEEDED.items():
        for kind in (field.type for field in schema if field.name == name):
            if not is_any(kind, kinds) and not pa.types.is_null(kind):
                raise SourceUnusable(
                    f"the column {name} of posts is {_name_of(kind)}, which is {why}; change its type, or take posts "
                    "from another source (DANBOORU_POSTS_SOURCE)"
                )


def require_values(batch: pa.RecordBatch) -> None:
    """Refuse a batch that holds what its types cannot: text that is not UTF-8, or times beyond the years 1 to 9999.

    Raises:
        SourceUnusable: naming the column, or what is wrong.
    """
    try:
        batch.validate(full=True)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceUnusable(f"holds what its types cannot ({_in_a_line(error)})") from None
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            for each in _temporal(column):
                pc.min_max(each).as_py()
        except (OverflowError, ValueError):
            raise SourceUnusable(f"holds times beyond the years 1 to 9999 in its column {name}") from None


def _in_a_line(error: object) -> str:
    return " ".join(str(error).split())


def _temporal(column: pa.Array) -> Iterator[pa.Array]:
    """The times of a column, nested ones too."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type) or pa.types.is_time(column.type):
        yield column
    elif pa.types.is_struct(column.type):
        for inner in column.flatten():
            yield from _temporal(inner)
    elif is_list(column.type):
        yield from _temporal(column.flatten())
