"""Posts that are asked for again before they are given up, since a sweep takes days and the site goes on meanwhile.

A file that cannot be had may have been replaced, hidden or expunged since the sweep. The answer is kept beside the
sweep, one file a bucket, and read together with it; a release is made from both. Silence is believed only from a site
that answers, in the same breath, for a post that is known to be there.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import (
    POST_SCHEMA,
    REFRESHED_SCHEMA,
    PostRow,
    conform,
    parse_api_record,
    posts_writer,
)

#: The API gives 200 posts at most; one of them is the control_id.
IDS_PER_REQUEST = 199


@dataclass(frozen=True, slots=True)
class PostUpdates:
    """What a source says of posts now: their rows, and which of them it does not know any more."""

    rows: Mapping[int, PostRow] = field(default_factory=dict)
    expunged: frozenset[int] = frozenset()


def recheck_posts(client: BooruClient, ids: Sequence[int], *, control_id: int | None) -> PostUpdates:
    """Ask the API about posts, 199 a request.

    Args:
        client: of the booru.
        ids: of the posts.
        control_id: a post that the source should know; unless it is in the answer, silence about others means nothing.

    Raises:
        SourceError: the API cannot be used.
    """
    rows: dict[int, PostRow] = {}
    expunged: set[int] = set()
    for start in range(0, len(ids), IDS_PER_REQUEST):
        asked = set(ids[start : start + IDS_PER_REQUEST])
        found = _rows_of(client, asked | ({control_id} if control_id else set()))
        rows |= {id_: row for id_, row in found.items() if id_ in asked}
        if control_id in found and found.keys() <= asked | {control_id}:  # else it gives posts that nobody asked for
            expunged |= asked - found.keys()
    return PostUpdates(rows, frozenset(expunged))


def _rows_of(client: BooruClient, ids: set[int]) -> dict[int, PostRow]:
    wanted = ",".join(map(str, sorted(ids)))
    # Never fewer than there may be: a site that ignores the question shows itself by posts that nobody asked for.
    answer = client.get_json("/posts.json", {"limit": IDS_PER_REQUEST + 1, "tags": f"id:{wanted}"})
    records = answer.value if answer.status == 200 and isinstance(answer.value, list) else []
    parsed = (parse_api_record(record) for record in records if isinstance(record, Mapping))
    return {row["id"]: row for row in parsed if isinstance(row, dict)}


def save_updates(layout: Layout, year: int, bucket: str, news: PostUpdates) -> None:
    """Add what was learned to what is kept of a bucket; the caller has the bucket for itself."""
    path = layout.refreshed(year, bucket)
    known = {row["id"]: row for row in pq.ParquetFile(path).read().to_pylist()} if path.exists() else {}
    known |= {id_: {**row, "is_expunged": False} for id_, row in news.rows.items()}
    gone = pq.ParquetFile(layout.posts_bucket(year, bucket)).read()
    for row in gone.filter(pc.is_in(gone["id"], pa.array(sorted(news.expunged), pa.int64()))).to_pylist():
        known[row["id"]] = {**known.get(row["id"], row), "is_expunged": True}
    if known:
        rows = [known[id_] for id_ in sorted(known)]
        with atomic_file(path) as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=REFRESHED_SCHEMA), file, compression="zstd")


def discard_updates(layout: Layout, year: int) -> None:
    """Drop what was learned since a sweep that is about to be taken anew."""
    shutil.rmtree(layout.refreshed_folder(year), ignore_errors=True)


def apply_updates(layout: Layout, year: int) -> int:
    """Let the posts of a release say what was learned since the sweep. Returns how many rows changed.

    The number of rows stays: an expunged post keeps its row, and the manifest says what became of it. The report of the
    sweep gets the digest of the new rows, so that a release made from them is another one.
    """
    news = pa.concat_tables([REFRESHED_SCHEMA.empty_table(), *_all_news(layout, year)])
    news = news.filter(pc.invert(news["is_expunged"])).select(POST_SCHEMA.names).cast(POST_SCHEMA).sort_by("id")
    with pq.ParquetFile(layout.posts(year)) as posts:
        changed = sum(count for _, count in _merged(posts, news)) if news.num_rows else 0
        if not changed:
            return 0
        digest = RowDigest(POST_SCHEMA)
        with atomic_file(layout.posts(year)) as file, posts_writer(file) as writer:
            for table, _ in _merged(posts, news):
                writer.write_table(table)
                digest.update(table)
    report = msgspec.json.decode(layout.posts_report(year).read_bytes())
    report["source"]["sha256"] = digest.hexdigest()
    write_atomic(layout.posts_report(year), msgspec.json.format(msgspec.json.encode(report)))
    return changed


def _all_news(layout: Layout, year: int) -> Iterable[pa.Table]:
    folder = layout.refreshed_folder(year)
    names = sorted(folder.glob("[0-9]*.parquet")) if folder.is_dir() else []
    return [conform(pq.ParquetFile(path).read(), REFRESHED_SCHEMA) for path in names]


def _merged(posts: pq.ParquetFile, news: pa.Table) -> Iterator[tuple[pa.Table, int]]:
    """The row groups of the posts with the news in them, and how many rows of each are other ones."""
    for number in range(posts.num_row_groups):
        table = conform(posts.read_row_group(number))
        hits = news.filter(pc.is_in(news["id"], table["id"].combine_chunks()))
        old = table.filter(pc.is_in(table["id"], hits["id"].combine_chunks()))
        if not hits.num_rows or old.equals(hits):
            yield table, 0
            continue
        rest = table.filter(pc.invert(pc.is_in(table["id"], hits["id"].combine_chunks())))
        differing = sum(a != b for a, b in zip(old.to_pylist(), hits.to_pylist(), strict=True))
        yield pa.concat_tables([rest, hits]).sort_by("id").combine_chunks(), differing
