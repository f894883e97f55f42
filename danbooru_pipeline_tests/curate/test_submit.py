"""Submission: what is planned, what the embedded booru takes, and that nothing goes out twice or after a refusal."""

import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.curate.log import Answer, Page
from danbooru_pipeline.curate.submit import Edit, Plan, Sent, plan_submission, read_sent, submit
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.demo.site.api import API_KEY, LOGIN
from danbooru_pipeline.errors import SourceUnusable
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.io.append_log import append_line
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings

NOW = datetime(2022, 2, 1, tzinfo=UTC)


def decided(post: int, tag: str, sign: str = "+", who: str = "ann") -> Page:
    """One answer."""
    answers = (Answer(post=post, verdict=sign),)  # type: ignore[arg-type]
    return Page(number=f"{who}{post}{tag}", tag=tag, asked=sign, who=who, at="2022", answers=answers)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of a release as a plan reads."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "parquet").mkdir()
    posts = {"id": [1, 2, 3], "md5": ["a", "b", "c"], "tag_string": ["solo", "solo smile", "frown solo"]}
    pq.write_table(pa.table(posts), folder / "parquet/posts-00000-of-00001.parquet")
    return folder


def test_plan_has_what_is_agreed_and_still_missing(release: Path) -> None:
    """One edit a post merges additions and removals; what the site has, or one reviewer alone removes, is left out."""
    pages = [
        *(decided(post, "smile") for post in (1, 2, 3)),
        *(decided(3, "frown", "-", who) for who in ("ann", "bob")),
        decided(1, "solo", "-"),
    ]
    plan = plan_submission(release, pages, [], per_day=10, now=NOW)
    assert plan.lines() == ["post 1: smile", "post 3: smile -frown", "2 edits"]


def test_plan_knows_what_was_sent(release: Path) -> None:
    """What was answered is done, what was on its way is named and not repeated, and a day has room for so many."""
    pages = [decided(post, f"tag_{post}_{n}") for post in (1, 2, 3) for n in (1,)]
    at = (NOW - timedelta(hours=2)).isoformat()
    sent = [Sent(1, "tag_1_1", at), Sent(1, "tag_1_1", at, 200), Sent(2, "tag_2_1", at)]
    plan = plan_submission(release, pages, sent, per_day=3, now=NOW)
    assert [edit.post for edit in plan.edits] == [3]
    assert [each.post for each in plan.unclear] == [2]
    full = plan_submission(release, pages, sent, per_day=2, now=NOW)
    assert (full.edits, full.waiting) == ((), 1)
    later = plan_submission(release, pages, sent, per_day=2, now=NOW + timedelta(days=2))
    assert len(later.edits) == 1


def test_what_only_says_changes_nothing(release: Path, tmp_path: Path) -> None:
    """A plan that is shown leaves no file and no folder, with --dry-run and without --write."""
    layout = Layout(tmp_path)
    shutil.copytree(release, layout.release(2021))
    before = sorted(tmp_path.rglob("*"))
    for words in ([], ["--dry-run"]):
        told = CliRunner().invoke(main, ["curate", "submit", "2021", *words], env={"DANBOORU_ROOT": str(tmp_path)})
        assert (told.exit_code, told.stdout) == (0, "0 edits\n")
        assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def client(booru: BooruProcess, tmp_path: Path) -> BooruClient:
    """A client with the account of the embedded booru."""
    return BooruClient(settings_of(booru, tmp_path, login=LOGIN, api_key=API_KEY))


def settings_of(booru: BooruProcess, root: Path, **more: str) -> Settings:
    """Settings for the embedded booru."""
    return Settings(root=root, api_url=booru.api_url, cdn_url=booru.cdn_url, **more)  # type: ignore[arg-type]


def plan_of(*edits: Edit) -> Plan:
    """A plan of some edits."""
    return Plan(edits, 0, ())


def test_booru_takes_edits_one_a_second(booru: BooruProcess, client: BooruClient, tmp_path: Path) -> None:
    """Edits arrive a second apart, change nothing but the tags they name, and are in the log with their answers."""
    before = {post["id"]: post["tag_string"].split() for post in booru.truth(2021) if post.get("md5")}
    one, two = sorted(before)[:2]
    gone = before[one][0]
    began = time.monotonic()
    with client:
        done = submit(
            plan_of(Edit(one, ("sparkle",), (gone,)), Edit(two, ("sparkle",), ())), client, tmp_path / "log", say=print
        )
    assert (done.edits, done.refusal) == (2, "")
    assert time.monotonic() - began >= 1
    after = {post["id"]: post["tag_string"].split() for post in booru.truth(2021) if post.get("md5")}
    assert set(after[one]) == {*before[one], "sparkle"} - {gone}
    assert set(after[two]) == {*before[two], "sparkle"}
    assert [sent.status for sent in read_sent(tmp_path / "log")] == [None, 200, None, 200]
    booru.forget_changes()


@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        ("error", Edit(1, ("sparkle",), ())),
        (None, Edit(1, ("no_such_tag",), ())),
        (None, Edit(10**9, ("sparkle",), ())),
    ],
)
def test_first_refusal_ends_it(
    booru: BooruProcess, client: BooruClient, tmp_path: Path, fault: str | None, edit: Edit
) -> None:
    """After an answer that is no success nothing more is sent, and the plan would not send that edit again."""
    if fault:
        booru.set_fault("edits", fault)
    booru.reset_requests()
    with client:
        done = submit(plan_of(edit, Edit(2, ("sparkle",), ())), client, tmp_path / "log", say=print)
    booru.clear_faults()
    assert done.edits == 0
    assert "nothing more is sent" in done.refusal
    assert booru.requests()["edits"] == 1


def test_no_account_sends_nothing(booru: BooruProcess, tmp_path: Path) -> None:
    """Without an account, or with a wrong key, the site is not changed."""
    with BooruClient(settings_of(booru, tmp_path)) as client, pytest.raises(SourceUnusable, match="DANBOORU_LOGIN"):
        client.put_form("/posts/1.json", {})
    with BooruClient(settings_of(booru, tmp_path, login="x", api_key="y")) as client:
        assert client.put_form("/posts/1.json", {}).status == 403


def test_torn_line_of_the_log_is_passed_over(tmp_path: Path) -> None:
    """A line that a power cut tore is not read, and the next one is whole."""
    append_line(tmp_path / "log", Sent(1, "a", "x"))
    with (tmp_path / "log").open("ab") as file:
        file.write(b'\n{"post":')
    append_line(tmp_path / "log", Sent(2, "b", "x"))
    assert [sent.post for sent in read_sent(tmp_path / "log")] == [1, 2]
