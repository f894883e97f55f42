"""Reconciling by columns gives the rows and the problems of reconciling row by row, whatever a bucket holds."""

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
from hypothesis import given

from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import POST_SCHEMA
from danbooru_pipeline.posts.post import posts_from
from danbooru_pipeline.release import MANIFEST_SCHEMA, reconcile_bucket
from danbooru_pipeline.release.manifest.by_columns import BucketTables, reconcile_tables
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.store.columns import table_of
from danbooru_pipeline.store.ledger import LEDGER_SCHEMA, LedgerRow, record_of

MD5, OTHER = "a" * 32, "e" * 32
POST: dict[str, Any] = {
    "id": 1,
    "md5": MD5,
    "file_ext": "png",
    "file_size": 20,
    "rating": "s",
    "is_banned": False,
    "tag_string": "x",
    "extra": None,
}
ROW = LedgerRow(
    id=1,
    md5=MD5,
    ext="png",
    size=10,
    sha256="b" * 64,
    source_size=20,
    fetched_md5=MD5,
    pixel_hash=OTHER,
    flags=("apng",),
    px512_size=5,
    px512_sha256="c" * 64,
    px512_settings="q90",
    px512_dhash=b"d" * 32,
    px512_phash=b"p" * 32,
    first_release=2021,
)
HASHED = '{"media_asset":{"md5":"x","pixel_hash":"' + OTHER + '"}}'
#: One change of a post, of its row or of the files, each of which matters somewhere.
POSTS = [
    *({}, {}, {}, {"md5": None}, {"md5": "zz"}, {"md5": OTHER}, {"file_ext": "exe"}, {"file_ext": "jpg"}),
    *(
        {"file_size": None},
        {"file_size": 0},
        {"file_size": -1},
        {"file_size": 2**41},
        {"rating": "e"},
        {"rating": None},
    ),
    *(
        {"rating": "g"},
        {"is_banned": None},
        {"is_banned": True},
        {"tag_string": None},
        {"extra": HASHED},
        {"extra": '{"is_banned":"maybe"}'},
    ),
]
ROWS: list[dict[str, Any]] = [
    *(
        {},
        {},
        {},
        {"md5": OTHER},
        {"ext": "jpg"},
        {"stored_ext": "jxl"},
        {"size": None},
        {"size": 11},
        {"sha256": None},
    ),
    *({"reason": Reason.GONE}, {"reason": Reason.MD5_DIFFERS}, {"reason": Reason.BANNED}, {"reason": Reason.EXPUNGED}),
    *({"fetched_md5": None}, {"fetched_md5": OTHER}, {"pixel_hash": None}, {"flags": ()}, {"first_release": None}),
    *({"px512_size": 6}, {"px512_sha256": None}, {"px512_settings": None}, {"px512_settings": "q80"}),
    *({"px512_reason": Reason.ANIMATED}, {"px512_reason": Reason.RATING}, {"px512_reason": Reason.NO_ORIGINAL}),
    *({"reason": Reason.EXCLUDED_TAG}, {"first_release": 2023}, {"reason": Reason.TAGS_UNKNOWN}),
    *({"px512_dhash": None}, {"px512_phash": None}),
]
ONE = st.tuples(
    st.sampled_from(POSTS),
    st.sampled_from(ROWS),
    st.sampled_from(
        [
            "both",
            "both",
            "both",
            "both",
            "post",
            "row",
            "twice",
            "no file",
            "no 512px",
            "updated",
            "restored",
            "elsewhere",
        ]
    ),
)


def posts_table(records: list[dict[str, Any]]) -> pa.Table:
    """Posts as a slice has them."""
    return pa.Table.from_pylist(records, schema=POST_SCHEMA)


@given(kinds=st.lists(ONE, max_size=12), year=st.sampled_from([2021, 2022]))
def test_columns_say_what_rows_say(kinds: list[tuple[dict[str, Any], dict[str, Any], str]], year: int) -> None:
    """Any mixture of posts, ledger rows and files, in agreement or not."""
    posts, ledger, updated = [], [], {}
    files: dict[str, int] = {}
    px512: dict[str, int] = {}
    for number, (post, row, kind) in enumerate(kinds, start=1):
        id_ = number * 1000 + (8 if kind == "elsewhere" else 7)
        posts += [{**POST, **post, "id": id_}] * (0 if kind in {"row", "restored"} else 2 if kind == "twice" else 1)
        ledger += [] if kind == "post" else [replace(ROW, id=id_, **row)]
        files |= {} if kind == "no file" else {f"{id_}.png": 10, f"{id_}.jpg": 10, f"{id_}.jxl": 10}
        px512 |= {} if kind == "no 512px" else {f"{id_}.jpg": 5}
        if kind in {"updated", "restored"}:
            now = posts_from(posts_table([{**POST, "id": id_}]))[0]
            updated[id_] = replace(now, is_expunged=kind == "updated")
    slice_ = posts_table(posts)
    rows, problems = reconcile_bucket(
        [
            *(updated.get(post.id, post) for post in posts_from(slice_, pixel_hashes=True)),
            *(post for id_, post in updated.items() if id_ not in {post["id"] for post in posts}),
        ],
        {row.id: row for row in ledger},
        files,
        px512,
        year=year,
        px512_settings="q90",
    )
    tables = BucketTables(
        bucket="0007",
        posts=slice_,
        updated=updated,
        ledger=table_of(ledger, LEDGER_SCHEMA).select(list(record_of(ROW))),
        original_files=files,
        px512_files=px512,
    )
    table, said = reconcile_tables([tables], year=year, px512_settings="q90")
    assert table.schema.equals(MANIFEST_SCHEMA)
    assert table.sort_by("id").to_pylist() == manifest_table(rows).to_pylist()
    assert said == problems
    # Its neighbour has files of the same names, which are not the files of its posts.
    neighbour = BucketTables(
        bucket="0009",
        posts=posts_table([{**POST, "id": 1009}]),
        updated={},
        ledger=table_of([replace(ROW, id=1009)], LEDGER_SCHEMA).select(list(record_of(ROW))),
        original_files={"1009.png": 10}
        | dict.fromkeys([f"{n}007.{ext}" for n in range(1, 20) for ext in ("png", "jxl")], 10),
        px512_files={"1009.jpg": 5} | dict.fromkeys([f"{n}007.jpg" for n in range(1, 20)], 5),
    )
    alone, _ = reconcile_tables([neighbour], year=year, px512_settings="q90")
    both, more = reconcile_tables([neighbour, tables], year=year, px512_settings="q90")
    assert both.sort_by("id").to_pylist() == pa.concat_tables([table, alone]).sort_by("id").to_pylist()
    assert more == problems


def test_digest_of_a_manifest_depends_on_its_rows_alone() -> None:
    """Chunks leave no trace in it, and every value does."""

    def digest(*tables: pa.Table) -> str:
        found = RowDigest(MANIFEST_SCHEMA)
        for table in tables:
            found.update(table)
        return found.hexdigest()

    rows, _ = reconcile_bucket(
        posts_from(posts_table([{**POST, "id": 1007}, {**POST, "id": 2007}])),
        {id_: replace(ROW, id=id_) for id_ in (1007, 2007)},
        {"1007.png": 10, "2007.png": 10},
        {"1007.jpg": 5, "2007.jpg": 5},
        year=2021,
        px512_settings="q90",
    )
    whole = manifest_table(rows)
    assert digest(whole) == digest(whole.slice(0, 1), whole.slice(1))
    assert digest(whole) != digest(manifest_table([rows[0], replace(rows[1], px512_flags=("few_colors",))]))
