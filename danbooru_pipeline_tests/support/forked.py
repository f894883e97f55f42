"""The command line in processes that are forked from one which has imported what does not depend on settings.

Half of the CPU time of a small build is imports, most of them Dagster's. A forked command is a process of its own, with
its own environment, folder, output and end; the definitions, which are made as the settings say, it imports itself.
Tests of a start, of a signal at any moment, and of an environment that a process must begin with run
`commands.command` instead.

As a program, the process that forks: each message on its standard input, which is a socket, begins a command.
"""

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

#: What a build imports but for its definitions. None of it keeps threads that a fork would lose.
_MODULES: Final = (
    *("dagster", "dagster._core.storage.event_log", "dagster._core.storage.runs", "dagster._core.storage.schedules"),
    *("alembic.command", "pandas", "scipy.optimize", "scipy.sparse"),
    *("danbooru_pipeline.cli.main", "danbooru_pipeline.context", "danbooru_pipeline.release.tree.snapshot"),
)
#: Whatever begins so is a setting of this project or of Dagster, which are read when they are needed.
_SETTINGS: Final = ("DANBOORU_", "DAGSTER_")
_LONGEST_MESSAGE: Final = 1 << 20


class Forked:
    """A command that runs; what it says goes to files."""

    def __init__(self, arguments: Sequence[str], *, env: Mapping[str, str], module: str = "danbooru_pipeline") -> None:
        self._arguments = list(arguments)
        self._end, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by `wait`
        message = {"module": module, "arguments": self._arguments, "env": dict(env), "folder": str(Path.cwd())}
        files = [told.fileno(), self._out.fileno(), self._err.fileno()]
        with told:
            socket.send_fds(_server(), [json.dumps(message).encode()], files)

    def wait(self, *, timeout: float) -> subprocess.CompletedProcess[str]:
        """Wait for its end.

        Raises:
            TimeoutError: it takes longer, and was killed with all that it began.
        """
        with self._end, self._out, self._err:
            self._end.settimeout(timeout)
            group = int(self._end.recv(64).decode())
            try:
                code = self._end.recv(64).decode()
            except TimeoutError:
                os.killpg(group, signal.SIGKILL)
                raise
            assert code, f"nobody waited for {self._arguments}: {_text(self._err)}"
            return subprocess.CompletedProcess(self._arguments, int(code), _text(self._out), _text(self._err))


def run_module(module: str, *arguments: object, timeout: float) -> str:
    """Run a module that forks children itself, which then have all imports too. Returns what it printed."""
    done = Forked([*map(str, arguments)], env=os.environ, module=module).wait(timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def can_begin_with(env: Mapping[str, str]) -> bool:
    """Whether an environment differs from this one only in what is read when it is needed."""
    return _others(env) == _others(os.environ)


def _others(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(_SETTINGS)}


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _server() -> socket.socket:
    """This process's own; it ends when this process does."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (here, there):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST_MESSAGE)
    env = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=there.fileno(), env=env)
    there.close()

    def stop() -> None:
        here.close()
        process.wait()

    atexit.register(stop)
    return here


def main() -> None:
    """Import, then begin a command for each message."""
    for name in _MODULES:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait
    with socket.socket(fileno=os.dup(0)) as server:
        while True:
            message, files, _, _ = socket.recv_fds(server, _LONGEST_MESSAGE, 3)
            if not message:
                return
            if os.fork() == 0:
                break
            for file in files:
                os.close(file)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    told, out, err = files
    command = os.fork()
    if command == 0:
        os.close(told)
        os.setpgid(0, 0)
        _become(json.loads(message), out, err)
    with suppress(OSError):  # whoever of the two comes first
        os.setpgid(command, command)
    os.write(told, str(command).encode())
    _, status = os.waitpid(command, 0)
    os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(message: dict[str, Any], out: int, err: int) -> None:
    """Become the command, as by ``python -m``."""
    for file, number in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["env"])
    sys.argv = [message["module"], *message["arguments"]]
    runpy.run_module(message["module"], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    main()
