"""Fetching, measured beside popular downloaders: CPU per file, faults, limits, latency, kills, memory.

``python -m benchmarks.fetch [--bin FOLDER…] [ROW…]`` runs every peer that is installed (curl, wget, aria2c; gallery-dl
and img2dataset from the folders given) and the project's engine against the same server, and prints one Markdown table
per row: cost, images, faults, limit, latency, kill, memory. CPU is user and system time of every process of a peer,
whether or not it waits for them.
"""

import argparse
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Self

HERE = Path(__file__).parent
PARALLEL = 32
TIMEOUT_SECONDS = 300
MEAN_BYTES = 216_000

Command = Callable[["Job"], list[str]]


@dataclass(frozen=True)
class Job:
    """Files to fetch from a server into a folder."""

    base: str
    names: list[str]
    corpus: Path
    out: Path

    def md5(self, name: str) -> str:
        """MD5 of a file of the corpus."""
        return hashlib.md5((self.corpus / name).read_bytes()).hexdigest()

    def note(self, name: str, text: str) -> str:
        """Write an input file beside the output and return its path."""
        path = self.out.with_name(f"{self.out.name}.{name}")
        path.write_text(text)
        return str(path)

    def urls(self) -> str:
        """One address per line."""
        return "".join(f"{self.base}/{name}\n" for name in self.names)


def ours(job: Job) -> list[str]:
    """The project's engine: MD5, atomic and durable writes, retries, one rate limit."""
    lines = (f"{name}\t{job.md5(name)}\t{(job.corpus / name).stat().st_size}\n" for name in job.names)
    listing = job.note("tsv", "".join(lines))
    return [sys.executable, str(HERE / "fetch_ours.py"), job.base, listing, str(job.out), str(PARALLEL)]


def ours_512(job: Job) -> list[str]:
    """The same, with a 512px image of each file."""
    return [*ours(job), "512"]


def img2dataset_512(job: Job) -> list[str]:
    """img2dataset in its usual configuration: shrunk to 512 with a border, JPEG Q90; MD5 checked."""
    command = img2dataset(job)
    command[command.index("--disable_all_reencoding") + 1] = "False"
    return [*command, "--image_size", "512", "--resize_mode", "border", "--encode_quality", "90"]


def curl(job: Job) -> list[str]:
    """Parallel curl, without checksums."""
    config = "".join(f'url = "{job.base}/{name}"\noutput = "{job.out}/files/{name}"\n' for name in job.names)
    options = "-sS -f --create-dirs --remove-on-error --retry 4 --retry-all-errors --max-time 60 -Z --parallel-max"
    return ["curl", *options.split(), str(PARALLEL), "-K", job.note("cfg", config)]


def wget(job: Job) -> list[str]:
    """32 wgets side by side."""
    options = f"-q -nc -P {job.out}/files --tries=5 --timeout=15"
    return ["sh", "-c", f"xargs -P {PARALLEL} -n 16 wget {options} < {job.note('txt', job.urls())}"]


def aria2(job: Job) -> list[str]:
    """aria2 with checksums."""
    listing = "".join(f"{job.base}/{name}\n  out={name}\n  checksum=md5={job.md5(name)}\n" for name in job.names)
    options = (
        "-q -x1 -s1 --check-integrity=true --allow-overwrite=false --auto-file-renaming=false --continue=true "
        "--max-tries=5 --retry-wait=1 --console-log-level=error --file-allocation=none"
    )
    return ["aria2c", "-d", f"{job.out}/files", "-i", job.note("aria2", listing), "-j", str(PARALLEL), *options.split()]


def gallery_dl(job: Job) -> list[str]:
    """gallery-dl, one file at a time, with its archive of finished downloads."""
    options = ["--config-ignore", "-q", "-D", f"{job.out}/files", "--download-archive", f"{job.out}.sqlite3"]
    return ["gallery-dl", *options, "-o", "downloader.http.retries=4", "-i", job.note("txt", job.urls())]


def img2dataset(job: Job) -> list[str]:
    """img2dataset, no resizing, MD5 checked."""
    rows = "".join(f"{job.base}/{name},{job.md5(name)}\n" for name in job.names)
    options = (
        "--input_format csv --url_col url --output_format files --disable_all_reencoding True --processes_count 2 "
        f"--thread_count {PARALLEL} --number_sample_per_shard 250 --retries 4 --timeout 10 --compute_hash md5 "
        "--extract_exif False"
    )
    listing = job.note("csv", "url,md5\n" + rows)
    verify = ["--verify_hash", '["md5","md5"]']
    return ["img2dataset", "--url_list", listing, "--output_folder", f"{job.out}/files", *options.split(), *verify]


