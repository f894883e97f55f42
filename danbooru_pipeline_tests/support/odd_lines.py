"""Lines of posts as no extract of the mirror wrote them, and as other tools might: any value in any place and form."""

import json
from typing import Any

import hypothesis.strategies as st

from danbooru_pipeline.posts.dialect_2017 import COLUMNS_2017
from danbooru_pipeline.posts.schema import SITE_COLUMNS
from danbooru_pipeline.release.change_rows import TELLING

MD5 = "0123456789abcdef0123456789abcdef"
#: One MD5 and others, in the forms in which tools write them, and what is none.
MD5S = st.sampled_from(
    [MD5, MD5.upper(), f"\\x{MD5}", f" {MD5}\n", "01234567-89ab-cdef-0123-456789ABCDEF", MD5[:-1], "1" * 32, "", " "]
)
EXTENSIONS = st.sampled_from(["jpg", "JPG", ".jpg", "..  Jpg", " jpg", "jpg/", "İJ", "", " ", ".", "7z", "png?x", "12"])
ADDRESSES = st.builds(
    "https://cdn.example/original/{}/{}{}{}".format,
    st.sampled_from(["01/23", "x", "ab/cd"]),
    st.sampled_from([MD5, MD5.upper(), "1" * 32, "x"]),
    st.sampled_from([".jpg", ".JPG", ".", "", "..jpg", ".jpeg2000"]),
    st.sampled_from(["", "?1", "#x", "/"]),
)
TIMES = st.sampled_from(
    [
        *("1970-01-01 00:00:00 UTC", "1970-01-01T00:00:00+00:00", "2021-05-05 01:02:03.120000 UTC", "20210505"),
        *("2021-05-05T01:02:03.1234567+09:00", "0001-01-01 00:00:00 UTC", "9999-12-31 23:59:59.999999 UTC"),
    ]
)
NUMBERS = st.sampled_from(
    [
        *(0, 1, -1, 12, 1.0, 1.5, -0.0, 1e16, 1e-7, 1e22, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30),
        *(
            "0",
            "1",
            "-1",
            "12",
            "-0",
            "05",
            "+5",
            " 5",
            "5\n",
            "5e3",
            "1.0",
            str(2**63 - 1),
            str(-(2**63)),
            "1" * 30,
            "٣",
        ),
    ]
)
TEXTS = st.sampled_from(
    [
        *("", " ", "true", "False", "t", "x\u2028y", "\\", "<&>", "a\0b", "é", "e\u0301", "\U0010ffff", "1girl solo"),
        *('","tags":[', '{"tags":[', "\t", "a,b", "abcd", "/"),
    ]
)
_TAG = st.fixed_dictionaries(
    {"name": st.sampled_from(["1girl", "a", "a b", "", "é"]) | st.none() | NUMBERS},
    optional={"id": NUMBERS | st.none(), "category": NUMBERS | st.sampled_from(["3", 4, 5, None])},
)
LISTS = st.lists(_TAG | TEXTS | NUMBERS | st.none(), max_size=3)
OBJECTS = st.dictionaries(st.sampled_from(["a", "tags", "md5", "id"]), TEXTS | NUMBERS | LISTS | st.none(), max_size=2)
VALUES = st.one_of(MD5S, EXTENSIONS, ADDRESSES, TIMES, NUMBERS, TEXTS, LISTS, OBJECTS, st.booleans(), st.none())
_FITTING = {"md5": MD5S, "file_ext": EXTENSIONS, "file_url": ADDRESSES, "tags": LISTS, "pools": LISTS, "favs": LISTS}
_TAG_COLUMNS = tuple(name for name in SITE_COLUMNS if name.startswith("tag_"))
_OTHERS = ("extra", "raw", "new", "media_asset")
#: Those that decide something are drawn more often.
_NAMES = st.sampled_from(["md5", "file_ext", "file_url", "tags", "pools", "favs"]) | st.sampled_from(
    [*TELLING, *_TAG_COLUMNS, *SITE_COLUMNS[2:], *_OTHERS]
)
_WHOLE_2021 = {
    **dict.fromkeys((*TELLING, "tag_string", "rating"), "x"),
    **{name: "0" for name in SITE_COLUMNS[2:] if name.startswith(("tag_count", "image_", "file_size", "fav_"))},
    **{name: False for name in SITE_COLUMNS if name.startswith(("is_", "has_"))},
    **dict.fromkeys(("uploader_id", "score", "up_score", "down_score", "bit_flags", "parent_id", "pixiv_id"), "5"),
    "md5": MD5,
    "file_ext": "jpg",
    "updated_at": "2020-05-04 03:02:01.12 UTC",
}
_WHOLE_2017 = {name: _WHOLE_2021.get(name, "0") for name in COLUMNS_2017[2:]} | {
    "tags": [{"id": "1", "name": "1girl", "category": "0"}],
    "pools": [],
    "favs": ["5"],
}


@st.composite
def odd_lines(draw: st.DrawFn, post_id: int) -> bytes:
    """A line of a post: nearly one of a release, or with few keys, in any order, spacing and escaping."""
    record: dict[str, Any] = dict(draw(st.sampled_from([_WHOLE_2021, _WHOLE_2017, {}])))
    for name in draw(st.lists(_NAMES, max_size=5)):
        record.pop(name, None)
        if draw(st.booleans()) or not record:
            record[name] = draw(_FITTING.get(name, VALUES) if draw(st.booleans()) else VALUES)
    head = {"id": draw(st.sampled_from([str(post_id), post_id])), "created_at": "2020-05-04 03:02:01.12 UTC"}
    pairs = [*(head | record).items()]
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    twice = [(draw(st.sampled_from(pairs))[0], draw(VALUES))] if draw(st.integers(0, 4)) == 0 else []
    comma, colon = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")]))
    plain = draw(st.booleans())
    members = (f"{json.dumps(n)}{colon}{json.dumps(v, ensure_ascii=plain)}" for n, v in [*twice, *pairs])
    line = "{" + comma.join(members) + draw(st.sampled_from(["}", " }", "}\r", "}  "]))
    if draw(st.booleans()):
        for character in "<>&":
            line = line.replace(character, f"\\u{ord(character):04x}")
    return line.encode()


def odd_line(**values: Any) -> bytes:
    """The line of a post that is nearly one of a release, in the spacing of Python; None leaves a key out."""
    record = {"id": "1", "created_at": "2020-05-04 03:02:01.12 UTC", **_WHOLE_2021, **values}
    return json.dumps({name: value for name, value in record.items() if value is not None}).encode()


def blocks_of_odd_lines(most: int = 6) -> st.SearchStrategy[bytes]:
    """Lines of posts 1, 2 and so on."""
    return st.integers(1, most).flatmap(
        lambda count: st.tuples(*(odd_lines(number + 1) for number in range(count))).map(b"\n".join)
    )
