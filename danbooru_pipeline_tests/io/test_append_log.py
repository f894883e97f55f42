"""Logs of lines: a crash costs the line that it tears, and no line is lost, not even while the log is replaced."""

import threading
from pathlib import Path

import msgspec
import pytest

from danbooru_pipeline.io.append_log import append_line, line_of, read_lines, replace_lines
from danbooru_pipeline.publish.journal import Journal as PublicationJournal
from danbooru_pipeline.publish.journal import Sent
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LedgerRow

#: What may stand where a line was torn: half of it, half a character, nothing, bytes of another file.
TORN = [b'\n{"id":5,"na', b'\n{"name":"\xe3', b"\n\n\n", b"\0" * 512, b"\n[]\n", b"\r\n\x85"]


class Note(msgspec.Struct, frozen=True):
    """A line."""

    number: int
    post: int


class Record(msgspec.Struct):
    """A line of a log."""

    id: int


@pytest.mark.parametrize("torn", TORN)
def test_torn_line_costs_that_line_alone(tmp_path: Path, torn: bytes) -> None:
    """Lines before and after it are read, in their order, by the log and the ledger's journal.

    A publication's journal says nothing then, so the place is asked: a line that is lost may name a removed post.
    """
    log = tmp_path / "log"
    append_line(log, Record(1))
    log.write_bytes(log.read_bytes() + torn)
    append_line(log, Record(2))
    assert [line.id for line in read_lines(log, Record) if line is not None] == [1, 2]

    path = tmp_path / "0001.journal"
    journal = Journal(path)
    journal.add(LedgerRow(id=1, md5=None, ext=None))
    journal.close()
    path.write_bytes(path.read_bytes() + torn)
    journal.add(LedgerRow(id=1001, md5=None, ext=None))
    journal.close()
    assert [row.id for row in Journal(path).read()] == [1, 1001]

    path = tmp_path / "publication.jsonl"
    sent = PublicationJournal(path)
    sent.end("a", Sent("1", ("a",)))
    path.write_bytes(path.read_bytes() + torn)
    sent.end("b", Sent("2", ("b",)))
    known = PublicationJournal.read(path).known
    assert known is None if torn.strip() else list(known or {}) == ["a", "b"]


def test_line_begins_and_ends_with_a_newline() -> None:
    """So that it is whole whatever stands before it."""
    assert line_of({"id": 1}) == b'\n{"id":1}\n'


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
