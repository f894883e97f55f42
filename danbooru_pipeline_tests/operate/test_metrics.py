"""Numbers for Prometheus: its own checker reads them and the example alerts, which use no metric that is not there."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

import danbooru_pipeline
from danbooru_pipeline.fetch.rate_limiter import RateLimiter
from danbooru_pipeline.operate.metrics import METRICS, PREFIX, gather_metrics, metric_lines
from danbooru_pipeline.posts.takedowns import Takedowns, write_takedowns
from danbooru_pipeline_tests.support.yard import Yard

ALERTS = Path(danbooru_pipeline.__file__).parent.parent / "deploy" / "alerts.example.yml"


def metrics_of(yard: Yard) -> list[str]:
    """What the command prints."""
    now = datetime(2022, 1, 25, tzinfo=UTC)
    found = gather_metrics(yard.layout, now=now, min_free_bytes=5, exclude_tags=frozenset())
    return metric_lines(found)


def test_metrics_count_what_an_operator_alarms_on(yard: Yard) -> None:
    """Disk, throttled hosts, pending posts by reason and the release are there, each once, under its meaning."""
    yard.save()
    before = metrics_of(yard)
    assert f'{PREFIX}pending_posts{{year="2021",reason="retry_exhausted"}} 1' in before
    assert not any("release" in line for line in before)
    yard.release()
    limiter = RateLimiter(50, record=yard.layout.pace)
    limiter.wait("cdn.example")
    limiter.slow_down("cdn.example")
    limiter.close()
    yard.layout.quarantine_bucket("original", "0001").mkdir(parents=True)
    (yard.layout.quarantine_bucket("original", "0001") / "1.jpg").write_bytes(b"rotten")
    after = metrics_of(yard)
    assert f"{PREFIX}release_year 2021" in after
    assert f"{PREFIX}quarantined_files 1" in after
    assert f"{PREFIX}disk_least_bytes 5" in after
    assert any(line.startswith(f'{PREFIX}host_throttled_timestamp_seconds{{host="cdn.example"}} 1') for line in after)
    samples = [line.rpartition(" ")[0] for line in after if not line.startswith("#")]
    assert len(set(samples)) == len(samples)


def test_unfinished_takedown_is_counted(yard: Yard) -> None:
    """The number is there before, too, so that an alert need not guess what its absence means."""
    assert f"{PREFIX}takedown_unfinished 0" in metrics_of(yard)
    write_takedowns(yard.layout, Takedowns(posts={}, unfinished=True))
    assert f"{PREFIX}takedown_unfinished 1" in metrics_of(yard)


def test_alerts_use_what_is_there() -> None:
    """No alert waits for a metric that nothing writes."""
    used = set(re.findall(rf"{PREFIX}(\w+)", ALERTS.read_text()))
    assert used <= METRICS.keys()


@pytest.mark.needs("promtool")
def test_prometheus_reads_metrics_and_alerts(yard: Yard) -> None:
    """Prometheus' own tool takes both without complaint."""
    yard.release()
    text = "".join(f"{line}\n" for line in metrics_of(yard))
    promtool = str(shutil.which("promtool"))
    subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True, capture_output=True)
    subprocess.run([promtool, "check", "rules", str(ALERTS)], check=True, capture_output=True)
