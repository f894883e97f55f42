"""The turns in which download threads use the CPU."""

import contextlib
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from danbooru_pipeline.fetch.connections import TurnsTransport
from danbooru_pipeline.fetch.gil_turns import cpu_turn, set_low_watermark, without_turn
from danbooru_pipeline_tests.support.certificate import certified


def run_all(work: Callable[[], None], count: int) -> None:
    """Run the work in this many threads at once; threads that hang are abandoned."""
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def test_one_thread_computes_at_a_time() -> None:
    """Only one of many threads holds the turn at a time, and every thread gets it."""
    lock, together, most, done = threading.Lock(), 0, 0, 0

    def compute() -> None:
        nonlocal together, most, done
        for _ in range(50):
            with cpu_turn():
                with lock:
                    together += 1
                    most = max(most, together)
                sum(range(2000))
                with lock:
                    together -= 1
                    done += 1

    run_all(compute, 16)
    assert (done, together) == (16 * 50, 0)
    assert most == 1


def test_waiting_thread_gives_up_its_turn() -> None:
    """Threads that wait for one another while they hold a turn do not deadlock."""
    meet = threading.Barrier(8, timeout=20)
    arrived = []

    def wait() -> None:
        with cpu_turn(), without_turn():
            arrived.append(meet.wait())

    run_all(wait, meet.parties)
    assert len(arrived) == meet.parties


def test_an_error_gives_the_turn_back() -> None:
    """After an error, with the turn or without it, the turn is free again."""
    with pytest.raises(OSError, match="in a turn"), cpu_turn():
        raise OSError("in a turn")
    with pytest.raises(OSError, match="away"), cpu_turn(), without_turn():
        raise OSError("away")
    test_waiting_thread_gives_up_its_turn()


def test_waiting_without_a_turn_takes_none() -> None:
    """A thread that waits and holds no turn, such as a sweep of the API, neither releases nor takes one."""
    with without_turn():
        pass
    test_one_thread_computes_at_a_time()


#: Around the sizes of a TLS record and of the low watermark.
SIZES = (
    0,
    1,
    1000,
    16_383,
    16_385,
    17_408,
    33_000,
    65_535,
    65_537,
    82_943,
    82_945,
    90_000,
    216_000,
    262_143,
    262_145,
    300_000,
)


@contextlib.contextmanager
def dripping(context: ssl.SSLContext | None) -> Iterator[int]:
    """A port that answers ``/SIZE`` on persistent connections, with the body in packets as a network delivers them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            plain, _ = listener.accept()
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_side=True) if context else plain as connection:
                while request := connection.recv(65536):
                    size = int(request.split(b" ")[1][1:])
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                    for start in range(0, size, 1400):
                        connection.sendall(bytes(min(1400, size - start)))
                        time.sleep(0.0005)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
    thread.join(5)


@pytest.mark.parametrize("scheme", ["http", pytest.param("https", marks=pytest.mark.needs("openssl"))])
def test_body_arrives_whole_in_few_reads(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads wait for a large piece of the body, but never for more than is still to come, whatever its size."""
    context = None
    if scheme == "https":
        context = certified(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    transport = TurnsTransport(trust_env=True, timeout=httpx.Timeout(5))
    with dripping(context) as port, httpx.Client(transport=transport, timeout=5) as client:
        for size in (*SIZES, *(random.Random(1).randrange(350_000) for _ in range(10))):
            with client.stream("GET", f"{scheme}://127.0.0.1:{port}/{size}") as response:
                lengths = []
                for chunk in response.iter_raw():
                    lengths.append(len(chunk))
                    set_low_watermark(response, size - sum(lengths))
            assert sum(lengths) == size
            if scheme == "http":
                assert len(lengths) <= 4 + size // 65_536
