"""Logs of lines: what a crash tears costs that line alone, for every log that is kept."""

from pathlib import Path

import msgspec
import pytest

from danbooru_pipeline.io.append_log import append_line, line_of, read_lines
from danbooru_pipeline.publish.journal import Journal as PublicationJournal
from danbooru_pipeline.publish.journal import Sent
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.ledger import LedgerRow

#: What may stand where a line was torn: half of it, half a character, nothing, bytes of another file.
TORN = [b'\n{"id":5,"na', b'\n{"name":"\xe3', b"\n\n\n", b"\0" * 512, b"\n[]\n", b"\r\n\x85"]


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
