"""Logs that several write to: no line is lost, not even while the log is replaced, and a torn one spoils no other."""

import threading
from pathlib import Path

import msgspec

from danbooru_pipeline.io.append_log import append_line, read_lines, replace_lines


class Note(msgspec.Struct, frozen=True):
    """A line."""

    number: int
    post: int


def test_no_line_is_lost_while_the_log_is_replaced(tmp_path: Path) -> None:
    """Three writers add lines while two others take out those about one post: all other lines are there, once each."""
    path, running = tmp_path / "log.jsonl", threading.Event()
    running.set()

    def write(first: int) -> None:
        for number in range(first, first + 60):
            append_line(path, Note(number, number % 4))

    def clear() -> None:
        while running.is_set():
            replace_lines(path, lambda record: None if record["post"] == 0 else record)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1000, 2000)]
    clearers = [threading.Thread(target=clear) for _ in range(2)]
    for thread in (*writers, *clearers):
        thread.start()
    for thread in writers:
        thread.join()
    running.clear()
    for thread in clearers:
        thread.join()
    replace_lines(path, lambda record: None if record["post"] == 0 else record)
    expected = sorted(first + n for first in (0, 1000, 2000) for n in range(60) if (first + n) % 4)
    assert sorted(note.number for note in read_lines(path, Note) if note) == expected


def test_torn_line_is_passed_over(tmp_path: Path) -> None:
    """What follows a torn line is read; a log that is replaced has no torn line any more."""
    path = tmp_path / "log.jsonl"
    append_line(path, Note(1, 1))
    with path.open("ab") as file:
        file.write(b'{"number":2,"po')
    append_line(path, Note(3, 3))
    assert list(read_lines(path, Note)) == [Note(1, 1), None, Note(3, 3)]
    replace_lines(path, lambda record: record)
    assert list(read_lines(path, Note)) == [Note(1, 1), Note(3, 3)]
