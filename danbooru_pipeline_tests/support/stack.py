"""docker-compose.yml without Docker: its own commands, environments and health checks as plain processes.

Only what containers would give is put in: names of services become loopback, ports become free ones, and paths of the
image and of volumes become folders of the test.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

import danbooru_pipeline
from danbooru_pipeline_tests.support.postgres import PASSWORD, Postgres, running_postgres
from danbooru_pipeline_tests.support.processes import free_port, wait_until
from danbooru_pipeline_tests.support.webserver import Webserver

TOP = Path(danbooru_pipeline.__file__).parent.parent
#: Which service waits for which; Postgres has a test double of its own.
SERVICES = ("postgres", "code", "webserver", "daemon", "rsync")
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def interpolate(text: str, given: Mapping[str, str]) -> str:
    """Compose's ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``."""

    def value(match: re.Match[str]) -> str:
        found = given.get(match[1], "")
        if not found and match[2] == "?":
            raise LookupError(f"{match[1]}: {match[3]}")
        return found or (match[3] if match[2] == "-" else "")

    return _VARIABLE.sub(value, text)


def read_compose(*names: str) -> dict[str, Any]:
    """Services of the compose files, the later ones laid over the earlier."""
    services: dict[str, Any] = {}
    for name in names or ("docker-compose.yml",):
        for service, definition in yaml.safe_load((TOP / name).read_text())["services"].items():
            base = services.setdefault(service, {})
            if "extends" in definition:
                base |= services[definition["extends"]["service"]]
            environment = base.get("environment", {}) | definition.get("environment", {})
            base |= {k: v for k, v in definition.items() if k != "extends"} | {"environment": environment}
    return services


class Stack(Webserver):
    """The running processes."""

    def __init__(self, folder: Path, postgres: Postgres, settings: Mapping[str, str], files: tuple[str, ...]) -> None:
        self.folder, self.postgres, self.settings = folder, postgres, dict(settings)
        self.services = read_compose(*files)
        self.root, self.image = folder / "data", folder / "image"
        self.ports = {name: free_port() for name in ("4000", "3000", "8730", "6379")}
        self.ports["5432"] = postgres.port
        super().__init__(f"http://127.0.0.1:{self.ports['3000']}")
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._make_image()

    def _make_image(self) -> None:
        """What the Dockerfile puts into the image, by its own `cp` lines."""
        for home in ("home", "celery"):
            (self.image / home).mkdir(parents=True)
        self.root.mkdir()
        copied = re.findall(r"cp ((?:\S+ )+)(/opt/dagster/\S+)", (TOP / "Dockerfile").read_text())
        assert copied
        for sources, target in copied:
            for source in sources.split():
                place = self._local(target)
                name = Path(place) / Path(source).name if target.endswith("/") else Path(place)
                name.write_text(self._local((TOP / source).read_text()))

    def _local(self, text: str) -> str:
        text = text.replace("/opt/dagster", str(self.image)).replace("/data", str(self.root))
        text = re.sub(r"@redis:6379", f"@127.0.0.1:{self.ports['6379']}", text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def environment(self, name: str) -> dict[str, str]:
        """What compose would give to a service, and what lets this machine's Python be the image's."""
        given = {"DAGSTER_PG_PASSWORD": PASSWORD, "DANBOORU_CONTACT": "test@example.org", "REDIS_PASSWORD": PASSWORD}
        values = {
            key: self._local(interpolate(str(value), given | self.settings))
            for key, value in self.services[name].get("environment", {}).items()
            if value is not None  # passed on as it is, unset included
        }
        values = {k: "127.0.0.1" if v in self.services else str(self.ports.get(v, v)) for k, v in values.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DANBOORU_", "DAGSTER_"))}
        programs = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return {**kept, **values, **self.settings, "PATH": programs}

    def command(self, name: str) -> list[str]:
        """The command of a service."""
        given = {"REDIS_PASSWORD": PASSWORD}
        words = [self._local(interpolate(word, given)) for word in self.services[name]["command"]]
        own = ["--port", str(self.ports["6379"]), "--bind", "127.0.0.1"] if name == "redis" else []
        return [*(str(self.ports.get(word, word)) for word in words), *own]

    def start(self, name: str, *, instance: int = 0, extra: tuple[str, ...] = ()) -> None:
        """Start a service."""
        label = f"{name}{instance or ''}"
        with (self.folder / f"{label}.log").open("ab") as log:
            self.running[label] = subprocess.Popen(
                [*self.command(name), *extra],
                env=self.environment(name),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_healthy(self, name: str) -> bool:
        """The health check of a service, run as compose would."""
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        command = [re.sub(r"\b(3000|8730)\b", lambda m: str(self.ports[m[1]]), word) for word in words]
        command = [str(self.ports.get(word, word)) for word in command]
        process = subprocess.run(command, env=self.environment(name), check=False, capture_output=True)
        return process.returncode == 0

    def _is_listening(self, name: str) -> bool:
        """Whether its port is open; until it is, its check would only start one process after the other."""
        ports = [self.ports[word] for word in self.services[name].get("command", ()) if word in self.ports]
        with socket.socket() as client:
            return all(client.connect_ex(("127.0.0.1", port)) == 0 for port in ports[:1])

    def wait_healthy(self, name: str, *, seconds: float = 90) -> None:
        """Wait for a service as `depends_on: service_healthy` does; one that ended is started again, as by compose."""

        def is_healthy() -> bool:
            if name in self.running and self.running[name].poll() is not None:
                assert self.services[name]["restart"] == "unless-stopped"
                self.start(name)
            return self._is_listening(name) and self.is_healthy(name)

        try:
            wait_until(is_healthy, seconds=seconds, every=0.5, what=name)
        except AssertionError as error:
            error.add_note(self.logs(name)[-5000:])
            raise

    def kill(self, name: str) -> None:
        """Kill a service and its children, without a word."""
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """Stop everything."""
        for process in self.running.values():
            process.terminate()
        end = time.monotonic() + 10
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, end - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def logs(self, name: str) -> str:
        """What a service said; nothing of Postgres, which is not started here."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def running_stack(
    folder: Path, settings: Mapping[str, str], *, files: tuple[str, ...] = ("docker-compose.yml",)
) -> Iterator[Stack]:
    """Postgres, code location, webserver and daemon of the compose file, healthy, for the length of a block."""
    with running_postgres() as postgres:
        stack = Stack(folder, postgres, settings, files)
        try:
            stack.wait_healthy("postgres")
            if "redis" in stack.services:
                stack.start("redis")
            for name in ("code", "webserver", "daemon"):
                stack.start(name)
                if name == "code":
                    stack.wait_healthy("code")
            stack.wait_healthy("webserver")
            yield stack
        finally:
            stack.stop()
