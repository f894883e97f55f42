"""A Postgres of Debian's packages in a folder of the test's own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from danbooru_pipeline_tests.support.processes import free_port, wait_until

PASSWORD = "only-for-this-test"


def programs() -> Path:
    """Where Debian keeps initdb and postgres, which are not on the path."""
    return max(Path("/usr/lib/postgresql").glob("*/bin/initdb")).parent


class Postgres:
    """A server that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # Postgres refuses to run as root, and root is who CI is.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._as, *command], check=check, capture_output=True, cwd="/")

    def create(self) -> None:
        """Make the cluster and the database of the compose file."""
        if self._as:
            os.chown(self.folder, pwd.getpwnam("postgres").pw_uid, -1)
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        data = str(self.folder / "data")
        self._run(str(programs() / "initdb"), "-D", data, "-U", "dagster", "-A", "scram-sha-256", f"--pwfile={secret}")
        self.start()
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "dagster", "-d", "postgres"]
        subprocess.run(
            [*command, "-c", "create database dagster"],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            check=True,
            capture_output=True,
        )

    def start(self) -> None:
        """Start it, also after it was killed."""
        command: Sequence[str] = (
            str(programs() / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}",
            "-c", "max_connections=200",
        )  # fmt: skip
        ready = ["pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]

        def up() -> bool:
            # Children of a killed server hold its memory for a moment, and a new one gives up at once until then.
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [*self._as, *command],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            return subprocess.run(ready, check=False, capture_output=True).returncode == 0

        wait_until(up, seconds=30, what="Postgres")

    def kill(self) -> None:
        """Kill all its processes at once, as a lost machine would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, since its socket's path may have 107 characters
    server = Postgres(folder)
    try:
        server.create()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
