"""Two New Years under the real daemon, without a hand on it: only the clock of its processes is another one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from danbooru_pipeline.defs.instance import INSTANCE_YAML
from danbooru_pipeline.demo.process import start_booru
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline_tests.support.processes import wait_until

pytestmark = [pytest.mark.slow(900), pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.needs("cc")]
SETTLING = timedelta(seconds=20)
CLOCK_SOURCE = Path(__file__).parents[1] / "support/clock.c"


def shift_clock(start: datetime, folder: Path) -> dict[str, str]:
    """An environment in which it is that time now, for a process and all that it starts."""
    library = folder / "clock.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    offset = (start - datetime.now(UTC)).total_seconds()
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": f"{offset:.0f}", "TZ": "UTC"}


@contextmanager
def daemon(environment: dict[str, str], log: Path) -> Iterator[None]:
    """The daemon with its code location, killed at the end."""
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "danbooru_pipeline.definitions"]
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, cwd=log.parent
        ) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def is_current(layout: Layout, year: int) -> bool:
    """Whether a release is the one that `current` points to."""
    return layout.current.is_symlink() and layout.current.readlink() == Path(layout.release(year).name)


def test_two_years_make_two_releases(tmp_path: Path, booru_files: Path) -> None:
    """The year ends, its metadata is stable, the release is made and verifies; a year later the next; none twice."""
    home, layout = tmp_path / "home", Layout(tmp_path / "root")
    home.mkdir()
    shutil.copyfile(INSTANCE_YAML, home / "dagster.yaml")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
    with start_booru(posts=40, year=2021, files=booru_files, rate_limit=False) as booru:
        settings = {
            "DAGSTER_HOME": str(home), "DANBOORU_ROOT": str(layout.root),
            "DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url,
            "DANBOORU_AUTOMATION": "on", "DANBOORU_EXCLUDE_TAGS": "", "DANBOORU_POLL_SECONDS": "1",
            "DANBOORU_SETTLING_DAYS": str(SETTLING / timedelta(days=1)), "DANBOORU_PNG_LEVEL": "0",
        }  # fmt: skip
        for year in (2021, 2022):
            booru.set_year(year)
            clock = shift_clock(datetime(year, 12, 31, 23, 59, 50, tzinfo=UTC), tmp_path)
            with daemon(kept | settings | clock, tmp_path / "daemon.log"):
                done = layout.release(year) / "RELEASE.json"
                wait_until(done.exists, seconds=1200, every=0.5, what=f"the release of {year}")
                wait_until(partial(is_current, layout, year), seconds=300, what="publication")
            assert verify_release(layout.release(year), full=True).ok
            release = read_release(layout.release(year))
            assert release.version == f"{year}.0"
            assert release.counts.posts == sum(
                datetime.fromisoformat(p["created_at"]) <= datetime(year, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
                for p in booru.truth(year)
            )
