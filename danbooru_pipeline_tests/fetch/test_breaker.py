"""The breaker: a host that is down is left alone, looked at again, and given up only after that."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.errors import SourceUnreachable
from danbooru_pipeline.fetch import BooruClient, download_file
from danbooru_pipeline.fetch.breaker import NO_ANSWER, PAUSES, Breaker
from danbooru_pipeline_tests.support.downloads import PNG, post_of
from danbooru_pipeline_tests.support.raw_server import Answer, RawServer, make_answer


def test_pauses_grow_and_then_it_is_over() -> None:
    """Every ten failures the pause is longer; together they take the time for retries; the hundredth ends the run."""
    breaker = Breaker()
    with pytest.raises(SourceUnreachable):
        pauses = [breaker.note("a", NO_ANSWER) for _ in range(99)]
        breaker.note("a", NO_ANSWER)
    found = [pause for pause in pauses if pause]
    assert found == sorted(PAUSES.values())
    assert 0.9 < sum(found) <= 1


def test_good_answer_starts_the_count_anew() -> None:
    """A host that came back is as good as any, and other hosts are not concerned."""
    breaker = Breaker()
    for _ in range(3):
        assert sum(breaker.note("a", 500) for _ in range(49)) == 0
        assert breaker.note("b", NO_ANSWER) == 0
        assert breaker.note("a", 200) == 0


def test_host_that_comes_back_is_waited_for(
    serve: Callable[[Answer], RawServer], connect: Callable[..., BooruClient], tmp_path: Path
) -> None:
    """After 50 failures in a row nobody asks for a while; then the host is looked at again, and the work goes on."""
    moments: list[float] = []

    def answer(_server: RawServer, connection: socket.socket, _target: str, _headers: dict[str, str]) -> None:
        moments.append(time.monotonic())
        if len(moments) > 50:
            connection.sendall(make_answer(PNG))

    client = connect(serve(answer).url, retry_seconds=12.0)
    client.policy = type(client.policy)(max_failures=1)  # the pause is the breaker's, not that of a retry
    reasons = [download_file(client, post_of(), tmp_path / "0007" / "7.png").reason for _ in range(51)]
    assert reasons[-1] is None
    assert all(reasons[:-1])
    assert moments[50] - moments[49] > 0.9 * 12 / 30
