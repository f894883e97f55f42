"""Asks again about posts whose file could not be fetched, since a sweep takes days and the site changes meanwhile.

The file may have been replaced, hidden or expunged since the sweep. Answers are kept beside the sweep, one file per
bucket, and read together with it; a release is made from both. A post missing from an answer counts as expunged only if
the same answer contains a control post that we know exists; else nothing was answered about it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.io.atomic import atomic_file, remove_folder
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.io.row_digest import RowDigest
from danbooru_pipeline.layout import INT64_MAX, Layout
from danbooru_pipeline.posts import (
    POST_SCHEMA,
    REFRESHED_SCHEMA,
    CompleteRow,
    complete_rows,
    conform,
    parse_api_record,
    posts_writer,
)
from danbooru_pipeline.posts.report import load_posts_report, write_posts_report
from danbooru_pipeline.sources.api import id_of
from danbooru_pipeline.sources.controls import Controls
from danbooru_pipeline.years import cutoff

#: The API gives at most 200 posts, the control posts among them.
POSTS_PER_REQUEST = 200


@dataclass(frozen=True, slots=True)
class PostUpdates:
    """What a source says about posts now.

    Attributes:
        rows: id -> the post as it is now.
        expunged: ids of posts that the source no longer knows.
    """

    rows: Mapping[int, CompleteRow] = field(default_factory=dict)
    expunged: frozenset[int] = frozenset()

    def unanswered(self, asked: Collection[int]) -> frozenset[int]:
        """Posts that were asked about and of which it says nothing: neither a row nor proof that they are gone."""
        return frozenset(asked) - self.rows.keys() - self.expunged


def ids_per_request(controls: Controls) -> int:
    """How many posts one question can be about."""
    return POSTS_PER_REQUEST - len(controls.ids)


def recheck_posts(
    client: BooruClient, ids: Sequence[int], *, controls: Controls, says_banned: bool, may_be_refused: bool = False
) -> PostUpdates:
    """Ask the API about posts, some 190 a request.

    Args:
        client: of the booru.
        ids: of the posts.
        controls: posts that are known to exist; unless an answer proves by them that this account would be shown
            them, missing posts do not count as expunged.
        says_banned: whether the sweep, or an earlier answer, says of posts if they are banned.
        may_be_refused: whether a 401 or 403 may be about this question alone instead of about us.

    Returns:
        What was answered; `unanswered` of it says about which posts nothing was.

    Raises:
        SourceError: the API cannot be used, or refuses the question.
    """
    rows: dict[int, CompleteRow] = {}
    expunged: set[int] = set()
    step = ids_per_request(controls)
    for start in range(0, len(ids), step):
        asked = set(ids[start : start + step])
        records = _records_of(client, asked | controls.ids, may_be_refused=may_be_refused)
        parsed = [row for row in map(parse_api_record, records) if isinstance(row, dict)]
        found = {row["id"]: row for row in complete_rows(parsed, says_banned=says_banned)}
        rows |= {id_: row for id_, row in found.items() if id_ in asked}
        # A record that is rejected is of a post that the site has, and of any that was asked about if it names none.
        shown = {id_of(record) for record in records}
        if controls.prove(found, shown=shown, asked=asked):
            expunged |= asked - shown
    return PostUpdates(rows, frozenset(expunged))


def _records_of(client: BooruClient, ids: set[int], *, may_be_refused: bool) -> list[Mapping[str, Any]]:
    wanted = f"id:{','.join(map(str, sorted(ids)))}"
    # An account may hide deleted posts. A site that does not know the word gives nothing, or refuses it, and is asked
    # without it.
    for tags in (f"{wanted} status:any", wanted):
        # A limit of at least the number of ids: a site that ignores `tags` gives itself away by posts nobody asked for.
        query: dict[str, str | int] = {"limit": POSTS_PER_REQUEST, "tags": tags}
        answer = client.get_json("/posts.json", query, may_be_refused=may_be_refused)
        value = answer.value if answer.status == 200 and isinstance(answer.value, list) else []
        if records := [record for record in value if isinstance(record, Mapping)]:
            return records
    if answer.status != 200:
        raise SourceUnusable(
            f"{client.settings.api_url}/posts.json answers HTTP {answer.status} to a question about posts by "
            "their ids; check that DANBOORU_API_URL is the address of a Danbooru, or run again later: what was done so "
            "far is kept"
        )
    return []


def save_updates(layout: Layout, year: int, bucket: str, updates: PostUpdates) -> None:
    """Add updates to those that a bucket has already; the caller must hold the lock of the bucket.

    Rows of posts that the sweep did not have become posts of the year, if they were created up to its cutoff.
    """
    path = layout.refreshed(year, bucket)
    known = {row["id"]: row for row in pq.ParquetFile(path).read().to_pylist()} if path.exists() else {}
    slice_ = layout.posts_bucket(year, bucket)
    swept = pq.ParquetFile(slice_).read() if slice_.exists() else no_rows(POST_SCHEMA)
    ids = set(swept["id"].to_pylist())
    known |= {
        id_: {**row, "is_expunged": False}
        for id_, row in updates.rows.items()
        if id_ in ids or row["created_at"] <= cutoff(year)  # a post that the sweep did not have was restored
    }
    for row in swept.filter(pc.is_in(swept["id"], pa.array(sorted(updates.expunged), pa.int64()))).to_pylist():
        known[row["id"]] = {**known.get(row["id"], row), "is_expunged": True}
    if known:
        rows = [known[id_] for id_ in sorted(known)]
        with atomic_file(path) as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=REFRESHED_SCHEMA), file, compression="zstd")


def discard_updates(layout: Layout, year: int) -> None:
    """Remove all updates of a year, since its posts are swept anew."""
    remove_folder(layout.refreshed_folder(year))


def apply_updates(layout: Layout, year: int) -> int:
    """Merge all updates into the posts of a release. Returns how many rows changed.

    An expunged post keeps its row, and the manifest records its outcome; a restored one that the sweep did not have
    gets one. The report of the sweep gets the digest of the new rows, so a release made from them counts as another.
    """
    updates = pa.concat_tables([no_rows(REFRESHED_SCHEMA), *_all_updates(layout, year)])
    kept = updates.filter(pc.invert(updates["is_expunged"]))
    rows = kept.select(POST_SCHEMA.names).cast(POST_SCHEMA).sort_by("id")
    with pq.ParquetFile(layout.posts(year)) as posts:
        changed = sum(count for _, count in _merged(posts, rows)) if rows.num_rows else 0
        if not changed:
            return 0
        digest, count = RowDigest(POST_SCHEMA), 0
        with atomic_file(layout.posts(year)) as file, posts_writer(file) as writer:
            for table, _ in _merged(posts, rows):
                writer.write_table(table)
                digest.update(table)
                count += table.num_rows
    report = load_posts_report(layout, year).with_rows(sha256=digest.hexdigest(), rows=count)
    write_posts_report(layout, year, report)
    return changed


def _all_updates(layout: Layout, year: int) -> Iterable[pa.Table]:
    folder = layout.refreshed_folder(year)
    names = sorted(folder.glob("[0-9]*.parquet")) if folder.is_dir() else []
    return [conform(pq.ParquetFile(path).read(), REFRESHED_SCHEMA) for path in names]


def _merged(posts: pq.ParquetFile, updates: pa.Table) -> Iterator[tuple[pa.Table, int]]:
    """The row groups of the posts with updates merged in, and how many rows of each changed or are new."""
    for number in range(posts.num_row_groups):
        table = conform(posts.read_row_group(number))
        is_last = number == posts.num_row_groups - 1
        mine = pc.less_equal(updates["id"], INT64_MAX if is_last else table["id"][-1])
        hits, updates = updates.filter(mine), updates.filter(pc.invert(mine))
        old = table.filter(pc.is_in(table["id"], hits["id"].combine_chunks()))
        if not hits.num_rows or old.equals(hits):
            yield table, 0
            continue
        rest = table.filter(pc.invert(pc.is_in(table["id"], hits["id"].combine_chunks())))
        before = {row["id"]: row for row in old.to_pylist()}
        differing = sum(before.get(row["id"]) != row for row in hits.to_pylist())
        yield pa.concat_tables([rest, hits]).sort_by("id").combine_chunks(), differing
