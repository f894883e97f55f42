"""Import: members of a tar are read as they lie in it, and what is taken does not depend on their order."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports import open_holdings
from danbooru_pipeline_tests.support.imported import NewStore, names_of, pack

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.bz2": bz2.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_members_are_read_as_they_lie_in_the_tar(tmp_path: Path, suffix: str) -> None:
    """Nothing goes back within a bucket, nor between buckets that lie one after another: that unpacks it anew."""
    ids = [9_002, 1_002, 5_002, 8_001, 3_001, 4_001]
    path = tmp_path / f"0000.{suffix}"
    path.write_bytes(PACKED[suffix](pack((f"{id_}.png", str(id_).encode()) for id_ in (*ids, 1_002))))
    wanted = [Fetch(id_, "0" * 32, "png", file_size=None, rating=None, file_url=None) for id_ in sorted(ids)]
    (holding,) = open_holdings([path])
    found = [(c.fetch.id, c.path.read_bytes()) for _, find in holding.buckets() for c in find(iter(wanted), tmp_path)]
    in_order = [9_002, 1_002, 5_002, 1_002, 8_001, 3_001, 4_001]
    assert found == [(id_, str(id_).encode()) for id_ in in_order]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_outcomes_do_not_depend_on_the_order_of_members(store: NewStore, tmp_path: Path, suffix: str) -> None:
    """Sorted, reversed or shuffled, with a false member of the same name before or after, the same is taken."""
    members = names_of(store)
    false = (members[0][0], b"another file")
    counts = []
    for number, order in enumerate((members, members[::-1], Random(1).sample(members, len(members)))):
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(PACKED[suffix](pack([false, *order])))
        report = store.take(path, dry_run=True)
        counts.append((report.outcomes, report.taken, report.left, report.problems))
    assert counts[0][0] == {"md5": len(members), "unproven": 1}
    assert counts[1:] == counts[:1] * 2
    path = tmp_path / f"last.{suffix}"
    path.write_bytes(PACKED[suffix](pack([*members, false])))
    assert store.take(path).taken == len(members)
