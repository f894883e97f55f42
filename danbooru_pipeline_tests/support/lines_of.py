"""Lines as the extracts of the mirror wrote them, of 2021 and of 2017, with any values."""

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from danbooru_pipeline.posts.dialect_2017 import COLUMNS_2017
from danbooru_pipeline.posts.schema import POST_SCHEMA, SITE_COLUMNS

#: Three posts as the mirror wrote them until 2020.
REAL_2017 = Path(__file__).with_name("real-2017.jsonl").read_bytes()
#: Real text: everything but surrogates, which no UTF-8 file holds.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1).map(str)
NAMES = st.text(st.sampled_from('abc_()&<>"\\é'), min_size=1, max_size=6)
TIMES = st.builds(
    lambda day, second, micro: (
        f"20{day % 20:02d}-{1 + day % 12:02d}-{1 + day % 28:02d} {second // 3600:02d}:"
        f"{second // 60 % 60:02d}:{second % 60:02d}" + (f".{micro:06d}".rstrip("0") if micro else "") + " UTC"
    ),
    st.integers(0, 10_000),
    st.integers(0, 86_399),
    st.integers(0, 999_999),
)


def line_of(record: dict[str, Any]) -> bytes:
    """A record as a line: compact, and with markup escaped, as BigQuery does."""
    data = msgspec.json.encode(record)
    return data.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def _values(name: str) -> st.SearchStrategy[Any]:
    kind = str(POST_SCHEMA.field(name).type)
    return {"int64": NUMBERS, "bool": st.booleans(), "string": TEXT}.get(kind, TIMES)


_POSTS_2021 = {name: _values(name) for name in SITE_COLUMNS[2:]}
_HEAD = {"id": st.integers(1, 10**9).map(str), "created_at": TIMES}
_TAG = st.fixed_dictionaries({"id": NUMBERS, "name": NAMES, "category": st.sampled_from("01345")})

RECORDS_2021 = st.builds(
    lambda head, rest: {name: (head | rest)[name] for name in SITE_COLUMNS if name in head | rest},
    st.fixed_dictionaries(_HEAD),
    st.fixed_dictionaries({}, optional=_POSTS_2021),
)
RECORDS_2017 = st.builds(
    lambda head, rest, lists: {name: (head | rest)[name] for name in COLUMNS_2017} | lists,
    st.fixed_dictionaries(_HEAD),
    st.fixed_dictionaries({name: _values(name) for name in COLUMNS_2017[2:]}),
    st.fixed_dictionaries(
        {
            "tags": st.lists(_TAG, max_size=4),
            "pools": st.lists(NUMBERS | st.sampled_from(["series", "collection"]), max_size=3),
            "favs": st.lists(NUMBERS, max_size=3),
        }
    ),
)
#: What no extract wrote: any JSON object, with some of the names that we know.
ODD_RECORDS = st.dictionaries(
    st.sampled_from([*SITE_COLUMNS, "tags", "pools", "favs", "media_asset"]),
    st.none() | st.booleans() | st.integers() | TEXT | NUMBERS | TIMES | st.lists(_TAG | TEXT, max_size=2),
    max_size=8,
)
