"""Review: the queue, the log behind it, undo, and two reviewers at once. No browser."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.curate.decisions import agreement, mistakes, reviewers, standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.learning import answers_of, count_answers, seconds_of
from danbooru_pipeline.curate.log import Answer, DecisionLog, Page
from danbooru_pipeline.curate.review.gold import draw_gold, stratum_of
from danbooru_pipeline.curate.review.queue import GivenQueue, Question, QueueOptions, ReviewQueue, Sheet
from danbooru_pipeline.curate.review.server import ReviewServer
from danbooru_pipeline.curate.review.session import ReviewSession, captions, preselected
from danbooru_pipeline.curate.review.terminal import review_rules
from danbooru_pipeline.errors import SettingsError

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]
ALL = QueueOptions(ratings=())


def session_of(curated: Curated, who: str, options: QueueOptions = ALL) -> ReviewSession:
    """A reviewer at work."""
    return ReviewSession(ReviewQueue(curated[0], curated[1], who, options))


def truth(session: ReviewSession, missing: set[tuple[int, str]]) -> int:
    """Answer everything truly. Returns how many pages there were."""
    pages = 0
    while (sheet := session.next()) is not None:
        pages += 1
        verdicts = {q.post: "+" if q.known or (q.post, sheet.tag) in missing else "-" for q in sheet.questions}
        session.save(sheet.number, verdicts, ms=100 * len(verdicts))  # type: ignore[arg-type]
    return pages


def test_all_candidates_are_asked_once(curated: Curated) -> None:
    """A reviewer who answers truly sees every candidate with a picture once; then nothing is left."""
    session = session_of(curated, "ann")
    truth(session, curated[2])
    pages = session.queue.log.read()
    asked = [(a.post, page.tag) for page in pages for a in page.answers if a.known is None]
    assert len(asked) == len(set(asked))
    assert set(asked) == curated[2]
    assert session_of(curated, "ann").next() is None
    assert seconds_of(pages) == 0.1
    assert {cell for cell, standing in standings(pages).items() if standing.agreed() == "+"} == curated[2]
    assert len(answers_of(pages)) == len(curated[2])


def test_two_reviewers_have_different_pages(curated: Curated) -> None:
    """While both have pages before them no picture is on two of them, and what one dropped the other gets."""
    ann, bob = session_of(curated, "ann"), session_of(curated, "bob")
    ours = [(sheet, who) for who in (ann, bob, ann, bob) if (sheet := who.next()) is not None]
    cells = [(q.post, sheet.tag) for sheet, _ in ours for q in sheet.questions if q.known is None]
    assert len(ours) == 4
    assert len(cells) == len(set(cells))
    first = ours[0][0]
    ann.queue.close()
    again = session_of(curated, "cid").next()
    assert again is not None
    assert again.tag == first.tag


def test_undone_page_comes_back(curated: Curated) -> None:
    """Undo takes the last page back, in a later session too, and a page is undone by a line of the log."""
    session = session_of(curated, "ann")
    sheet = session.next()
    assert sheet is not None
    session.save(sheet.number, {q.post: "-" for q in sheet.questions}, ms=5)
    later = session_of(curated, "ann")
    found = later.undo()
    assert found is not None
    again, verdicts = found
    assert [q.post for q in again.questions] == [q.post for q in sheet.questions]
    assert set(verdicts.values()) == {"-"}
    assert standings(session.queue.log.read()) == {}
    later.save(again.number, {q.post: "+" for q in again.questions}, ms=5)
    assert all(each.agreed() == "+" for each in standings(session.queue.log.read()).values())
    assert session_of(curated, "bob").undo() is None


def test_removals_take_two(curated: Curated) -> None:
    """One no is not enough to remove a tag, a second one is, and a yes of another is a dispute."""
    page = Page(
        number="1",
        tag="t",
        asked="-",
        who="ann",
        at="",
        answers=(Answer(post=1, verdict="-"), Answer(post=2, verdict="-")),
    )
    second = Page(
        number="2",
        tag="t",
        asked="-",
        who="bob",
        at="",
        answers=(Answer(post=1, verdict="-"), Answer(post=2, verdict="+")),
    )
    assert [each.agreed() for each in standings([page]).values()] == [None, None]
    found = standings([page, second])
    assert found[1, "t"].agreed() == "-"
    assert found[2, "t"].agreed() is None
    assert found[2, "t"].is_disputed
    assert (agreement(found).pairs, agreement(found).same) == (2, 1)


def test_known_answers_measure_the_reviewer() -> None:
    """A known answer is no decision; how many a reviewer got wrong is counted."""
    answers = (
        Answer(post=1, verdict="-", known="+"),
        Answer(post=2, verdict="+", known="+"),
        Answer(post=3, verdict="+"),
    )
    page = Page(number="1", tag="t", asked="+", who="ann", at="", ms=1500, answers=answers)
    assert list(standings([page])) == [(3, "t")]
    assert mistakes([page]) == 0.5
    (ann,) = reviewers([page])
    assert (ann.answers, ann.known, ann.known_wrong, ann.seconds) == (3, 2, 1, 1.5)
    assert count_answers([page]) == 3


def test_torn_line_loses_only_itself(tmp_path: Path) -> None:
    """A line that a power cut tore is passed over, and the next page is whole."""
    log = DecisionLog(tmp_path / "log.jsonl")
    page = Page(number="1", tag="t", asked="+", who="ann", at="", answers=(Answer(post=1, verdict="+"),))
    log.append(page)
    with log.path.open("ab") as file:
        file.write(b'\n{"number":"2","tag":"\xff')
    log.append(Page(number="3", tag="t", asked="+", who="ann", at=""))
    assert [each.number for each in log.read()] == ["1", "3"]
    assert log.torn == 1


WRITER = """
import sys
from pathlib import Path
from danbooru_pipeline.curate.log import Answer, DecisionLog, Page
log = DecisionLog(Path(sys.argv[1]))
who = sys.argv[2]
for n in range(100_000):
    answers = (Answer(post=n + 1, verdict="+"),) * 48
    log.append(Page(number=f"{who}-{n}", tag="t", asked="+", who=who, at="", answers=answers))
    print(n, flush=True)
