"""What twenty releases cost in Dagster's Postgres: ``python -m benchmarks.history [--releases 20]``; needs postgresql.

A real build of 1000 buckets is recorded on the processes of docker-compose.yml. Its runs, events and tags are then
written again for each earlier release year, with ids of their own. Printed are the size of the database, how long the
queries behind the UI's pages take, and what Dagster itself costs a build of the next release.

With ``--sqlite`` five years are really built, one after the other, on one SQLite home, as one person's machine has it.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg2

from danbooru_pipeline.defs.instance import INSTANCE_YAML
from danbooru_pipeline.demo.process import start_booru
from danbooru_pipeline_tests.support.postgres import PASSWORD
from danbooru_pipeline_tests.support.processes import free_port, wait_until
from danbooru_pipeline_tests.support.stack import Stack, running_stack
from danbooru_pipeline_tests.support.webserver import Webserver

YEAR, ROUNDS = 2024, 5
YEARS = range(2021, 2026)
PROGRAMS = Path(sys.executable).parent
ASSET = {"path": ["original_images"]}
#: What the pages ask for; the browser asks for some more, which costs less.
PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "list of assets": (
        """query($keys: [AssetKeyInput!]!) { assetNodes(loadMaterializations: true) { assetKey { path } groupName
        partitionStats { numMaterialized numPartitions numFailed numMaterializing }
        assetMaterializations(limit: 1) { timestamp runId } }
        assetsLatestInfo(assetKeys: $keys) { latestMaterialization { timestamp } unstartedRunIds } }""",
        {"keys": [ASSET]},
    ),
    "partitions of an asset": (
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        partitionKeysByDimension { name partitionKeys }
        assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
          primaryDimStartKey primaryDimEndKey
          secondaryDim { ... on DefaultPartitionStatuses { materializedPartitions } } } } } } } }""",
        {"key": ASSET},
    ),
    "one partition": (
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        latestMaterializationByPartition(partitions: ["0123|2024"]) { timestamp metadataEntries { label } }
        assetMaterializations(partitions: ["0123|2024"], limit: 100) { timestamp }
        staleStatus(partition: "0123|2024") staleStatusByPartition(partitions: ["0123|2024"]) } } }""",
        {"key": ASSET},
    ),
    "staleness of all partitions of a release": (
        """query($key: AssetKeyInput!, $of: [String!]) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        staleStatusByPartition(partitions: $of) } } }""",
        {"key": ASSET, "of": [f"{number:04}|{YEAR}" for number in range(1000)]},
    ),
    "plots of an asset": (
        """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
        assetMaterializations(limit: 100) { timestamp partition metadataEntries { label
          ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } } } } }""",
        {"key": ASSET},
    ),
    "list of runs": ("{ runsOrError(limit: 25) { ... on Runs { results { id status tags { key value } } } } }", {}),
    "list of backfills": (
        "{ partitionBackfillsOrError(limit: 25) { ... on PartitionBackfills { results { id status } } } }",
        {},
    ),
}

#: Text that has to differ between two releases: ids of runs, and the year in keys of partitions and in tags.
_RUN = "md5({column} || '{year}')::uuid::text"
_YEAR = "replace(replace({column}, '|{template}', '|{year}'), '\"{template}\"', '\"{year}\"')"


def _statements(year: int, template: int) -> list[str]:
    """SQL that records the template's runs again for another year."""

    def run(column: str) -> str:
        return _RUN.format(column=column, year=year)

    def dated(column: str) -> str:
        return _YEAR.format(column=column, template=template, year=year)

    def both(column: str) -> str:  # text with the id of a run in it, and the year
        return f"replace({dated(column)}, run_id, {run('run_id')})"

    partition = f"case when partition = '{template}' then '{year}' else {dated('partition')} end"
    return [
        f"""insert into runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set,
          create_timestamp, update_timestamp, start_time, end_time, backfill_id)
          select {run("run_id")}, snapshot_id, pipeline_name, mode, status, {both("run_body")}, {partition},
          partition_set, create_timestamp, update_timestamp, start_time, end_time, backfill_id
          from template_runs""",
        f"""insert into run_tags (run_id, key, value) select {run("run_id")}, key,
          case when value = '{template}' then '{year}' else {dated("value")} end from template_run_tags""",
        f"""with copied as (insert into event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key,
          partition) select {run("run_id")}, {both("event")}, dagster_event_type, timestamp, step_key, asset_key,
          {partition} from template_event_logs order by id returning id),
          old as (select id, row_number() over (order by id) as place from template_event_logs),
          new as (select id, row_number() over (order by id) as place from copied)
          insert into asset_event_tags (asset_key, key, value, event_timestamp, event_id)
          select asset_key, key, value, event_timestamp, new.id from template_asset_event_tags tag
          join old on old.id = tag.event_id join new on new.place = old.place""",
    ]


