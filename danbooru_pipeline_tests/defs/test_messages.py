"""Messages to the operator: one for each failed run and each release, with what is needed to act."""

from collections.abc import Iterator
from http.server import HTTPServer
from typing import Any

import dagster as dg
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.sensors import tell_of_failures
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.messages import HookHandler, listen
from danbooru_pipeline_tests.support.runs import run_year


@pytest.fixture
def hook() -> Iterator[Any]:
    """A running webhook."""
    yield from listen(HTTPServer(("127.0.0.1", 0), HookHandler))


def failed_run(context: RunContext, instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.RunFailureSensorContext:
    """What the sensor sees of a run whose source was not there."""
    result = run_year(context, instance, ["posts"], 2021)
    assert not result.success
    instance.add_run_tags(result.run_id, tags)
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    event = next(event for event in result.all_events if event.event_type_value == "PIPELINE_FAILURE")
    return dg.build_run_status_sensor_context(
        sensor_name="tell_of_failures",
        dagster_instance=instance,
        dagster_run=run,
        dagster_event=event,
        resources={"toolbox": context},
    ).for_run_failure()


def test_failed_run_is_reported_with_its_reason(settings: Settings, hook: Any, instance: dg.DagsterInstance) -> None:
    """The message names asset and partition, says what to do, and links to the run."""
    down = settings.replace(
        api_url="http://127.0.0.1:9", retry_seconds=0.1, webhook_url=f"http://127.0.0.1:{hook.server_address[1]}/"
    )
    with RunContext(down) as context:
        seen = failed_run(context, instance, {})
        assert tell_of_failures(seen) is None
    (message,) = hook.mails
    assert "posts 2021 failed" in message
    assert "DANBOORU_API_URL" in message
    assert f"/runs/{seen.dagster_run.run_id}" in message


def test_run_that_is_retried_is_not_reported(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Only what needs the operator is sent; without a channel the sensor says that nobody hears it."""
    with RunContext(settings.replace(api_url="http://127.0.0.1:9", retry_seconds=0.1)) as context:
        retried = tell_of_failures(failed_run(context, instance, {"dagster/will_retry": "true"}))
        unheard = tell_of_failures(failed_run(context, instance, {}))
    assert isinstance(retried, dg.SkipReason)
    assert "will be retried" in str(retried.skip_message)
    assert isinstance(unheard, dg.SkipReason)
    assert "WEBHOOK" in str(unheard.skip_message)