"""


def test_killed_writers_lose_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """Two processes append until both are killed: every page that was confirmed is there, whole and once."""
    path = tmp_path / "log.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), who], stdout=subprocess.PIPE, text=True)
        for who in ("ann", "bob")
    ]
    confirmed = {}
    for who, writer in zip(("ann", "bob"), writers, strict=True):
        assert writer.stdout
        confirmed[who] = [writer.stdout.readline() for _ in range(20)]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
    for who, writer in zip(("ann", "bob"), writers, strict=True):
        rest, _ = writer.communicate()
        confirmed[who] += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    numbers = [page.number for page in DecisionLog(path).read()]
    assert len(numbers) == len(set(numbers))
    assert {f"{who}-{int(line)}" for who, lines in confirmed.items() for line in lines} <= set(numbers)


def test_terminal_asks_what_rules_say(curated: Curated) -> None:
    """Letters answer a page or its lines; nonsense is said to be that; undo and quit work."""
    session = session_of(curated, "ann", QueueOptions(ratings=(), with_pictures=False))
    words = iter(["what", "u", "1n 2?", "u", "y", "y", "q"])
    said: list[str] = []
    review_rules(session, ask=lambda _: next(words), say=said.append)
    assert "clothes: is it missing on 48 posts?" in said
    assert any("is no answer" in line for line in said)
    found = standings(session.queue.log.read())
    assert {tag for _, tag in found} == {"clothes"}
    assert all(each.agreed() == "+" for each in found.values())


def test_skipped_tag_is_gone_for_its_reviewer(curated: Curated) -> None:
    """Who skips a tag sees no more of it; others do."""
    session = session_of(curated, "ann")
    sheet = session.next()
    assert sheet is not None
    session.skip(sheet.number)
    tags = set()
    while (more := session.next()) is not None:
        tags.add(more.tag)
    session.queue.close()
    assert sheet.tag not in tags
    found = session_of(curated, "bob").next()
    assert found is not None
    assert found.tag == sheet.tag


def test_gold_sample_has_both_sides(curated: Curated) -> None:
    """Half of a sample has the tag; the other half comes from all strata that have posts."""
    sheets = draw_gold(curated[0], curated[1], "paws", count=40, seed=1)
    session = ReviewSession(GivenQueue(curated[0], curated[1], "ann", sheets))
    posts = [q for sheet in sheets for q in sheet.questions]
    assert len({q.post for q in posts}) == len(posts)
    assert {stratum_of(q.p or 0.0) for q in posts} >= {0, 2}
    shown = session.next()
    assert shown is not None
    session.save(shown.number, {}, ms=1)
    assert session.queue.log.read()[0].asked == "gold"
    assert standings(session.queue.log.read()) == {}


def test_likely_answers_are_preselected(curated: Curated) -> None:
    """A picture with more than even odds begins as yes, another as no."""
    session = session_of(curated, "ann")
    sheet = session.next()
    assert sheet is not None
    chosen = preselected(sheet)
    asked = [q for q in sheet.questions if q.known is None]
    assert all((chosen[q.post] == "+") == ((q.p or 0) >= 0.5) for q in asked)


def test_known_answer_does_not_stand_out() -> None:
    """A picture whose answer is known is chosen as its neighbour's caption says, so only looking at it finds it."""
    asked = [Question(post, 0.1, f"because {post}", {}) for post in (1, 2)]
    sheet = Sheet("n", "cat", "+", "tags", (asked[0], Question(9, None, "", {}, known="+"), asked[1]))
    assert preselected(sheet) == {1: "-", 9: "-", 2: "-"}
    assert {each.evidence for each in captions(sheet)} == {"because 1", "because 2"}


