"""Bitmaps with decisions laid over them find what a loop over the corrected posts finds."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from pyroaring import BitMap

from danbooru_pipeline.search.catalog import IndexCatalog
from danbooru_pipeline.search.corrected import CorrectedCatalog
from danbooru_pipeline.search.index import write_index
from danbooru_pipeline_tests.support.searches import TAGS, Posts, catalog_on_disk, make_tables, reader

NAMES = (*TAGS, "new_tag", "long_cat")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Posts:
    """Posts as the site has them."""
    return Posts(tmp_path_factory.mktemp("plain"), make_tables(150, seed=5))


Decisions = dict[str, dict[str, BitMap]]


def decide(posts: pa.Table, dice: random.Random) -> tuple[pa.Table, Decisions]:
    """Random decisions about posts, and the posts with them applied; one tag is taken off all its posts."""
    changes: Decisions = {"+": {}, "-": {}}
    lost = dice.choice(TAGS)
    texts = []
    for id_, text in zip(posts["id"].to_pylist(), posts["tag_string"].to_pylist(), strict=True):
        tags = set((text or "").split())
        asked = {lost} & tags | (set(dice.sample(NAMES, 2)) - {lost} if dice.random() < 0.3 else set())
        for tag in sorted(asked):
            changes["-" if tag in tags else "+"].setdefault(tag, BitMap()).add(id_)
        texts.append(" ".join(sorted(tags ^ asked)))
    column = posts.schema.get_field_index("tag_string")
    return posts.set_column(column, "tag_string", pa.array(texts)), changes


@contextmanager
def indexed(folder: Path) -> Iterator[IndexCatalog]:
    """The catalog of an index in a folder."""
    with (folder / "index/bitmaps.roar").open("rb") as file:
        yield catalog_on_disk(folder, file)


@pytest.mark.parametrize("seed", range(6))
def test_overlay_is_the_index_of_corrected_posts(plain: Posts, tmp_path: Path, seed: int) -> None:
    """Posts, counts and patterns of every name are those of an index that is made from the corrected posts."""
    corrected, changes = decide(plain.tables["posts"], random.Random(seed))
    tables = plain.tables | {"posts": corrected}
    write_index(tmp_path, reader(tables), sorted(tables), categories={})
    with indexed(plain.folder) as old, indexed(tmp_path) as new:
        laid = CorrectedCatalog(old, changes["+"], changes["-"])
        assert laid.counts("tag").to_pylist() == new.counts("tag").select(["value", "posts"]).to_pylist()
        assert laid.counts("rating").to_pylist() == old.counts("rating").to_pylist()
        for name in NAMES:
            assert laid.posts("tag", name) == new.posts("tag", name)
        for pattern in ("*", "*cat*", "new*", "long_*", "nothing*"):
            assert laid.matching("tag", pattern) == new.matching("tag", pattern)
        assert laid.posts("rating", "s") == new.posts("rating", "s")
        assert laid.matching("pool", "*") == new.matching("pool", "*")