def forge(stack: Stack, years: range) -> None:
    """Record the template year's history again for other years."""
    database = connect(stack)
    tables = ("runs", "run_tags", "event_logs", "asset_event_tags")
    with database, database.cursor() as cursor:
        for table in tables:
            cursor.execute(f"create temporary table template_{table} as select * from {table}")
    for year in years:
        with database, database.cursor() as cursor:
            for statement in _statements(year, YEAR):
                cursor.execute(statement)
    database.autocommit = True
    with database.cursor() as cursor:
        cursor.execute("vacuum analyze")
    database.close()


def connect(stack: Stack) -> Any:
    """A connection to Dagster's database."""
    return psycopg2.connect(
        host="127.0.0.1", port=stack.ports["5432"], user="dagster", password=PASSWORD, dbname="dagster"
    )


def say_size(stack: Stack, title: str) -> None:
    """Print how large the database is."""
    database = connect(stack)
    with database, database.cursor() as cursor:
        cursor.execute("select pg_database_size('dagster'), (select count(*) from event_logs), count(*) from runs")
        size, events, runs = cursor.fetchone()
    database.close()
    print(f"{title}: {size / 2**20:.0f} MiB, {events:,} events, {runs:,} runs", flush=True)


def say_pages(server: Webserver) -> None:
    """Print how long the queries of the UI's pages take."""
    print("| page | median s | slowest s |\n|---|---:|---:|")
    for title, (query, variables) in PAGES.items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            server.gql(query, **variables)
            seconds.append(time.monotonic() - began)
        print(f"| {title} | {statistics.median(seconds):.2f} | {max(seconds):.2f} |", flush=True)


def build(environment: dict[str, str], year: int) -> str:
    """Build a release on the instance of an environment. Returns what it says of Dagster's own cost."""
    command = [PROGRAMS / "danbooru-pipeline", "build", str(year)]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    found = re.search(r"Dagster itself cost.*", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return found[0]


def on_sqlite() -> None:
    """Build five years, and print what each adds to the home, and what the pages of the UI cost then."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home, port = folder / "home", free_port()
        home.mkdir()
        shutil.copyfile(INSTANCE_YAML, home / "dagster.yaml")
        with start_booru(posts=40, year=YEARS[0], files=folder / "booru", rate_limit=False) as booru:
            environment = {
                key: value for key, value in os.environ.items() if not key.startswith(("DANBOORU_", "DAGSTER_"))
            }
            environment |= {
                "DAGSTER_HOME": str(home), "DANBOORU_ROOT": str(folder / "root"), "DANBOORU_PNG_LEVEL": "0",
                "DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url,
            }  # fmt: skip
            for year in YEARS:
                booru.set_year(year)
                said = build(environment, year)
                size = sum(path.stat().st_size for path in home.rglob("*") if path.is_file())
                print(f"{year}: {said}; {size / 2**20:.0f} MiB", flush=True)
            command = [PROGRAMS / "dagster-webserver", "-p", str(port), "-m", "danbooru_pipeline.definitions"]
            with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL) as process:
                server = Webserver(f"http://127.0.0.1:{port}")
                wait_until(server.is_up, seconds=120)
                say_pages(server)
                process.terminate()


def main() -> None:
    """Record, forge, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=20)
    parser.add_argument("--sqlite", action="store_true", help="five real builds on SQLite")
    options = parser.parse_args()
    if options.sqlite:
        on_sqlite()
        return
    releases = options.releases
    settings = {
        "DANBOORU_AUTOMATION": "off", "DANBOORU_PNG_LEVEL": "0", "DANBOORU_FIRST_YEAR": str(YEAR - releases + 1),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start_booru(posts=40, year=YEAR, files=folder / "booru", rate_limit=False) as booru:
            urls = {"DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url}
            work = folder / "stack"
            work.mkdir()
            with running_stack(work, settings | urls) as stack:
                print(f"{os.cpu_count()} cores; {build(stack.environment('code') | urls, YEAR)}", flush=True)
                say_size(stack, "one release")
                say_pages(stack)
                forge(stack, range(YEAR - releases + 1, YEAR))
                say_size(stack, f"{releases} releases")
                say_pages(stack)
                with start_booru(posts=40, year=YEAR + 1, files=folder / "booru2", rate_limit=False) as later:
                    urls = {"DANBOORU_API_URL": later.api_url, "DANBOORU_CDN_URL": later.cdn_url}
                    print(f"the next release: {build(stack.environment('code') | urls, YEAR + 1)}", flush=True)


if __name__ == "__main__":
    main()
