"""What must hold over years, whatever happens to posts: changes turn one release into the next, old ones stay."""

import itertools
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release import (
    apply_takedown,
    plan_takedown,
    published,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.reconstruct import reconstruct
from danbooru_pipeline_tests.support.trees import changed, contents, images
from danbooru_pipeline_tests.support.yard import NOW, Yard, tree_state

YEARS = (2021, 2022, 2023)
IDS = (1001, 1002, 2001, 2002, 5003)
EVENTS = st.tuples(
    st.sampled_from(["new", "replaced", "re-rated", "deleted", "banned", "taken down"]), st.sampled_from(IDS)
)
History = list[list[tuple[str, int]]]
HISTORY = st.lists(st.lists(EVENTS, max_size=5), min_size=len(YEARS), max_size=len(YEARS))


def happen(yard: Yard, event: str, post_id: int, gone: set[int]) -> None:
    """Let something happen to a post; what cannot happen does not."""
    known = yard.rows.get(post_id)
    if post_id in gone:
        return
    if event == "new" and known is None:
        yard.post(post_id)
    elif known is None:
        return
    elif event == "replaced":
        yard.post(post_id, rating=str(known["rating"]), score=yard.year)
    elif event == "re-rated":
        yard.post(post_id, rating="e" if known["rating"] == "s" else "s", score=known.get("score"))
    elif event == "deleted":
        yard.rows[post_id]["is_deleted"] = True
    elif event == "banned":
        yard.post(post_id, reason=Reason.BANNED)


def take_down(yard: Yard, post_id: int) -> None:
    """Take a post down everywhere, and let the next sweep know nothing of it."""
    apply_takedown(plan_takedown(yard.layout, [post_id]), created_at=NOW, threads=1)
    yard.rows.pop(post_id, None)
    yard.ledger.pop(post_id, None)


def assert_years_agree(layout: Layout) -> None:
    """All releases verify, and each follows from every one before by its list of changes."""
    releases = list(published(layout).items())
    for _, folder in releases:
        assert verify_release(folder, full=True).lines()[-1].endswith("all is well")
    for (year, old), (_, new) in itertools.pairwise(releases):
        assert read_release(new).previous == read_release(old).ref
        assert_reconstructed(year, old, new)
    # A mirror may hold any year: each has its list in every later one.
    for (year, old), (next_year, new) in itertools.combinations(releases, 2):
        assert changed(old, new, f"{next_year}-from-{year}") == contents(new)


def assert_reconstructed(year: int, old: Path, new: Path) -> None:
    """What the later release says about the earlier one is true, file by file."""
    found = reconstruct(year, new)
    before, now = images(old), images(new)
    assert set(found.files) == {path for path, data in before.items() if now.get(path) == data}
    assert set(found.replaced) == {path for path, data in before.items() if path in now and now[path] != data}
    assert set(found.gone) == before.keys() - now.keys()
    assert found.exact
    assert found.last_id == read_release(old).last_id


@pytest.mark.slow(20)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(history=HISTORY)
def test_any_history_of_three_years(history: History) -> None:
    """Posts come, change and go: changes, reconstruction and verification agree, and old trees stay unchanged."""
    live_through(history)


@pytest.mark.slow(500)
@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(history=HISTORY)
def test_many_histories_of_three_years(history: History) -> None:
    """The same for more histories than there is time for in every run."""
    live_through(history)


def live_through(history: History) -> None:
    """Let a history happen, release every year of it, and look at all releases after each step."""
    gone: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        yard = Yard(Layout(Path(folder)))
        yard.post(9)
        yard.post(1010, rating="e")
        for year, events in zip(YEARS, history, strict=True):
            yard = Yard(yard.layout, year=year, rows=dict(yard.rows), ledger=dict(yard.ledger))
            for event, post_id in events:
                happen(yard, event, post_id, gone)
            before = {old: tree_state(path) for old, path in published(yard.layout).items()}
            yard.release()
            assert {old: tree_state(yard.layout.release(old)) for old in before} == before
            assert_years_agree(yard.layout)
            for post_id in {post_id for event, post_id in events if event == "taken down"} - gone:
                take_down(yard, post_id)
                gone.add(post_id)
                assert_taken_down(yard.layout, post_id)
            assert_years_agree(yard.layout)


def assert_taken_down(layout: Layout, post_id: int) -> None:
    """No release and no store has a file or a row of the post; only its id is left."""
    for folder in [*published(layout).values(), layout.store]:
        assert not [path for path in folder.glob(f"*/{bucket_of(post_id)}/*") if path.stem == str(post_id)]
    for folder in published(layout).values():
        for table in (*folder.glob("parquet/posts-*"), *folder.glob("manifest/**/*.parquet")):
            assert post_id not in pq.read_table(table, columns=["id"])["id"].to_pylist()
        for path in folder.glob("metadata/*/posts*.json"):
            assert f'"id":"{post_id}"' not in path.read_text()
