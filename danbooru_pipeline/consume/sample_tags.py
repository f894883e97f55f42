"""Random sets of tags, as prompts for generators: by how often tags are, or by how often they are together.

By counts, each category gives so many tags, each as likely as it is frequent. By co-occurrence, the next tag is one of
a post that has the last tags, so a set holds together as a post's tags do; some thousands of posts of the release stand
for all. The same seed gives the same sets on any machine, and `numpy` alone throws the dice.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.errors import BadQuery
from danbooru_pipeline.consume.find import unreadable_named
from danbooru_pipeline.io.bounded_parquet import extents, read_untrusted
from danbooru_pipeline.release.tables.search_index import reader, shards_of
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.search.catalog import pattern_mask
from danbooru_pipeline.search.postings import words_of
from danbooru_pipeline.years import require_ratings

#: In the order of a prompt: who and from where first.
CATEGORIES: Final = ("character", "copyright", "artist", "general", "meta")
#: Posts that stand for all, spread over the release: enough for tags of one post in a thousand.
_POSTS: Final = 20_000
#: Tries to find a tag that is not there yet, before a set stays smaller.
_TRIES: Final = 12
#: Row groups that they are taken from.
_GROUPS: Final = 8
_ROWS: Final = 2_500
_NO_TAGS: Final = "no post of the release has a tag; use another release"

Numbers = npt.NDArray[np.int64]
Sets = Iterator[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSampling:
    """What sets of tags are wanted.

    Attributes:
        wanted: category -> most tags of it in a set.
        ratings: only of posts with these; all of them without any.
        exclude: tags that no set has; patterns with ``*``.
        together: by co-occurrence instead of counts.
        seed: another one gives other sets.
    """

    wanted: Mapping[str, int]
    ratings: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    together: bool = False
    seed: int = 0


def sample_tags(release: Path, sampling: TagSampling, count: int) -> list[list[str]]:
    """So many sets of tags.

    Raises:
        BadQuery: a category or rating does not exist, or no tag is left.
        ReleaseError: the release cannot be read.
    """
    if unknown := [name for name in sampling.wanted if name not in CATEGORIES]:
        raise BadQuery(f"there is no category {unknown[0]!r}; use {', '.join(CATEGORIES)}")
    try:
        require_ratings(sampling.ratings)
    except ValueError as error:
        raise BadQuery(f"rating {error}") from error
    dice = np.random.Generator(np.random.PCG64(sampling.seed))
    choose = _by_posts if sampling.together else _by_counts
    with unreadable_named(release):
        return list(islice(choose(release, sampling, dice, count), count))


def _allowed(names: pa.Array, sampling: TagSampling) -> pa.Array:
    mask = pc.not_equal(names, "")
    for pattern in sampling.exclude:
        mask = pc.and_not(mask, pattern_mask(names, pattern))
    return mask


def _by_counts(release: Path, sampling: TagSampling, dice: np.random.Generator, count: int) -> Sets:
    columns = [f"posts_{rating}" for rating in sampling.ratings] or ["posts"]
    if TAG_COUNTS not in shards_of(release):
        raise BadQuery("the release has no counts of tags; use a newer one, or co-occurrence")
    tables = [table for table in reader(release)(TAG_COUNTS, ("name", "category", *columns)) if table.num_rows]
    if not tables:
        raise BadQuery(_NO_TAGS)
    table = pa.concat_tables(tables).combine_chunks()
    table = table.filter(_allowed(table["name"], sampling))
    parts = []
    for name in CATEGORIES:
        own = table.filter(pc.equal(table["category"], name))
        weights = sum((own[column].to_numpy().astype(float) for column in columns), np.zeros(own.num_rows))
        held = np.flatnonzero(weights)
        names = own["name"].take(pa.array(held)).to_pylist()
        wanted = min(sampling.wanted.get(name, 0), len(held))
        parts.append((names, _drawn(weights[held], wanted, count, dice)))
    if not any(names for names, _ in parts):
        raise BadQuery("no tag is left; exclude fewer, or other ratings")
    for number in range(count):
        yield [names[place] for names, drawn in parts for place in drawn[number]]


def _drawn(weights: npt.NDArray[np.float64], wanted: int, count: int, dice: np.random.Generator) -> list[list[int]]:
    """For each set different places, each as likely as its weight among those that are left."""
    if not wanted:
        return [[] for _ in range(count)]
    cumulated = np.cumsum(weights)
    tries = np.searchsorted(cumulated, dice.random((count, 3 * wanted + _TRIES)) * cumulated[-1], side="right")
    found = []
    for row in tries.tolist():
        own = list(dict.fromkeys(row))[:wanted]
        # Few frequent tags are drawn again and again; what is missing is taken in the order of a race that they won.
        if len(own) < wanted:
            own += _race(weights, set(own), dice)[: wanted - len(own)]
        found.append(own)
    return found


def _race(weights: npt.NDArray[np.float64], out: set[int], dice: np.random.Generator) -> list[int]:
    """All other places in a random order, in which the weight of each is its chance to be the next."""
    times = dice.exponential(size=len(weights)) / weights
    return [place for place in np.argsort(times).tolist() if place not in out]


@dataclass(slots=True)
class _Posts:
    """Tags of some posts: those of category ``c`` of post ``n`` are ``tags[starts[c][n]:starts[c][n + 1]]``."""

    names: list[str]
    tags: list[Numbers]
    starts: list[Numbers]
    count: int
    #: Tag -> posts that have it, ascending: ``having[first[t]:first[t + 1]]``.
    having: Numbers
    first: Numbers

    def has(self, tag: int, post: int) -> bool:
        """Whether a post has a tag."""
        own = self.having[self.first[tag] : self.first[tag + 1]]
        place = int(np.searchsorted(own, post))
        return place < len(own) and int(own[place]) == post


def _by_posts(release: Path, sampling: TagSampling, dice: np.random.Generator, count: int) -> Sets:
    posts = _read_posts(release, sampling)
    order = [place for place, name in enumerate(CATEGORIES) for _ in range(sampling.wanted.get(name, 0))]
    for _ in range(count):
        chosen: list[int] = []
        throw = iter(dice.random(4 * _TRIES * (len(order) + 1)).tolist()).__next__
        for category in order:
            tag = _next_tag(posts, category, chosen, throw)
            if tag is not None:
                chosen.append(tag)
        yield [posts.names[tag] for tag in chosen]


def _next_tag(posts: _Posts, category: int, chosen: Sequence[int], throw: Callable[[], float]) -> int | None:
    """A tag of a post that has the last two, or after some tries the last one alone, and not yet this tag."""
    last = chosen[-1] if chosen else None
    own = None if last is None else posts.having[posts.first[last] : posts.first[last + 1]]
    for number in range(_TRIES):
        post = int(throw() * posts.count) if own is None else int(own[int(throw() * len(own))])
        if number < _TRIES // 2 and len(chosen) > 1 and not posts.has(chosen[-2], post):
            continue
        begin, end = posts.starts[category][post : post + 2].tolist()
        if begin == end:
            continue
        tag = int(posts.tags[category][begin + int(throw() * (end - begin))])
        if tag not in chosen:
            return tag
    return None


def _read_posts(release: Path, sampling: TagSampling) -> _Posts:
    """Some thousand posts of the ratings, with the tags that are allowed."""
    columns = [f"tag_string_{name}" for name in CATEGORIES]
    table = pa.concat_tables(_spread(release, columns, sampling.ratings)).combine_chunks()
    rows = pa.array(np.arange(table.num_rows))
    words = [words_of(table[column], rows) for column in columns]
    encoded = pa.concat_arrays([pc.cast(names, pa.string()) for names, _ in words]).dictionary_encode()
    allowed = _allowed(encoded.dictionary, sampling).to_numpy(zero_copy_only=False)
    codes = encoded.indices.to_numpy().astype(np.int64)
    if not len(codes) and not sampling.ratings:
        raise BadQuery(_NO_TAGS)
    tags, starts, owners, begin = [], [], [], 0
    for _, posts in words:
        own = codes[begin : begin + len(posts)]
        begin += len(posts)
        kept = allowed[own]
        tags.append(own[kept])
        owners.append(posts.to_numpy()[kept])
        starts.append(np.searchsorted(owners[-1], np.arange(table.num_rows + 1)))
    every, holders = np.concatenate(tags), np.concatenate(owners)
    if not len(every):
        raise BadQuery("no tag is left; exclude fewer, or other ratings")
    pairs = np.unique(every * table.num_rows + holders)
    having, first = (
        pairs % table.num_rows,
        np.searchsorted(pairs // table.num_rows, np.arange(len(encoded.dictionary) + 1)),
    )
    return _Posts(encoded.dictionary.to_pylist(), tags, starts, table.num_rows, having, first)


def _spread(release: Path, columns: Sequence[str], ratings: Sequence[str]) -> list[pa.Table]:
    """Posts of the ratings from row groups all over the release's tables."""
    names = shards_of(release).get("posts", [])
    places = [(name, group) for name in names for group in range(len(extents(release, name, ("id",))))]
    chosen = [places[n * len(places) // _GROUPS] for n in range(_GROUPS)] if len(places) > _GROUPS else places
    found = []
    for name, group in chosen:
        held = 0
        for table in read_untrusted(release, name, columns=["rating", *columns], rows=_ROWS, groups=[group]):
            own = table
            if ratings:
                letters = table["rating"].cast(pa.string())
                own = table.filter(pc.is_in(letters, pa.array(list(ratings), pa.string())))
            found.append(own.select(columns))
            held += own.num_rows
            if held >= _POSTS // len(chosen):
                break
    if not any(table.num_rows for table in found):
        raise BadQuery("no post is left; give other ratings" if ratings else _NO_TAGS)
    return found
