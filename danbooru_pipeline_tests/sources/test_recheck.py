"""Asking again about posts: a missing post counts as expunged only beside a control post."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from danbooru_pipeline.errors import SourceBlocked, SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import PostUpdates, recheck_posts
from danbooru_pipeline.sources.controls import ANY, DELETED, Controls, choose_controls
from danbooru_pipeline.sources.rechecker import Rechecker
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, always, json_by, make_answer, serving

CREATED = "2021-06-01T00:00:00.000-04:00"
Answering = Callable[[dict[str, str]], Any]


def beside(control_id: int | None) -> Controls:
    """One control post, of a site that says nothing of ratings and deletions."""
    return Controls(frozenset({ANY}), frozenset({control_id})) if control_id is not None else Controls()


def ask(
    give: Answering,
    ids: list[int],
    *,
    control_id: int | None = None,
    controls: Controls | None = None,
    says_banned: bool = False,
) -> tuple[PostUpdates, RawServer]:
    """Ask a site that gives this answer."""
    with serving(json_by(lambda _path, params: give(params))) as server:
        settings = Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)
        with BooruClient(settings) as client:
            return recheck_posts(client, ids, controls=controls or beside(control_id), says_banned=says_banned), server


def by_id(*known: int) -> Answering:
    """A site that knows these posts and honours a list of ids."""

    def give(params: dict[str, str]) -> Any:
        wanted = {int(part) for part in params["tags"].removeprefix("id:").removesuffix(" status:any").split(",")}
        found = sorted(wanted & set(known), reverse=True)[: min(200, int(params["limit"]))]
        return [{"id": i, "created_at": CREATED, "md5": f"{i:032x}"} for i in found]

    return give


def test_answers_and_silence_beside_a_control_post() -> None:
    """Posts in the answer come with their rows; missing ones are expunged, since the control post is in the answer."""
    news, _ = ask(by_id(1, 2, 9), [1, 2, 3], control_id=9)
    assert sorted(news.rows) == [1, 2]
    assert news.rows[2]["md5"] == f"{2:032x}"
    assert news.expunged == {3}


@pytest.mark.parametrize("control_id", [9, None])
def test_silence_without_a_control_post_says_nothing(control_id: int | None) -> None:
    """If the control post is missing too, the site may not support such questions at all."""
    news, _ = ask(by_id(1), [1, 3], control_id=control_id)
    assert sorted(news.rows) == [1]
    assert news.expunged == frozenset()


@pytest.mark.parametrize("control_id", [9, 49, 50])
def test_site_that_ignores_the_question_is_not_believed(control_id: int) -> None:
    """A site that gives its newest posts whatever it is asked expunges nothing."""

    def newest(params: dict[str, str]) -> Any:
        return [{"id": i, "created_at": CREATED} for i in range(50, 0, -1)][: int(params["limit"])][:10]

    news, _ = ask(newest, [1, 45], control_id=control_id)
    assert sorted(news.rows) == [45]
    assert news.expunged == frozenset()


@pytest.mark.parametrize(
    ("hidden", "ids", "expunged"),
    [
        ({}, [3, 7], {7}),
        ({"rating": "q"}, [3, 7], set()),
        ({"is_deleted": True}, [3, 7], set()),
        ({"id": 20}, [3, 7], set()),
        ({"id": 20}, [3, 7, 22], {7}),
        ({"id": 10}, [3, 7], {7}),
    ],
)
def test_an_account_that_is_shown_less_expunges_nothing(
    hidden: dict[str, Any], ids: list[int], expunged: set[int]
) -> None:
    """Every kind of post that the sweep had must be in the answer, whichever posts it is that show it."""
    site = {10: "g", 20: "q", 22: "q", 30: "g", 3: "g"}

    def give(params: dict[str, str]) -> Any:
        rows = [row | {"rating": site[row["id"]], "is_deleted": row["id"] == 30} for row in by_id(*site)(params)]
        return [row for row in rows if not any(row[name] == value for name, value in hidden.items())]

    controls = Controls(frozenset({ANY, "g", "q", DELETED}), frozenset({10, 20, 30}))
    news, _ = ask(give, ids, controls=controls)
    assert news.expunged == expunged


def test_controls_are_of_every_kind_and_not_asked_about() -> None:
    """Some posts of each kind, from the first place that has it; without ratings, of any kind; and none of nothing."""
    bucket = {ANY: (1, 2, 3), "g": (1, 2, 3), DELETED: (2,)}
    year = {ANY: (4, 5), "q": (4, 5), DELETED: (5, 6, 7)}
    controls = choose_controls(bucket, year, asked=[2, 4])
    assert controls == Controls(frozenset({ANY, "g", "q", DELETED}), frozenset({1, 3, 5, 6}))
    assert choose_controls({ANY: (8, 9)}, asked=[8]) == Controls(frozenset({ANY}), frozenset({9}))
    assert choose_controls({}, asked=[1]) == Controls()
    assert not Controls().prove({}, shown=set(), asked=[1])


@pytest.mark.parametrize("answer", [[], {"success": False}, ["x"], [{"name": "x"}]])
def test_odd_answers_are_no_news(answer: Any) -> None:
    """An answer without posts proves nothing."""
    news, _ = ask(lambda _params: answer, [1, 2], control_id=9)
    assert news == PostUpdates()


def test_posts_that_an_account_hides_are_not_expunged() -> None:
    """An account may hide deleted posts from its listings; only a question for any status shows them."""

    def give(params: dict[str, str]) -> Any:
        ids = (1, 2, 9) if "status:any" in params["tags"] else (1, 9)
        return [{"id": i, "created_at": CREATED, "is_deleted": i == 2} for i in ids]

    news, server = ask(give, [1, 2], control_id=9)
    assert (sorted(news.rows), news.expunged) == ([1, 2], frozenset())
    assert len(server.requests) == 1


def test_site_that_does_not_know_the_word_is_asked_without_it() -> None:
    """To another booru ``status:any`` is a tag that no post has; its answer is then that of the plain question."""
    plain = by_id(1, 9)
    news, server = ask(lambda params: [] if "status:any" in params["tags"] else plain(params), [1, 2], control_id=9)
    assert (sorted(news.rows), news.expunged) == ([1], frozenset({2}))
    assert len(server.requests) == 2


def test_many_posts_take_few_requests() -> None:
    """199 posts and the control post go into one request."""
    ids = list(range(1, 500))
    news, server = ask(by_id(*range(1, 600)), ids, control_id=599)
    assert sorted(news.rows) == ids
    assert len(server.requests) == 3


def test_requests_of_several_buckets_are_full(serve: Callable[[Answer], RawServer]) -> None:
    """Posts that other buckets are expected to ask about fill a request up; each bucket gets its own answers."""
    server = serve(json_by(lambda _path, params: by_id(*range(1, 1000, 2))(params)))
    with BooruClient(Settings(api_url=server.url, cdn_url=server.url)) as client:
        rechecker = Rechecker(client)
        rechecker.expect(range(1, 301))
        for start in range(1, 301, 10):
            news = rechecker.recheck(range(start, start + 10), controls=beside(999), says_banned=False)
            assert sorted(news.rows) == list(range(start, start + 10, 2))
            assert news.expunged == set(range(start + 1, start + 10, 2))
        assert len(server.requests) == 2
        assert rechecker.recheck([1], controls=beside(999), says_banned=False).rows, (
            "an answer is given once, and a new question is asked"
        )
        assert len(server.requests) == 3


def test_posts_without_a_verdict_are_asked_about_by_their_own_bucket(serve: Callable[[Answer], RawServer]) -> None:
    """A control post that is gone itself settles nothing for others; their own one does."""
    server = serve(json_by(lambda _path, params: by_id(1, 9)(params)))
    with BooruClient(Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)) as client:
        rechecker = Rechecker(client)
        rechecker.expect([1, 2, 3])
        assert rechecker.recheck([2], controls=beside(8), says_banned=False) == PostUpdates()
        news = rechecker.recheck([1, 3], controls=beside(9), says_banned=False)
    assert (sorted(news.rows), news.expunged) == ([1], frozenset({3}))


def test_silent_api_is_asked_once_a_run(serve: Callable[[Answer], RawServer]) -> None:
    """An API that fails leaves posts as they were swept, and the buckets that follow do not wait for it again."""
    server = serve(always(make_answer(status=500)))
    settings = Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.001)
    with BooruClient(settings) as client:
        rechecker = Rechecker(client)
        assert rechecker.recheck([1], controls=beside(9), says_banned=False) == PostUpdates()
        asked = len(server.requests)
        assert asked
        assert rechecker.recheck([2], controls=beside(9), says_banned=False) == PostUpdates()
        assert len(server.requests) == asked


def test_block_during_a_recheck_stops_the_run(serve: Callable[[Answer], RawServer]) -> None:
    """A host that challenges us is not silent: it must not be asked for files either."""
    server = serve(always(make_answer(b"<html>challenge</html>", status=403, headers={"cf-mitigated": "challenge"})))
    settings = Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)
    with BooruClient(settings) as client, pytest.raises(SourceBlocked):
        Rechecker(client).recheck([1], controls=beside(9), says_banned=False)


@pytest.mark.parametrize("status", [400, 302, 404, 410, 422, 501])
def test_refused_question_is_no_empty_answer(serve: Callable[[Answer], RawServer], status: int) -> None:
    """A status that is an error makes the source unusable, as on other paths; it is no list without posts."""
    server = serve(always(make_answer(b"{}", status=status)))
    with (
        BooruClient(Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)) as client,
        pytest.raises(SourceUnusable, match=f"HTTP {status}.*run again"),
    ):
        recheck_posts(client, [1, 2], controls=beside(9), says_banned=False)


@pytest.mark.parametrize("status", [404, 422])
def test_site_that_refuses_the_word_is_asked_without_it(serve: Callable[[Answer], RawServer], status: int) -> None:
    """A refusal of ``status:any`` is none of the plain question, and an answer to that one counts."""
    plain = json.dumps(by_id(1, 9)({"tags": "id:1,2,9", "limit": "200"})).encode()
    server = serve(always(make_answer(b"{}", status=status), make_answer(plain)))
    with BooruClient(Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)) as client:
        news = recheck_posts(client, [1, 2], controls=beside(9), says_banned=False)
    assert (sorted(news.rows), news.expunged, news.unanswered([1, 2])) == ([1], frozenset({2}), frozenset())


def test_what_was_not_answered_is_told_apart() -> None:
    """A post is answered about by its row, or by proof that it is gone; of the others nothing is known."""
    proven, _ = ask(by_id(1, 9), [1, 3], control_id=9)
    unproven, _ = ask(by_id(1), [1, 3], control_id=9)
    silent, _ = ask(lambda _params: [], [1, 3], control_id=9)
    assert [news.unanswered([1, 3]) for news in (proven, unproven, silent)] == [set(), {3}, {1, 3}]


def test_refused_question_leaves_a_build_without_an_answer(serve: Callable[[Answer], RawServer]) -> None:
    """A build goes by the metadata that it has: nothing is expunged by an error, and no bucket waits for it again."""
    server = serve(always(make_answer(b"{}", status=404)))
    with BooruClient(Settings(api_url=server.url, cdn_url=server.url, retry_seconds=0.1)) as client:
        rechecker = Rechecker(client)
        for id_ in (1, 2):
            assert rechecker.recheck([id_], controls=beside(9), says_banned=False) == PostUpdates()
    assert len(server.requests) == 2
