"""A takedown reaches what curation says of posts, in tables and in logs that are only appended to by everybody else."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.curate.candidates import SCHEMA as CANDIDATES_SCHEMA
from danbooru_pipeline.curate.corrections import write_decided
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import Answer, DecisionLog, Page
from danbooru_pipeline.curate.submit import Sent, read_sent
from danbooru_pipeline.errors import ReleaseRefused
from danbooru_pipeline.io.append_log import append_line
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.removal import clear_what_came_back
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, write_takedowns
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline.release.takedown.curation import clear_curation, clear_if_removed
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.yard import NOW

GONE, KEPT = 1002, 2003


def page(number: str, *posts: int, **more: Any) -> Page:
    """A page that was answered."""
    answers = tuple(Answer(post=post, verdict="+", p=0.5, evidence=f"goes with {post}s") for post in posts)
    return Page(number=number, tag="cat", asked="+", who="ann", at="2022-01-01T00:00:00.000Z", answers=answers, **more)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A root with candidates, decisions, what was sent, what was decided, and predictions that somebody put there."""
    found = Layout(tmp_path / "root")
    folder = CurationFolder.of(found)
    log = DecisionLog(folder.decisions)
    for each in (page("a", GONE, KEPT, ms=700), page("b", GONE), page("c", KEPT), page("d", undoes="c")):
        log.append(each)
    for post in (GONE, KEPT):
        append_line(folder.submitted, Sent(post, "cat", "2022-01-02T00:00:00.000Z", 200))
    with folder.decisions.open("ab") as file:
        file.write(b'{"number":"e","answers":[{"post":%d' % GONE)
    folder.candidates(2021).parent.mkdir()
    rows = [{"id": post, "tag": "cat", "sign": "+", "p": 0.5} for post in (GONE, KEPT)]
    pq.write_table(pa.Table.from_pylist(rows, CANDIDATES_SCHEMA), folder.candidates(2021))
    (folder.path / "2021/.candidates-00000-of-00001.parquet.0badcafe.part").write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": pa.array([GONE, KEPT], pa.int32()), "p": [0.1, 0.2]}), folder.path / "wd.parquet")
    write_decided(found)
    return found


def test_nothing_of_the_post_is_left(layout: Layout) -> None:
    """Its rows, answers and lines go, a torn line too; pages keep their other answers, and all else stays."""
    folder = CurationFolder.of(layout)
    before = DecisionLog(folder.decisions).read()
    clear_curation(layout, {GONE})
    assert traces(folder.path, {GONE}) == []
    assert b"%d" % GONE not in folder.decisions.read_bytes()
    after = DecisionLog(folder.decisions).read()
    assert [len(each.answers) for each in after] == [1, 0, 1, 0]
    assert after[0].answers == before[0].answers[1:]
    assert (after[0].ms, after[2:]) == (700, before[2:])
    assert [sent.post for sent in read_sent(folder.submitted)] == [KEPT]
    for path in (folder.candidates(2021), folder.path / "wd.parquet"):
        assert pq.read_table(path)["id"].to_pylist() == [KEPT]
    assert pq.read_schema(folder.candidates(2021)).equals(CANDIDATES_SCHEMA)
    assert not list(folder.path.rglob("*.part"))
    assert pq.read_table(layout.decided)["post_id"].to_pylist() == [KEPT]


def test_files_that_name_no_such_post_stay_as_they_are(layout: Layout) -> None:
    """Nothing is written again for a post that nothing names, once there is no torn line that might."""
    clear_curation(layout, {77})
    files = [path for path in layout.curation.rglob("*") if path.is_file()]
    before = {path: path.stat().st_ino for path in files}
    clear_curation(layout, {77})
    assert {path: path.stat().st_ino for path in files} == before


def test_takedown_clears_and_builds_clear_again(layout: Layout) -> None:
    """`takedown` clears it, and the next build clears what a reviewer or a backup has brought back."""
    folder = CurationFolder.of(layout)
    old = folder.decisions.read_bytes()
    apply_takedown(plan_takedown(layout, [GONE]), created_at=NOW)
    assert traces(folder.path, {GONE}) == []
    folder.decisions.write_bytes(old)
    clear_what_came_back(layout, 2021)
    assert traces(folder.path, {GONE}) == []


def test_what_is_written_after_a_takedown_is_cleared_by_its_writer(layout: Layout) -> None:
    """Whoever had the post before them when it was taken down leaves nothing of it."""
    folder = CurationFolder.of(layout)
    write_takedowns(layout, Takedowns(posts={GONE: TakenDown()}))
    clear_if_removed(layout, {KEPT})
    assert traces(folder.path, {GONE})
    clear_if_removed(layout, {GONE, KEPT})
    assert traces(folder.path, {GONE}) == []


def test_damaged_table_leaves_the_takedown_unfinished(layout: Layout) -> None:
    """Damaged candidates are removed; damage of a table that no command makes stops the takedown, not the clearing."""
    folder = CurationFolder.of(layout)
    for path in (folder.candidates(2021), folder.path / "wd.parquet"):
        path.write_bytes(b"PAR1 no")
    with pytest.raises(ReleaseRefused, match=r"wd\.parquet"):
        apply_takedown(plan_takedown(layout, [GONE]), created_at=NOW)
    assert not folder.candidates(2021).exists()
    assert [sent.post for sent in read_sent(folder.submitted)] == [KEPT]
    (folder.path / "wd.parquet").unlink()
    assert apply_takedown(plan_takedown(layout, []), created_at=NOW) == []
    assert traces(folder.path, {GONE}) == []
