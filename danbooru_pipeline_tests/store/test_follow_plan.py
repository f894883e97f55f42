"""What following may take: properties that hold for any post, row and kept file."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.layout import replaced_path
from danbooru_pipeline.outcomes import Reason, Status
from danbooru_pipeline.posts import Fetch, Post
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.store.follow.plan import Seen, plan_follow
from danbooru_pipeline.store.follow.state import MAX_TRIES, OVERLAP, FollowState
from danbooru_pipeline.store.ledger import LedgerRow

MD5S = [f"{number:032x}" for number in range(3)]
START, SWEPT = 5, 2021
EXCLUDED = frozenset({"guro"})
BEGAN = datetime(2022, 1, 12, tzinfo=UTC)
TIMES = st.datetimes(datetime(2022, 1, 1), datetime(2022, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis


def name_of(fetch: Fetch) -> str:
    """The name of its kept file."""
    return replaced_path(fetch.id, fetch.md5, fetch.ext).rpartition("/")[2]


@st.composite
def posts(draw: st.DrawFn) -> Seen:
    """A post as a site may show it, with files that it had before."""
    post = Post(
        id=draw(st.integers(1, 9)),
        md5=draw(st.sampled_from([*MD5S, None, "no md5"])),
        ext=draw(st.sampled_from(["jpg", "png", "exe", None])),
        file_size=draw(st.sampled_from([None, 10])),
        rating="s",
        file_url=None,
        is_banned=draw(st.booleans()),
        tags=draw(st.sampled_from(["solo", "solo guro"])),
        is_doubtful=draw(st.booleans()),
    )
    former = draw(st.lists(st.sampled_from(MD5S), max_size=2))
    olds = tuple(Post(post.id, md5, "jpg", None, "s", None, post.is_banned, post.tags) for md5 in former)
    year = draw(st.integers(2019, 2023))
    return Seen(post, datetime(year, 6, 1, tzinfo=UTC), draw(st.booleans()), olds)


rows = st.builds(
    LedgerRow,
    id=st.integers(1, 9),
    md5=st.sampled_from(MD5S),
    ext=st.sampled_from(["jpg", "png"]),
    reason=st.sampled_from([None, Reason.GONE, Reason.BANNED, Reason.MD5_DIFFERS]),
    first_release=st.integers(2019, 2022),
)


@given(
    st.lists(posts(), unique_by=lambda seen: seen.post.id),
    st.lists(rows, unique_by=lambda row: row.id),
    st.sets(st.sampled_from([f"{id_}.{md5}.jpg" for id_ in range(1, 10) for md5 in MD5S])),
)
def test_only_what_is_new_and_may_be_taken(seen: list[Seen], known: list[LedgerRow], kept: set[str]) -> None:
    """No row is replaced; nothing is asked for that is hidden or held, or twice; a release to come gets it."""
    ledger = {row.id: row for row in known}
    plan = plan_follow(seen, ledger, kept=kept, start_id=START, swept=SWEPT, exclude_tags=EXCLUDED)
    by_id = {each.post.id: each for each in seen}
    first = [fetch for files in plan.first.values() for fetch in files]
    assert all(year > SWEPT for year in plan.first)
    assert {fetch.id for fetch in first}.isdisjoint(ledger)
    names = [name_of(fetch) for fetch in plan.further]
    assert len(names) == len(set(names))
    assert kept.isdisjoint(names)
    assert len({fetch.id for fetch in first}) == len(first)
    for fetch in plan.files:
        post, row = by_id[fetch.id].post, ledger.get(fetch.id)
        assert why_not_fetched(post, exclude_tags=EXCLUDED) is None
        assert row is not None or fetch.id > START
        held = row is not None and row.status is Status.OK
        assert not (held and row is not None and (row.md5, row.ext) == (fetch.md5, fetch.ext))


@given(st.lists(posts(), unique_by=lambda seen: seen.post.id), st.integers(0, 9))
def test_posts_of_the_sweep_are_left_to_its_build(seen: list[Seen], swept_up_to: int) -> None:
    """Above the start, a post of the sweep's time that the sweep has is not taken as one of the next year."""
    plan = plan_follow(seen, {}, kept=(), start_id=START, swept=SWEPT, swept_up_to=swept_up_to, exclude_tags=EXCLUDED)
    by_id = {each.post.id: each for each in seen}
    assert all(fetch.id > swept_up_to or by_id[fetch.id].created_at.year > SWEPT for fetch in plan.files)


@given(st.lists(TIMES), st.lists(TIMES), st.one_of(st.none(), TIMES), st.one_of(st.none(), TIMES))
def test_each_feed_has_its_own_place(
    events: list[datetime], old: list[datetime], before: datetime | None, replaced: datetime | None
) -> None:
    """No feed moves on by what the other one told, or goes back; the common time is that of the one that is behind."""
    state = FollowState(
        site="", start_id=0, last_id=9, changes_until=BEGAN, events_until=before, replacements_until=replaced
    )
    after = state.with_changes(events, old)
    assert after.events_since + OVERLAP == max([*events, before or BEGAN])
    assert after.replacements_since + OVERLAP == max([*old, replaced or BEGAN])
    assert after.changes_until == min(after.events_since, after.replacements_since) + OVERLAP


@given(st.dictionaries(st.integers(1, 9), st.integers(1, MAX_TRIES)), st.sets(st.integers(1, 9)), st.data())
def test_each_try_is_counted(before: dict[int, int], tried: set[int], data: st.DataObject) -> None:
    """A file that came is forgotten, one that did not is counted, and others stay as they were."""
    left = data.draw(st.sets(st.sampled_from(sorted(tried)))) if tried else set()
    now = datetime(2022, 1, 1, tzinfo=UTC)
    state = FollowState(site="", start_id=0, last_id=9, changes_until=now, left=before)
    after = state.with_left(tried, left).left
    assert set(after) == (set(before) - tried) | left
    assert all(after[id_] == before.get(id_, 0) + (id_ in left) for id_ in after)
    assert state.asked_again == {id_ for id_, tries in before.items() if tries < MAX_TRIES}
