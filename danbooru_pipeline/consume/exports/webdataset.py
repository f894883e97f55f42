"""WebDataset shards of a selection: one tar per bucket with ``ID.jpg`` (or its own extension) and ``ID.json``."""

from collections.abc import Iterator

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.select import Chosen
from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.posts.schema import CATEGORIES
from danbooru_pipeline.release.checksums import by_bucket
from danbooru_pipeline.release.tables.webdataset import ShardImage, write_shard
from danbooru_pipeline.years import cutoff

#: Rows sorted in memory at a time; a post with its tags takes some two kilobytes there.
_RUN_ROWS = 50_000


def write(job: Job) -> None:
    """Write the shards."""
    mtime = int(cutoff(job.about.year).timestamp())
    for bucket, posts in posts_by_bucket(job):
        write_shard(job.target, f"{job.chosen.tree}-{bucket}", members(job, posts), mtime=mtime)


def posts_by_bucket(job: Job) -> Iterator[tuple[str, Iterator[Chosen]]]:
    """Each bucket and its posts, by way of sorted files, so that memory does not grow with the selection."""
    rows = job.chosen.rows
    queries = [query for _, query in rows.windowed(job.chosen.columns)]
    if not queries:
        return
    schema = rows.schema(queries[0])
    with ExternalGroupBy(schema, key=by_bucket, folder=job.target, run_rows=_RUN_ROWS) as grouped:
        for query in queries:
            for table in rows.tables(query):
                grouped.add(table)
        for number, table in grouped.groups():
            yield BUCKETS[number], map(job.chosen.checked, table.to_pylist())


def members(job: Job, posts: Iterator[Chosen]) -> Iterator[ShardImage]:
    """The members of a shard."""
    for post in posts:
        if job.has_file(post):
            yield _member(job, post)
            job.count(post.size)


def _member(job: Job, post: Chosen) -> ShardImage:
    about = {
        "id": post.id,
        "rating": post.rating,
        "score": post.score,
        "is_deleted": post.is_deleted,
        "tags": post.tag_string.split(),
        **{f"tags_{name}": getattr(post, f"tag_string_{name}").split() for name in CATEGORIES.values()},
        "width": post.width,
        "height": post.height,
    }
    return ShardImage(name=post.path.rpartition("/")[2], path=job.release / post.path, about=about)


FORM = Form(write=write, size=lambda posts, size, _: size + posts * 3_500)
