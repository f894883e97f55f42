"""Batches of posts with columns of any types, as tables of BigQuery may have them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa

MADE = datetime(2018, 3, 1, tzinfo=UTC)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(0, 10**9).map(lambda seconds: datetime(2005, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
UTC_TIME = pa.timestamp("us", "UTC")
TEXTS = st.sampled_from(["", "a" * 32, "0", "1girl solo", "s", "true"])
WHOLE = st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]) | st.integers(-100, 100)
TAGS = pa.list_(pa.struct([("id", pa.int64()), ("name", pa.string()), ("category", pa.int64())]))
TAG = st.fixed_dictionaries(
    {
        "id": st.integers(1, 9),
        "name": st.sampled_from(["guro", "solo", "1girl"]) | st.none(),
        "category": st.sampled_from([0, 1, 3, 4, 5, 900]),
    }
)
#: Types that a column may have, with what it may hold.
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), WHOLE),
    (pa.int32(), st.integers(-5, 5)),
    (pa.uint64(), st.sampled_from([0, 7, 2**64 - 1])),
    (pa.float64(), st.sampled_from([0.0, -0.0, 1.5, -3.0, 1e20, float("inf"), float("nan")])),
    (pa.decimal128(38, 9), st.sampled_from([Decimal(0), Decimal("1.5"), Decimal(-3), Decimal(10) ** 20])),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.bool_(), st.booleans()),
    (UTC_TIME, INSTANTS | st.just(NEVER)),
    (pa.timestamp("us", "Asia/Tokyo"), INSTANTS),
    (pa.timestamp("us"), INSTANTS.map(lambda instant: instant.replace(tzinfo=None))),
    (pa.list_(pa.string()), st.lists(TEXTS, max_size=2)),
    (TAGS, st.lists(TAG, max_size=3)),
    (pa.struct([("a", pa.int64())]), st.fixed_dictionaries({"a": st.integers(0, 3)})),
]
#: An MD5 comes as bytes of its own.
BYTES = [(pa.binary(), st.sampled_from([b"", b"\xd7m\xf8", b"ab"])), (pa.duration("s"), st.just(timedelta(1)))]
COLUMNS = (
    *("score", "parent_id", "md5", "file_ext", "rating", "is_banned", "updated_at", "tag_string", "file_url"),
    *("source", "is_deleted", "tag_count", "tag_string_general"),
    *("tags", "pools", "favs", "new", "extra"),
)
IDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [(pa.int64(), st.integers(-1, 99)), (pa.string(), TEXTS)]
IDS += [
    (pa.float64(), st.sampled_from([1.0, 7.0, 2.5])),
    (pa.decimal128(38, 9), st.sampled_from([Decimal(3), Decimal("0.5")])),
]


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    """A batch of a few posts, with columns of any types."""
    count = draw(st.integers(0, 4))
    kinds = {"id": draw(st.sampled_from(IDS)), "created_at": (UTC_TIME, INSTANTS)}
    kinds |= {
        name: draw(st.sampled_from(KINDS if name == "md5" else [*KINDS, *BYTES]))
        for name in draw(st.sets(st.sampled_from(COLUMNS)))
    }
    arrays = [
        pa.array(draw(st.lists(values | st.none(), min_size=count, max_size=count)), kind)
        for kind, values in kinds.values()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(kinds))
