"""Measures the sweep over the API: ``python -m benchmarks.sweep FOLDER POSTS [POSTS ...]``.

A stub gives 200 posts a page as fast as it can, in a process of its own: the records of FILE, or one of usual size,
under running ids of which every twentieth is missing. Per size it prints the CPU time a post, the most memory, and how
long a sweep that is killed half-way takes to its next part. With ``--profile``, where the time goes.
"""

import argparse
import asyncio
import cProfile
import hashlib
import json
import os
import pstats
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources import sweep_posts
from danbooru_pipeline.sources.api import POSTS_PER_PAGE, ApiSource

YEAR = 2021
NOW = datetime(2022, 1, 5, tzinfo=UTC)
#: What one id in `GAP` has no post of.
GAP = 20
TAGS = " ".join(f"some_common_tag_{number}" for number in range(30))
RECORD: dict[str, Any] = {
    "created_at": "2020-03-17T03:50:48.762-04:00",
    "uploader_id": 577645,
    "score": 3,
    "source": "https://example.org/someone/status/1616064514683985925",
    "last_comment_bumped_at": None,
    "rating": "g",
    "image_width": 1500,
    "image_height": 2500,
    "tag_string": TAGS,
    "fav_count": 5,
    "file_ext": "jpg",
    "last_noted_at": None,
    "parent_id": None,
    "has_children": False,
    "approver_id": None,
    "tag_count_general": 30,
    "tag_count_artist": 0,
    "tag_count_character": 0,
    "tag_count_copyright": 0,
    "file_size": 294721,
    "up_score": 3,
    "down_score": 0,
    "is_pending": False,
    "is_flagged": False,
    "is_deleted": False,
    "tag_count": 30,
    "updated_at": "2020-03-17T03:50:48.762-04:00",
    "is_banned": False,
    "pixiv_id": None,
    "last_commented_at": None,
    "has_active_children": False,
    "bit_flags": 0,
    "tag_count_meta": 0,
    "has_large": True,
    "has_visible_children": False,
    "tag_string_general": TAGS,
    "tag_string_character": "",
    "tag_string_copyright": "",
    "tag_string_artist": "",
    "tag_string_meta": "",
}


class Stub:
    """Answers what a sweep asks of a booru."""

    def __init__(self, posts: int, records: list[dict[str, Any]]) -> None:
        self.newest = posts * GAP // (GAP - 1)
        created = RECORD["created_at"]  # before the cutoff, whatever the records are from
        bodies = [{**record, "created_at": created, "updated_at": created} for record in records]
        self.bodies = [json.dumps(_without(body, "id", "md5"), separators=(",", ":")).encode()[1:] for body in bodies]
        self.started = time.monotonic()

    def answer(self, target: str) -> bytes:
        """The body for a path with its query."""
        if target.startswith("/counts/"):
            return b'{"counts":{"posts":%d}}' % (self.newest - self.newest // GAP)
        query = dict(pair.partition("=")[::2] for pair in target.partition("?")[2].split("&"))
        limit, page = int(query["limit"]), query.get("page", "1")
        if "deleted" in query.get("tags", ""):
            return b"[]"
        start = int(page[1:]) if page[0] == "a" else max(0, self.newest - limit)
        ids = [id_ for id_ in range(start + 1, min(start + limit + limit // GAP + 2, self.newest) + 1) if id_ % GAP]
        return b"[%s]" % b",".join([self.record(id_) for id_ in ids[:limit]])

    def record(self, id_: int) -> bytes:
        """One post."""
        md5 = hashlib.md5(b"%d" % id_, usedforsecurity=False).hexdigest().encode()
        return b'{"id":%d,"md5":"%s",%s' % (id_, md5, self.bodies[id_ % len(self.bodies)])

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, with keep-alive."""
        while (line := await reader.readline()).strip():
            while (await reader.readline()).strip():
                pass
            body = self.answer(line.decode().split(" ")[1].replace("%3A", ":"))
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
            writer.write(head + body)
            await writer.drain()
        writer.close()


def _without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in keys}


async def serve(posts: int, records: list[dict[str, Any]]) -> None:
    """Print the port, then answer for ever."""
    server = await asyncio.start_server(Stub(posts, records).talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def stub(posts: int, records: Path | None) -> Iterator[str]:
    """The address of a stub."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.sweep",
        "--serve",
        *(["--records", str(records)] if records else []),
        ".",
        str(posts),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def sweep(folder: Path, url: str, *, profile: bool) -> None:
    """Sweep, and print what it took; each line of progress comes with its time."""
    (folder / "store").mkdir(parents=True, exist_ok=True)
    settings = Settings(root=folder, api_url=url, cdn_url=url, min_free_bytes=0, requests_per_second=100_000)
    profiler = cProfile.Profile()
    with BooruClient(settings) as client:
        if profile:
            profiler.enable()
        report = sweep_posts(
            ApiSource(client), Layout(folder), YEAR, now=NOW, progress=lambda text: print(text, flush=True)
        )
        profiler.disable()
    print(json.dumps({"cpu": time.process_time(), "mib": peak_mib(), "rows": report.rows}), flush=True)
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def started(folder: Path, url: str, *options: str) -> "subprocess.Popen[str]":
    """A sweep in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sweep", "--sweep", url, *options, str(folder), "0"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def measure(folder: Path, posts: int, records: Path | None) -> None:
    """One sweep undisturbed, one killed half-way; the same file must come of both."""
    with stub(posts, records) as url:
        begun = time.monotonic()
        with started(folder / "whole", url) as process:
            assert process.stdout is not None
            result = json.loads(process.stdout.read().splitlines()[-1])
        wall = time.monotonic() - begun
        with started(folder / "killed", url) as process:
            assert process.stdout is not None
            for number, _ in enumerate(process.stdout):
                if number * 50 * POSTS_PER_PAGE > posts // 2:
                    os.kill(process.pid, signal.SIGKILL)
                    break
        begun = time.monotonic()
        with started(folder / "killed", url) as process:
            assert process.stdout is not None
            lines = iter(process.stdout)
            first = next(line for line in lines if "up to id" in line)
            resumed = time.monotonic() - begun
            print(f"after the kill: {first.strip()}", file=sys.stderr)
            list(lines)
    whole, killed = (Layout(folder / name).posts(YEAR).read_bytes() for name in ("whole", "killed"))
    cpu, rows = result["cpu"], result["rows"]
    print(
        f"| {rows:,} | {cpu:.1f} | {cpu / rows * 1e6:.1f} | {wall:.0f} | {result['mib']:.0f} | {resumed:.1f} | "
        f"{'yes' if whole == killed else 'NO'} |"
    )


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("posts", type=int, nargs="+")
    parser.add_argument("--records", type=Path, help="JSON list of posts as the API gives them")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--sweep", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        records = json.loads(options.records.read_bytes()) if options.records else [RECORD]
        asyncio.run(serve(options.posts[0], records))
    elif options.sweep:
        sweep(options.folder, options.sweep, profile=options.profile)
    elif options.profile:
        with stub(options.posts[0], options.records) as url:
            sweep(options.folder, url, profile=True)
    else:
        print("| posts | CPU s | CPU us a post | wall s | peak MiB | resumed after, s | same bytes |")
        print("|---:|---:|---:|---:|---:|---:|---|")
        for posts in options.posts:
            measure(options.folder / str(posts), posts, options.records)


if __name__ == "__main__":
    main()