#: Peers that make 512px images, for the row `images`.
WITH_512: dict[str, Command] = {"img2dataset": img2dataset_512, "ours": ours_512}
PEERS: dict[str, Command] = {
    "curl": curl, "wget": wget, "aria2c": aria2, "gallery-dl": gallery_dl, "img2dataset": img2dataset, "ours": ours,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """Cost and result of one run of a peer."""

    seconds: float
    cpu_seconds: float
    peak_mb: int
    exit_code: int
    correct: int
    wrong: int
    marked: int


@contextmanager
def serving(corpus: Path, mode: str) -> Iterator[str]:
    """Serve the corpus; yields the address."""
    command = [sys.executable, str(HERE / "fetch_server.py"), str(corpus), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def answers(base: str) -> dict[str, int]:
    """Responses of a server, counted by status."""
    with urllib.request.urlopen(f"{base}/_stats") as response:  # noqa: S310 - loopback
        counts: dict[str, int] = json.load(response)
    return counts


def reap_orphans() -> None:
    """Become the parent of orphaned processes, so that none is left over."""
    set_child_subreaper = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
    if ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise OSError("prctl")


class SessionClock:
    """CPU time of all processes of a session, read from /proc every few milliseconds.

    `getrusage` counts only children that were waited for, and img2dataset waits for hardly any of its own. What a
    process uses between the last reading and its end is missed, the same for all peers.
    """

    _TICKS = os.sysconf("SC_CLK_TCK")

    def __init__(self, session: int) -> None:
        self._session, self._used, self._done = session, dict[tuple[int, int], int](), threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        """User and system time of all of them so far."""
        return sum(self._used.values()) / self._TICKS

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self._read(int(entry.name))

    def _read(self, pid: int) -> None:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == self._session:
                self._used[pid, int(fields[19])] = int(fields[11]) + int(fields[12])


def measure(peer: str, job: Job, commands: dict[str, Command] = PEERS) -> Run:
    """Run a peer in a process of its own that measures it and its children."""
    job.out.mkdir(parents=True, exist_ok=True)
    command = commands[peer](job)
    began = time.monotonic()
    timed = ["/usr/bin/time", "-f", "%M", "-o", f"{job.out}.rss", *command]
    process = subprocess.Popen(timed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    with SessionClock(process.pid) as clock:
        try:
            code = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = -1
    seconds = time.monotonic() - began
    with suppress(ChildProcessError):
        while os.waitpid(-process.pid, 0)[0]:  # orphans of its group
            pass
    lines = Path(f"{job.out}.rss").read_text().split() if code != -1 else ["0"]
    return Run(seconds, clock.seconds, int(lines[-1]) // 1024, code, *judge(job))


def judge(job: Job) -> tuple[int, int, int]:
    """Count files with the right bytes, with wrong ones under a final name, and with wrong ones that are marked."""
    known = {job.md5(name) for name in job.names}
    report = job.out / "outcomes.json"
    outcomes = json.loads(report.read_text()) if report.exists() else {}
    right: set[str] = set()
    wrong = marked = 0
    for path in (job.out / "files").rglob("*"):
        if not path.is_file() or path.suffix not in {".jpg", ".png", ".html"} or path.name.startswith("."):
            continue
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        if md5 in known:
            right.add(md5)
        elif outcomes.get(path.name) == "md5_differs":
            marked += 1
        else:
            wrong += 1
    return len(right), wrong, marked


def make_corpus(folder: Path, count: int) -> None:
    """Files of realistic size that begin like a JPEG; a downloader does not care about the rest."""
    source = random.Random(0)
    for number in range(1, count + 1):
        size = int(source.lognormvariate(0, 0.5) * MEAN_BYTES / 1.13)
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + source.randbytes(size))


class Benchmark:
    """The rows of the table, over one corpus."""

    def __init__(self, corpus: Path, scratch: Path, peers: list[str], rounds: int, pictures: Path | None) -> None:
        self.corpus, self.scratch, self.peers, self.rounds = corpus, scratch, peers, rounds
        self.pictures = pictures
        self.all = sorted((path.name for path in corpus.iterdir()), key=lambda name: int(name.split(".")[0]))

    def job(self, base: str, count: int, label: str) -> Job:
        """The first files of the corpus."""
        return Job(base, self.all[:count], self.corpus, self.folder(label))

    def folder(self, label: str) -> Path:
        """A new folder for each run: after many deletions, ext4 creates files slowly for a minute."""
        return self.scratch / f"{label}-{time.monotonic_ns()}"

    def cost(self) -> None:
        """CPU per file without start-up: 1500 files minus 500, several rounds, alternating peers."""
        rates: dict[str, list[float]] = {peer: [] for peer in self.peers}
        with serving(self.corpus, "plain") as base:
            for _ in range(self.rounds):
                for peer in self.peers:
                    few, many = (measure(peer, self.job(base, n, peer)) for n in (500, 1500))
                    rates[peer].append((many.cpu_seconds - few.cpu_seconds) / 1000 * 1000)
        table("cost", ["peer", "CPU ms a file (median)", "of all rounds"])
        for peer, found in rates.items():
            row(peer, f"{median(found):.2f}", ", ".join(f"{one:.2f}" for one in found))

    def images(self) -> None:
        """CPU per image without start-up, with its 512px image: all pictures minus a third of them."""
        if self.pictures is None:
            print("\nimages: give --pictures FOLDER with JPG and PNG files that have numbers for names")
            return
        names = sorted(path.name for path in self.pictures.iterdir())
        rates: dict[str, list[float]] = {peer: [] for peer in WITH_512 if peer in self.peers}
        with serving(self.pictures, "plain") as base:
            for _ in range(self.rounds):
                for peer, found in rates.items():
                    few, many = (
                        measure(peer, Job(base, names[:n], self.pictures, self.folder(peer)), WITH_512).cpu_seconds
                        for n in (len(names) // 3, len(names))
                    )
                    found.append((many - few) / (len(names) - len(names) // 3) * 1000)
        table("images", ["peer", "CPU ms an image (median)", "of all rounds"])
        for peer, found in rates.items():
            row(peer, f"{median(found):.1f}", ", ".join(f"{one:.1f}" for one in found))

    def faults(self) -> None:
        """500 files, some of them unobtainable."""
        table("faults", ["peer", "correct", "wrong, unmarked", "kept and marked", "exit code", "seconds"])
        for peer in self.peers:
            with serving(self.corpus, "faults") as base:
                run = measure(peer, self.job(base, 500, peer))
            row(peer, run.correct, run.wrong, run.marked, run.exit_code, f"{run.seconds:.0f}")

    def limit(self) -> None:
        """200 files from a server that allows 50 requests per second."""
        table("limit", ["peer", "kept", "429s", "seconds"])
        for peer in self.peers:
            with serving(self.corpus, "limit") as base:
                run = measure(peer, self.job(base, 200, peer))
                row(peer, run.correct, answers(base).get("429", 0), f"{run.seconds:.0f}")

    def latency(self) -> None:
        """1500 files with 80 ms of latency, 32 in parallel."""
        table("latency", ["peer", "files a second", "of all rounds"])
        for peer in [peer for peer in self.peers if peer != "gallery-dl"]:
            found = []
            for _ in range(self.rounds):
                with serving(self.corpus, "late") as base:
                    run = measure(peer, self.job(base, 1500, peer))
                found.append(run.correct / run.seconds)
            row(peer, f"{median(found):.0f}", ", ".join(f"{one:.0f}" for one in found))

    def kill(self) -> None:
        """SIGKILL at random moments, 50 times, then run to the end: what is fetched again, and what is wrong."""
        table("kill", ["peer", "kills", "correct", "wrong", "files asked for more than once"])
        source = random.Random(1)
        with serving(self.corpus, "slow") as base:
            job = self.job(base, 400, "ours-killed")
            job.out.mkdir(parents=True)
            lied = 0
            for _ in range(50):
                process = subprocess.Popen(PEERS["ours"](job), stderr=subprocess.DEVNULL, start_new_session=True)
                time.sleep(0.4 + source.random() * 0.8)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                lied += judge(job)[1]
            before = sum(answers(base).values())
            done = judge(job)[0]
            run = measure("ours", job)
            again = sum(answers(base).values()) - before - (400 - done)
            row("ours", 50, run.correct, run.wrong + lied, again)

    def memory(self) -> None:
        """Peak memory of a whole bucket with 100 and with 5,000 posts; see fetch_memory.py."""
        table("memory", ["posts in the bucket", "peak MB"])
        for posts in (100, 5000):
            command = [sys.executable, str(HERE / "fetch_memory.py"), str(posts)]
            row(posts, subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.strip())


def table(title: str, columns: list[str]) -> None:
    """Start a table."""
    print(f"\n### {title}\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def row(*cells: object) -> None:
    """Add a row."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    """Run the requested rows."""
    rows = ["cost", "images", "faults", "limit", "latency", "kill", "memory"]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=", ".join(rows))
    parser.add_argument("--bin", action="append", default=[], help="folder with gallery-dl or img2dataset in it")
    parser.add_argument("--pictures", type=Path, help="folder of JPG and PNG files for the row images")
    parser.add_argument("--rounds", type=int, default=3, help="of the rows cost and latency")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of them, with commas between")
    options = parser.parse_args()
    reap_orphans()
    os.environ["PATH"] = os.pathsep.join([*options.bin, os.environ["PATH"]])
    peers = [peer for peer in options.peers.split(",") if peer == "ours" or shutil.which(peer)]
    with tempfile.TemporaryDirectory(prefix="fetch-benchmark-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        make_corpus(corpus, 1500)
        benchmark = Benchmark(corpus, Path(folder) / "out", peers, options.rounds, options.pictures)
        for name in options.rows or rows:
            getattr(benchmark, name)()


if __name__ == "__main__":
    main()
