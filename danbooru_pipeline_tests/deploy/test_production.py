"""Production as the compose file describes it, against a real Postgres: health, backfills, and processes that die."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.store.ledger import read_ledger
from danbooru_pipeline_tests.support.processes import wait_until
from danbooru_pipeline_tests.support.stack import SERVICES, TOP, Stack, interpolate, read_compose

pytestmark = [pytest.mark.slow(30), pytest.mark.timeout(1200), pytest.mark.needs("pg_ctlcluster", "psql", "rsync")]
BUCKETS = [f"{n:04d}" for n in range(60)]


def test_compose_file_is_what_is_tried_here() -> None:
    """Without a profile, the services are those that these tests start; each has a health check and restarts."""
    services = {name: service for name, service in read_compose().items() if "profiles" not in service}
    assert set(services) == set(SERVICES)
    assert all("healthcheck" in each and each["restart"] == "unless-stopped" for each in services.values())


def test_nothing_is_open_by_default() -> None:
    """Without a password or a contact nothing starts, and every port is bound to this machine."""
    services = read_compose()
    for port in [port for each in services.values() for port in each.get("ports", [])]:
        assert interpolate(port, {}).startswith("127.0.0.1:")
    for name in ("DAGSTER_PG_PASSWORD", "DANBOORU_CONTACT"):
        with pytest.raises(LookupError, match=name):
            interpolate(services["code"]["environment"][name], {})
    with pytest.raises(LookupError):
        interpolate(services["postgres"]["environment"]["POSTGRES_PASSWORD"], {})
    assert "PASSWORD=\n" in (TOP / "deploy/env.example").read_text()


def ledgers(root: Path) -> dict[int, tuple[object, ...]]:
    """What became of every post, without the times."""
    layout = Layout(root)
    rows = [row for path in (layout.store / "ledger").glob("[0-9]*.parquet") for row in read_ledger(path).values()]
    return {row.id: (row.reason, row.sha256, row.px512_sha256, row.first_release) for row in rows}


def run_of(stack: Stack, backfill_id: str) -> int | None:
    """The process of a run that works at present, as its own events tell."""
    query = """query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
      ... on MessageEvent { message } } } } } }"""
    for run in stack.backfill_state(backfill_id)["runs"]:
        if run["status"] == "STARTED":
            events = stack.gql(query, id=run["id"])["runOrError"]["eventConnection"]["events"]
            text = "\n".join(event["message"] for event in events)
            found = re.search(r"pid: (\d+)", text)
            if found and "Started execution of step" in text:
                return int(found[1])
    return None


def test_processes_of_production_are_healthy(stack: Stack) -> None:
    """The code location loads, the daemons report, and the rsync daemon lists the releases."""
    query = """{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
      workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"""

    def healthy() -> bool:
        found = stack.gql(query)["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(each["healthy"] for each in found if each["required"])

    wait_until(healthy, seconds=60, every=1, what="daemons")
    entries = stack.gql(query)["workspaceOrError"]["locationEntries"]
    assert [e["locationOrLoadError"]["__typename"] for e in entries] == ["RepositoryLocation"]
    (stack.root / "releases").mkdir(exist_ok=True)
    stack.start("rsync")
    stack.wait_healthy("rsync", seconds=10)


def test_killed_run_daemon_and_database_lose_nothing(stack: Stack, shop: BooruProcess) -> None:
    """A backfill whose run, daemon and Postgres are killed with -9 completes by itself, as an undisturbed one would."""
    assert stack.wait_backfill(stack.backfill(["posts", "posts_by_bucket"], ["2021"]))["status"] == "COMPLETED_SUCCESS"
    posts = [post for post in shop.truth(2021) if post.get("md5")]
    for post in posts[:30]:
        shop.set_fault(post["md5"], "slow")
    backfill = stack.backfill(["original_images", "images_512px"], [f"{bucket}|2021" for bucket in BUCKETS])
    working = [0]

    def is_working() -> int:
        working[0] = run_of(stack, backfill) or 0
        return working[0]

    wait_until(is_working, seconds=90, every=0.1, what="run")
    os.kill(working[0], signal.SIGKILL)
    stack.kill("daemon")
    stack.postgres.kill()
    stack.postgres.start()
    stack.start("daemon")
    state = stack.wait_backfill(backfill, seconds=240)
    shop.clear_faults()
    if state["status"] != "COMPLETED_SUCCESS":  # what an operator would do, in one action
        state = stack.wait_backfill(stack.retry(backfill))
    assert state["status"] == "COMPLETED_SUCCESS", state
    disturbed = ledgers(stack.root)
    assert len(disturbed) > 35
    assert disturbed == build_calmly(stack)


def build_calmly(stack: Stack) -> dict[int, tuple[object, ...]]:
    """The ledgers of the same booru, built by nobody's disturbance."""
    root = stack.folder / "calm"
    env = stack.environment("code") | {"DANBOORU_ROOT": str(root), "DAGSTER_HOME": str(root / "dagster")}
    command = ["danbooru-pipeline", "build", "2021", "--buckets", "0000-0059"]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return ledgers(root)
