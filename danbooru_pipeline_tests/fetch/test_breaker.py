"""The circuit breaker: a host that is down is paused, probed again, and given up only after that."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.errors import SourceUnreachable
from danbooru_pipeline.fetch import BooruClient, download_file
from danbooru_pipeline.fetch.breaker import NO_ANSWER, PAUSES, CircuitBreaker
from danbooru_pipeline_tests.support.downloads import PNG, post_of
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, make_answer


def test_pauses_grow_until_the_run_ends() -> None:
    """Pauses grow every ten failures and add up to the retry time; the hundredth failure ends the run."""
    breaker = CircuitBreaker()
    with pytest.raises(SourceUnreachable):
        pauses = [breaker.record("a", NO_ANSWER) for _ in range(99)]
        breaker.record("a", NO_ANSWER)
    found = [pause for pause in pauses if pause]
    assert found == sorted(PAUSES.values())
    assert 0.9 < sum(found) <= 1


def test_good_answer_resets_the_count() -> None:
    """A host that is back starts from zero, and hosts do not affect each other."""
    breaker = CircuitBreaker()
    for _ in range(3):
        assert sum(breaker.record("a", 500) for _ in range(49)) == 0
        assert breaker.record("b", NO_ANSWER) == 0
        assert breaker.record("a", 200) == 0


def test_host_that_comes_back_is_waited_for(
    serve: Callable[[Answer], RawServer], connect: Callable[..., BooruClient], tmp_path: Path
) -> None:
    """After 50 consecutive failures the host is paused; then it is probed, and the work continues."""
    moments: list[float] = []

    def answer(_server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        moments.append(time.monotonic())
        if len(moments) > 50:
            connection.sendall(make_answer(PNG))

    client = connect(serve(answer).url, retry_seconds=12.0)
    client.policy = type(client.policy)(max_failures=1)  # the pause is the breaker's, not a retry's
    reasons = [download_file(client, post_of(), tmp_path / "0007" / "7.png").reason for _ in range(51)]
    assert reasons[-1] is None
    assert all(reasons[:-1])
    assert moments[50] - moments[49] > 0.9 * 12 / 30