@pytest.fixture
def client(curated: Curated) -> Iterator[httpx.Client]:
    """A client of a running server."""
    server = ReviewServer(session_of(curated, "ann"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()
    server.session.queue.close()


def test_server_gives_pages_and_saves_answers(client: httpx.Client, curated: Curated) -> None:
    """A page comes with its pictures and without a word on what is known; saving it twice is refused."""
    page = client.get("/next").json()["page"]
    assert {"post", "path", "p", "why", "verdict"} == set(page["pictures"][0])
    assert client.get(page["pictures"][0]["path"]).headers["content-type"] == "image/jpeg"
    body = {"number": page["number"], "ms": 10, "verdicts": {str(each["post"]): "+" for each in page["pictures"]}}
    assert client.post("/save", json=body).json() == {"saved": 1}
    assert client.post("/save", json=body).status_code == 409
    assert json.loads(curated[1].decisions.read_text())["who"] == "ann"
    assert client.post("/undo", json={}).json()["page"]["tag"] == page["tag"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/save", {"Origin": "http://evil.example"}, 403),
        ("/save", {"Host": "evil.example"}, 403),
        ("/save", {"Content-Type": "text/plain"}, 403),
        ("/save", {}, 400),
        ("/nothing", {}, 404),
    ],
)
def test_others_cannot_answer(client: httpx.Client, path: str, headers: dict[str, str], status: int) -> None:
    """A page of another site, or a body that is no answer, saves nothing."""
    answer = client.post(path, content=b"{", headers={"Content-Type": "application/json"} | headers)
    assert answer.status_code == status
    assert client.get("/512px/0001/../../RELEASE.json").status_code == 404
    assert client.get("/512px/0001/77.jpg").status_code == 404


@pytest.mark.parametrize("ratings", [("zz",), ("g", "x"), ("",), ("safe",)])
def test_unknown_ratings_are_refused(curated: Curated, ratings: tuple[str, ...]) -> None:
    """A rating that does not exist is an error in words, as with `select`, and not a queue without pages."""
    with pytest.raises(SettingsError, match=r"--ratings '\w*' does not exist; use g, s, q, e"):
        session_of(curated, "ann", QueueOptions(ratings=ratings))
    assert session_of(curated, "ann", QueueOptions(ratings=("g", "s"))).next() is not None


@pytest.mark.parametrize("who", ["", "  ", "\n", "an\x1bn"])
def test_a_reviewer_has_a_name(curated: Curated, who: str) -> None:
    """A removal takes two who agree, so nobody answers without a name, and blanks around one make no second person."""
    with pytest.raises(SettingsError, match="names nobody; give a name"):
        session_of(curated, who)
    with pytest.raises(SettingsError, match="names nobody; give a name"):
        GivenQueue(curated[0], curated[1], who, [])
    assert session_of(curated, " ann  b ").queue.who == "ann b"


@pytest.mark.parametrize("words", [("review", "2021", "--who", ""), ("gold", "2021", "cat", "--who", " ")])
def test_command_refuses_no_name(curated: Curated, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    """An empty name does not become the login name: it is one line and exit code 2."""
    monkeypatch.setenv("DANBOORU_ROOT", str(curated[0].parents[1]))
    done = CliRunner().invoke(main, ["curate", *words])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "names nobody" in done.stderr
