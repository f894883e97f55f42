"""Backup, restore and migration of Dagster's database, by the commands of docs/deploy.md."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from danbooru_pipeline_tests.support.postgres import PASSWORD, running_postgres
from danbooru_pipeline_tests.support.stack import TOP

pytestmark = [pytest.mark.slow(15), pytest.mark.needs("pg_dump")]
ORIGINALS = dg.AssetKey("original_images")
BUCKETS = {f"{number:04d}|2021" for number in range(40)}


def documented(word: str) -> list[str]:
    """The one command in docs/deploy.md that has a word, as compose runs it in a container."""
    text = (TOP / "docs/deploy.md").read_text()
    found = re.findall(r"^docker compose (?:exec|run --rm) (?:-T )?\w+ ([^<>#\n]+)", text, re.MULTILINE)
    (words,) = [words for line in found if word in (words := shlex.split(line))]
    return words


def states(home: Path) -> set[str]:
    """Buckets that Dagster has as materialised."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return instance.get_materialized_partitions(ORIGINALS)


def test_restored_database_has_every_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump that is restored into an empty database, and migrated, knows what the old one knew."""
    (tmp_path / "dagster.yaml").write_bytes((TOP / "dagster.yaml").read_bytes())
    with running_postgres() as server:
        for name, value in {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "dagster", "DB": "dagster"}.items():
            monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
        monkeypatch.setenv("DAGSTER_PG_PASSWORD", PASSWORD)
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
        monkeypatch.setenv("DAGSTER_LOGS", str(tmp_path / "logs"))
        at = ["-h", "127.0.0.1", "-p", str(server.port)]
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            for bucket in BUCKETS:
                instance.report_runless_asset_event(dg.AssetMaterialization(ORIGINALS, partition=bucket))
        program, *options = documented("pg_dump")
        dump = subprocess.run([program, *at, *options], check=True, capture_output=True).stdout
        program, *options = documented("dropdb")
        subprocess.run([program, *at, *options], check=True, capture_output=True)
        program, *options = documented("createdb")
        subprocess.run([program, *at, *options], check=True, capture_output=True)
        program, *options = documented("pg_restore")
        subprocess.run([program, *at, *options], check=True, capture_output=True, input=dump)
        program, *options = documented("migrate")
        assert program == "dagster"
        migrate = [str(Path(sys.executable).with_name(program)), *options]
        subprocess.run(migrate, check=True, capture_output=True, env=os.environ | {"DAGSTER_HOME": str(tmp_path)})
        assert states(tmp_path) == BUCKETS
