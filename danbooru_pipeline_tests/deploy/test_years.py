"""Two New Years under the real daemon, without a hand on it: only the clock of its processes is another one.

Then a January of bad days: a source that is dead for two weeks, a file that never comes, a webhook that refuses, a full
disk, and every process killed once. Run it with ``--log-cli-level=INFO`` to read what the operator is told.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.defs.instance import INSTANCE_YAML
from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import read_release, verify_release
from danbooru_pipeline_tests.support.messages import HookHandler, listen
from danbooru_pipeline_tests.support.processes import wait_until

pytestmark = [pytest.mark.slow(900), pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.needs("cc")]
SETTLING = timedelta(seconds=20)
CLOCK_SOURCE = Path(__file__).parents[1] / "support/clock.c"


def shift_clock(start: datetime, folder: Path, booru: BooruProcess) -> dict[str, str]:
    """An environment in which it is that time now, for a process and all that it starts; the site dates by it, too."""
    booru.set_date(start)
    library = folder / "clock.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    offset = (start - datetime.now(UTC)).total_seconds()
    return {"LD_PRELOAD": str(library), "CLOCK_OFFSET": f"{offset:.0f}", "TZ": "UTC"}


@contextmanager
def daemon(environment: dict[str, str], log: Path) -> Iterator[int]:
    """The daemon with its code location, stopped at the end. Gives its session."""
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", "danbooru_pipeline.definitions"]
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, cwd=log.parent
        ) as process,
    ):
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def processes(pattern: str, session: int) -> list[int]:
    """The processes of a session whose command line has a word."""
    command = ["ps", "-eo", "pid,sid,args", "--no-headers"]
    lines = [line.split(maxsplit=2) for line in subprocess.check_output(command, text=True).splitlines()]
    return [int(pid) for pid, sid, args in lines if int(sid) == session and pattern in args]


def kill(pattern: str, session: int) -> None:
    """Kill the processes of a session that have a word in their command line, without a word."""
    wait_until(lambda: processes(pattern, session), seconds=300, what=pattern)
    for pid in processes(pattern, session):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_current(layout: Layout, year: int) -> bool:
    """Whether a release is the one that `current` points to."""
    return layout.current.is_symlink() and layout.current.readlink() == Path(layout.release(year).name)


def environment(folder: Path, layout: Layout, booru: BooruProcess) -> dict[str, str]:
    """What the daemon of a home in a folder is started with."""
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(INSTANCE_YAML, home / "dagster.yaml")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
    return kept | {
        "DAGSTER_HOME": str(home), "DANBOORU_ROOT": str(layout.root),
        "DANBOORU_API_URL": booru.api_url, "DANBOORU_CDN_URL": booru.cdn_url,
        "DANBOORU_AUTOMATION": "on", "DANBOORU_EXCLUDE_TAGS": "", "DANBOORU_POLL_SECONDS": "1",
        "DANBOORU_SETTLING_DAYS": str(SETTLING / timedelta(days=1)), "DANBOORU_PNG_LEVEL": "0",
    }  # fmt: skip


def test_two_years_make_two_releases(tmp_path: Path, booru_files: Path) -> None:
    """The year ends, its metadata is stable, the release is made and verifies; a year later the next; none twice."""
    layout = Layout(tmp_path / "root")
    with start_booru(posts=40, year=2021, files=booru_files, rate_limit=False) as booru:
        settings = environment(tmp_path, layout, booru)
        for year in (2021, 2022):
            booru.set_year(year)
            clock = shift_clock(datetime(year, 12, 31, 23, 59, 50, tzinfo=UTC), tmp_path, booru)
            with daemon(settings | clock, tmp_path / "daemon.log"):
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", disk], check=False).returncode
    ):
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.fixture
def hook() -> Iterator[Any]:
    """A running webhook."""
    yield from listen(HTTPServer(("127.0.0.1", 0), HookHandler))


def fill(disk: Path) -> Path:
    """A file that leaves 40 MB."""
    facts = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(facts.f_bavail * facts.f_frsize - 40 * 2**20))
    return filler


def test_a_january_of_bad_days_makes_one_release(
    tmp_path: Path, booru_files: Path, small_disk: Path, hook: Any
) -> None:
    """One release, one announcement; each fault is told with what to do, and only the disk needs a hand."""
    layout, log = Layout(small_disk / "root"), tmp_path / "daemon.log"

    def told(what: str, *, of: int = 0, seconds: float = 900) -> None:
        wait_until(lambda: any(what in message for message in hook.mails[of:]), seconds=seconds, what=what)

    with start_booru(posts=40, year=2021, files=booru_files, rate_limit=False) as booru:
        settings = environment(tmp_path, layout, booru) | {
            "DANBOORU_WEBHOOK_URL": f"http://127.0.0.1:{hook.server_address[1]}/", "DANBOORU_RETRY_SECONDS": "2",
            "DANBOORU_MIN_FREE_BYTES": str(64 * 2**20),
        }  # fmt: skip
        booru.set_fault("posts", "error")
        for day in (1, 9):  # the source is dead for two weeks; what waits is told of again after seven days
            before = len(hook.mails)
            with daemon(settings | shift_clock(datetime(2022, 1, day, 0, 1, tzinfo=UTC), tmp_path, booru), log):
                told("check DANBOORU_API_URL", of=before)
        booru.clear_faults()
        stuck, *others = [post for post in booru.truth(2021) if post.get("md5") and post["file_ext"] == "jpg"]
        booru.set_fault(stuck["md5"], "error")
        for post in others:
            booru.set_fault(post["md5"], "slow")
        with daemon(settings | shift_clock(datetime(2022, 1, 15, 0, 1, tzinfo=UTC), tmp_path, booru), log) as session:
            wait_until(layout.posts_by_bucket(2021).is_dir, seconds=600, what="posts")
            filler = fill(small_disk)
            hook.refuses = 1  # the message about the disk comes again
            told("free some space")
            refused = len(hook.mails)
            told("free some space", of=refused)
            filler.unlink()
            kill("multiprocessing.spawn", session)  # the run that works
            kill("api grpc", session)
            kill("dagster-daemon", session)
        with daemon(settings | shift_clock(datetime(2022, 1, 16, 0, 1, tzinfo=UTC), tmp_path, booru), log):
            told("danbooru2021 2021.0 is published", seconds=1800)
            time.sleep(120)
    logging.getLogger(__name__).info("%s", "\n\n".join(hook.mails))
    assert sum("is published" in message for message in hook.mails) == 1
    published = next(message for message in hook.mails if "is published" in message)
    assert f"1 post is pending (retry_exhausted 1): {stuck['id']}" in published
    assert is_current(layout, 2021)
    assert verify_release(layout.release(2021), full=True).ok
