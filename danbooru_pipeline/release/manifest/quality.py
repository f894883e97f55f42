"""Numbers that judge a manifest before it becomes a release. Pure, but for reading files.

What does not add up is a problem and stops the release; what merely differs from last year is drift and is shown.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.io.external_sort import ExternalGroupBy
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.outcomes import REASONS, Reason, Status
from danbooru_pipeline.release.checksums import by_bucket
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.years import sfw_ratings

#: A reason with more than this share of all posts is worth a look.
MAX_MISSING_SHARE: Final = 0.001
#: A share that moved by more than this between two years is worth a look, and so is a mean that moved by a tenth.
MAX_SHARE_MOVE: Final = 0.02
MAX_MEAN_MOVE: Final = 0.1

_IMAGES: Final = pa.schema([("id", pa.int64()), ("px512_path", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Px512Balance:
    """Rows with an SFW rating, and whether each is accounted for.

    Attributes:
        explained: SFW rows that have a reason in place of a 512px image.
        files: 512px images of the manifest that are in the store.
    """

    sfw_rows: int
    images: int
    explained: int
    files: int

    @property
    def balances(self) -> bool:
        """Whether every SFW row has its image or a reason, and every image its file."""
        return self.sfw_rows == self.images + self.explained and self.files == self.images


def px512_balance(layout: Layout, year: int) -> Px512Balance:
    """Count SFW rows in the posts, not in the manifest, and the files on disk."""
    sfw = pa.array(sfw_ratings(year))
    images = explained = sfw_rows = 0
    for table in read_batches(layout.posts(year), columns=("rating",)):
        sfw_rows += pc.sum(pc.is_in(table["rating"], value_set=sfw)).as_py() or 0
    for table in read_batches(layout.manifest(year), columns=("rating", "px512_status", "px512_reason")):
        rows = table.filter(pc.is_in(table["rating"].cast(pa.string()), value_set=sfw))
        made = pc.sum(pc.equal(rows["px512_status"].cast(pa.string()), str(Status.OK))).as_py() or 0
        images += made
        explained += rows.num_rows - rows["px512_reason"].null_count
    return Px512Balance(sfw_rows=sfw_rows, images=images, explained=explained, files=_px512_files(layout, year))


def _px512_files(layout: Layout, year: int) -> int:
    """How many of the 512px images of a manifest are there."""
    files = 0
    with ExternalGroupBy(_IMAGES, key=by_bucket, folder=layout.metadata(year)) as images:
        for table in read_batches(layout.manifest(year), columns=_IMAGES.names):
            images.add(table.drop_null().cast(_IMAGES))
        for number, group in images.groups():
            there = list_files(layout.px512_bucket(BUCKETS[number]))
            files += sum(path.rpartition("/")[2] in there for path in set(group["px512_path"].to_pylist()))
    return files


#: States of an original that need nobody: it is there, or nobody may have it.
_AS_IT_SHOULD_BE = frozenset({Status.OK, Status.WITHHELD, Status.REMOVED})


def missing_shares(reasons: Mapping[str, int], posts: int) -> dict[str, float]:
    """Reason -> share of all posts that should have a file and have none, for that reason.

    Posts whose file is withheld or removed on purpose are not missing: every site has some, every year.
    """
    return {
        name: count / max(posts, 1)
        for name, count in sorted(reasons.items(), key=lambda item: -item[1])
        if REASONS[Reason(name)][0] not in _AS_IT_SHOULD_BE
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """The composition of a year: shares of its posts by rating and by file type, and mean tags per post."""

    posts: int
    ratings: Mapping[str, float]
    types: Mapping[str, float]
    tags_per_post: float


def composition(layout: Layout, year: int) -> Composition | None:
    """The composition of a year; None without its posts."""
    if not layout.posts(year).exists():
        return None
    posts = tags = 0
    ratings: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for table in read_batches(layout.posts(year), columns=("rating", "file_ext", "tag_string")):
        posts += table.num_rows
        tags += pc.sum(_tag_counts(table["tag_string"])).as_py() or 0
        for counted, name in ((ratings, "rating"), (types, "file_ext")):
            for row in pc.value_counts(table[name]).to_pylist():
                counted[str(row["values"])] += row["counts"]
    return Composition(posts=posts, ratings=_shares(ratings), types=_shares(types), tags_per_post=tags / max(posts, 1))


def _tag_counts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.add(pc.count_substring(texts, " "), pc.cast(pc.greater(pc.utf8_length(texts), 0), pa.int32()))


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = max(counts.total(), 1)
    return {name: count / total for name, count in counts.most_common()}


@dataclass(frozen=True, slots=True)
class Drift:
    """One number in two years; `moved` if it is worth a look."""

    name: str
    before: float
    now: float
    moved: bool


def drift(before: Composition, now: Composition) -> list[Drift]:
    """The numbers of two years side by side, the largest moves first."""
    found = [
        _share_drift(f"{what} {name}", then.get(name, 0.0), today.get(name, 0.0))
        for what, then, today in (("rating", before.ratings, now.ratings), ("type", before.types, now.types))
        for name in sorted({*then, *today})
    ]
    means = before.tags_per_post, now.tags_per_post
    moved = abs(means[1] - means[0]) > MAX_MEAN_MOVE * max(means[0], 1e-9)
    found.sort(key=lambda each: -abs(each.now - each.before))
    return [Drift("tags per post", *means, moved), *found]


def _share_drift(name: str, before: float, now: float) -> Drift:
    return Drift(name, before, now, abs(now - before) > MAX_SHARE_MOVE)
