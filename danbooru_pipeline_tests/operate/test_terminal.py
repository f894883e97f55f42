"""One progress line for all processes of a build."""

import io

import pytest

from danbooru_pipeline.operate.terminal import TerminalLine
from danbooru_pipeline.progress import Gauge, Meter


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Claim to be a terminal."""
        return True


def test_workers_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line sums files, bytes and reasons of all workers, including finished runs."""
    monkeypatch.setenv("COLUMNS", "200")
    stream = Terminal()
    line = TerminalLine(stream)
    line.begin("original_images 2021", 200)
    line.show("a", Gauge("x", 100, 100, 10, 2048, {"gone": 1}, is_over=True))
    line.show("a", Gauge("x", 5, 100, 2, 1024, {}))
    line.show("b", Gauge("x", 20, 100, 3, 1024, {"gone": 2}))
    last = stream.getvalue().split("\r")[-1]
    assert "125/200" in last
    assert "15 files, 4.0 KiB" in last
    assert "left" in last
    assert "gone 3" in last


def test_log_lines_appear_above() -> None:
    """A log line replaces the progress line, which reappears below it."""
    stream = Terminal()
    line = TerminalLine(stream)
    line.begin("x", 2)
    line.show("a", Gauge("x", 1, 2, 0, 0, {}))
    line.write("something to keep")
    assert stream.getvalue().endswith("\x1b[Ksomething to keep\n")


def test_nothing_is_overwritten_without_a_terminal() -> None:
    """A file or a pipe gets only whole lines."""
    stream = io.StringIO()
    line = TerminalLine(stream)
    line.begin("x", 2)
    line.show("a", Gauge("x", 1, 2, 0, 0, {}))
    line.write("kept")
    assert stream.getvalue() == "kept\n"


def test_meter_shows_its_end() -> None:
    """A watched meter always shows its final state, however short it ran."""
    seen: list[Gauge] = []
    with Meter("x", total=3, watch=seen.append) as meter:
        meter.count_file(10, "gone")
        for _ in range(3):
            meter.count_step()
    assert (seen[-1].steps, seen[-1].files, seen[-1].reasons, seen[-1].is_over) == (3, 1, {"gone": 1}, True)
