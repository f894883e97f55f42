"""Messages to the operator: one for each failed run and each release, with what is needed to act."""

import re
import socketserver
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import HTTPServer
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    CodeLocationOrigin,
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.sensors import (
    heartbeat,
    tell_of_failures,
    tell_of_releases,
    tell_of_waiting,
    yearly_release,
)
from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.errors import NotifyError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import Takedowns, write_takedowns
from danbooru_pipeline.release import flip_current
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.messages import HookHandler, MailHandler, listen
from danbooru_pipeline_tests.support.runs import METADATA, run_buckets, run_year, sensor_context


@pytest.fixture
def hook() -> Iterator[Any]:
    """A running webhook."""
    yield from listen(HTTPServer(("127.0.0.1", 0), HookHandler))


@pytest.fixture
def mail_server() -> Iterator[Any]:
    """A running mail server."""
    yield from listen(socketserver.ThreadingTCPServer(("127.0.0.1", 0), MailHandler))


def fail_a_run(context: RunContext, instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> str:
    """A run whose source was not there. Returns its id."""
    result = run_year(context, instance, ["posts"], 2021)
    assert not result.success
    instance.add_run_tags(result.run_id, tags or {})
    return result.run_id


@dataclass
class Telling:
    """The sensor `tell_of_failures`, which looks when it is asked to, and keeps its cursor as the daemon does."""

    context: RunContext
    instance: dg.DagsterInstance
    cursor: str | None = None
    location: CodeLocationOrigin | None = None

    def look(self) -> str:
        """A tick; what it says in the UI."""
        sensor = sensor_context(
            self.instance,
            cursor=self.cursor,
            resources={"run_context": dg.ResourceDefinition.hardcoded_resource(self.context)},
            code_location_origin=self.location,
        )
        result: Any = tell_of_failures(sensor)
        self.cursor = result.cursor
        return str(result.skip_reason)


@pytest.fixture
def telling(settings: Settings, hook: Any, instance: dg.DagsterInstance) -> Iterator[Telling]:
    """One that looked before, of a store whose source is away and whose webhook works."""
    url = f"http://127.0.0.1:{hook.server_address[1]}/"
    down = settings.replace(api_url="http://127.0.0.1:9", retry_seconds=0.1, webhook_url=url)
    with RunContext(down) as context:
        telling = Telling(context, instance)
        assert "from now on" in telling.look()
        yield telling


def test_failed_run_is_reported_with_its_reason(telling: Telling, hook: Any) -> None:
    """The message names asset and partition, says what to do, and links to the run; it is sent once."""
    run_id = fail_a_run(telling.context, telling.instance)
    assert run_id in telling.look()
    (message,) = hook.mails
    assert "posts 2021 failed" in message
    assert "DANBOORU_API_URL" in message
    assert "Steps failed" in message
    assert f"/runs/{run_id}" in message
    assert "no run has failed" in telling.look()
    assert len(hook.mails) == 1


def test_run_that_is_retried_is_not_reported(telling: Telling, hook: Any) -> None:
    """Only what needs the operator is sent; without a channel the sensor says that nobody hears it."""
    fail_a_run(telling.context, telling.instance, {"dagster/will_retry": "true"})
    assert "will be retried" in telling.look()
    fail_a_run(telling.context, telling.instance)
    telling.context.settings = telling.context.settings.model_copy(update={"webhook_url": ""})
    assert "WEBHOOK" in telling.look()
    assert hook.mails == []


def test_runs_of_other_code_locations_are_not_reported(telling: Telling, hook: Any) -> None:
    """A Dagster may serve other projects too: their failures are theirs, and this one's are still told of."""
    ours, theirs = (GrpcServerCodeLocationOrigin("localhost", 4000, None, name) for name in ("danbooru", "others"))
    telling.location = ours
    for origin in (theirs, ours):
        job = RemoteJobOrigin(RemoteRepositoryOrigin(origin, "__repository__"), "begin_release")
        run = dg.DagsterRun(job_name="begin_release", remote_job_origin=job)
        telling.instance.report_run_failed(telling.instance.add_run(run))
    assert "another code location" in telling.look()
    assert run.run_id in hook.mails[0]
    assert len(hook.mails) == 1


def test_failure_that_nobody_took_is_told_of_again(telling: Telling, hook: Any) -> None:
    """A webhook that refuses keeps the sensor red until it works; of two runs each message arrives once."""
    hook.refuses = 2
    runs = [fail_a_run(telling.context, telling.instance) for _ in range(2)]
    for _ in range(2):
        with pytest.raises(NotifyError, match="webhook"):
            telling.look()
    telling.look()
    assert [run_id in message for run_id, message in zip(runs, hook.mails[2:], strict=True)] == [True, True]
    assert "no run has failed" in telling.look()


def test_message_that_nobody_ever_takes_holds_up_no_later_one(telling: Telling, hook: Any) -> None:
    """After a day the sensor goes on, and says so; a message is short enough for any service."""
    first = fail_a_run(telling.context, telling.instance)
    hook.refuses = 2
    with pytest.raises(NotifyError):
        telling.look()
    second = fail_a_run(telling.context, telling.instance)
    now = telling.context.now()
    telling.context.now = lambda: now + timedelta(days=1, minutes=1)
    assert "nobody took it for a day" in telling.look()
    assert [first in hook.mails[1], second in hook.mails[2]] == [True, True]
    assert max(map(len, hook.mails)) < 2000
    assert "no run has failed" in telling.look()


@pytest.mark.parametrize("slow", [True, False])
def test_a_look_ends_before_dagster_ends_it(telling: Telling, monkeypatch: pytest.MonkeyPatch, *, slow: bool) -> None:
    """What was sent by then is not sent again: the others follow at the next look."""
    for _ in range(3):
        fail_a_run(telling.context, telling.instance)
    told: list[str] = []

    def deliver(*_: object, subject: str, body: str) -> tuple[str, ...]:
        told.append(subject + body)
        clock[0] += 20 * slow
        return ("mail",)

    clock = [0.0]
    monkeypatch.setattr("danbooru_pipeline.defs.sensors.deliver", deliver)
    monkeypatch.setattr("danbooru_pipeline.defs.sensors.time.monotonic", lambda: clock[0])
    telling.look()
    assert len(told) == (1 if slow else 3)
    telling.look()
    telling.look()
    assert len(set(told)) == len(told) == 3


def looks(context: RunContext, instance: dg.DagsterInstance) -> Callable[[], str]:
    """Looks of the sensor that tells of waiting, one after the other; each gives the reason that the UI shows."""
    cursor: list[str | None] = [None]

    def look() -> str:
        sensor = dg.build_sensor_context(instance=instance, cursor=cursor[0], resources={"run_context": context})
        result: Any = tell_of_waiting(sensor)
        if isinstance(result, dg.SkipReason):
            return str(result.skip_message)
        cursor[0] = result.cursor
        return str(result.skip_reason)

    return look


def test_waiting_release_is_told_of(
    settings: Settings, booru: BooruProcess, hook: Any, instance: dg.DagsterInstance
) -> None:
    """What a release waits for is sent once, again when it changes or after a week, and from March on as late."""
    clock = [datetime(2022, 1, 25, tzinfo=UTC)]
    told = settings.replace(webhook_url=f"http://127.0.0.1:{hook.server_address[1]}/")
    with RunContext(told, now=lambda: clock[0]) as context:
        look = looks(context, instance)
        assert "nothing waits" in look()
        run_year(context, instance, METADATA, 2021)
        post = next(p for p in booru.truth(2021) if p.get("md5") and p["file_ext"] == "jpg")
        booru.set_fault(post["md5"], "error")
        for asset in ("original_images", "images_512px"):
            run_buckets(context, instance, asset, 2021, "0000", "0049")
        assert "told of" in look()
        assert f"1 post is pending (retry_exhausted 1): {post['id']};" in hook.mails[0]
        assert "finish_release" in hook.mails[0]
        assert "less than a day" in look()
        clock[0] += timedelta(days=2)
        assert "was told already" in look()
        clock[0] += timedelta(days=6)
        assert "told of" in look()
        clock[0] = datetime(2022, 3, 2, tzinfo=UTC)
        assert "told of" in look()
    assert len(hook.mails) == 3
    assert "late: it was due by 2022-03-01" in hook.mails[2]


def test_unfinished_takedown_is_told_of(
    root: Layout, settings: Settings, hook: Any, instance: dg.DagsterInstance
) -> None:
    """Whatever is published: the operator hears of it, once, and no release begins meanwhile."""
    write_takedowns(root, Takedowns(posts={}, unfinished=True))
    told = settings.replace(webhook_url=f"http://127.0.0.1:{hook.server_address[1]}/", root=root.root)
    with RunContext(told, now=lambda: datetime(2022, 1, 25, tzinfo=UTC)) as context:
        assert "told of 1 thing" in looks(context, instance)()
        sensor = dg.build_sensor_context(instance=instance, resources={"run_context": context})
        waits: Any = yearly_release(sensor)
        assert "a takedown is not finished" in str(waits.skip_reason)
        write_takedowns(root, Takedowns(posts={}))
        assert "nothing waits" in looks(context, instance)()
    assert len(hook.mails) == 1
    assert hook.mails[0].count("takedown --resume") == 1


def test_wrong_webhook_makes_no_second_announcement(
    root: Layout, hook: Any, mail_server: Any, instance: dg.DagsterInstance
) -> None:
    """The mail goes out once; only the webhook is tried again, and shows red as long as it refuses."""
    flip_current(root)
    address = f"http://127.0.0.1:{hook.server_address[1]}/"
    mail = f"smtp://127.0.0.1:{mail_server.server_address[1]}"
    wrong = Settings(root=root.root, webhook_url=f"{address}broken", smtp_url=mail, notify_to=("a@example.org",))

    def look(settings: Settings, cursor: str | None) -> Any:
        with RunContext(settings) as context:
            sensor = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"run_context": context})
            return tell_of_releases(sensor)

    first = look(wrong, None)
    assert re.search("told by mail, but .*webhook.*DANBOORU_WEBHOOK_URL", str(first.skip_reason))
    with pytest.raises(NotifyError, match="webhook"):
        look(wrong, first.cursor)
    mended = look(wrong.replace(webhook_url=address), first.cursor)
    assert "by mail, webhook" in str(mended.skip_reason)
    assert "was announced" in str(look(wrong, mended.cursor).skip_message)
    assert len(mail_server.mails) == 1


def test_source_that_is_dead_is_told_of(settings: Settings, hook: Any, instance: dg.DagsterInstance) -> None:
    """A source that does not answer when the release should begin is in the message, with what to do."""
    told = settings.replace(
        api_url="http://127.0.0.1:9", retry_seconds=0.1, webhook_url=f"http://127.0.0.1:{hook.server_address[1]}/"
    )
    with RunContext(told, now=lambda: datetime(2022, 1, 25, tzinfo=UTC)) as context:
        looks(context, instance)()
    (message,) = hook.mails
    assert "danbooru2021 cannot start" in message
    assert "DANBOORU_API_URL" in message


def test_heartbeat_shows_red_without_an_answer(settings: Settings, instance: dg.DagsterInstance) -> None:
    """A monitor that does not answer fails the tick, and its address, which is a secret, is not in the message."""
    with RunContext(settings.replace(heartbeat_url="http://127.0.0.1:9/secret")) as context:
        sensor = dg.build_sensor_context(instance=instance, resources={"run_context": context})
        with pytest.raises(NotifyError, match="DANBOORU_HEARTBEAT_URL") as failed:
            heartbeat(sensor)
    assert "secret" not in str(failed.value)
