"""Arrow tables as pandas frames whose dtypes follow from the schema, never from the rows that happen to be there.

They are those of pandas' own ``dtype_backend="numpy_nullable"``: an integer with a missing value stays an integer
(plain pandas makes it a float, and ids above 2**53 would change), booleans stay booleans, text is `string` (held by
Arrow, so ``.str`` is fast and 10 M tag strings are no Python objects) and missing is always `pd.NA`. Timestamps are
``datetime64[us, UTC]`` with `NaT`. Lists and structs, for which NumPy has only `object`, keep their Arrow type.
"""

import pandas as pd
import pyarrow as pa

_DTYPES = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype("pyarrow"),
    pa.large_string(): pd.StringDtype("pyarrow"),
}


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table as a frame with the same columns in the same order, and rows numbered from 0."""
    # A file's own notes on pandas (an index, say) must not decide what the frame looks like, and pyarrow parses them
    # even where it is told to ignore them.
    return table.replace_schema_metadata(None).to_pandas(types_mapper=_dtype_of)


def _dtype_of(kind: pa.DataType) -> object:
    """The dtype of a column; None leaves it to pyarrow, which makes timestamps `datetime64` of their unit and zone."""
    if pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind):
        return pd.ArrowDtype(kind)
    return _DTYPES.get(kind)
