"""Run the demo booru: ``python -m danbooru_pipeline.demo --posts 40 --year 2021 --files FOLDER``.

Prints one JSON line with its addresses once it is ready. Exits on SIGTERM or, with ``--exit-with-stdin``, when its
standard input closes, so that it never outlives the process that started it.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

import pyvips

from danbooru_pipeline.demo.bigquery.mirror import Mirror
from danbooru_pipeline.demo.site.api import ApiHandler
from danbooru_pipeline.demo.site.booru import Booru
from danbooru_pipeline.demo.site.cdn import CdnHandler
from danbooru_pipeline.demo.site.http import BooruServer
from danbooru_pipeline.demo.site.world import FIRST_YEAR, World


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m danbooru_pipeline.demo", description="Run the demo booru.")
    parser.add_argument("--posts", type=int, default=3200, help="number of posts at the end of 2021 (default: 3200)")
    parser.add_argument("--year", type=int, default=FIRST_YEAR, help="show the site as of this year (default: 2021)")
    parser.add_argument("--files", type=Path, required=True, help="folder for the files; reused next time")
    parser.add_argument("--seed", type=int, default=0, help="a different seed gives a different world (default: 0)")
    parser.add_argument("--api-port", type=int, default=0, help="port of the API (default: any free one)")
    parser.add_argument("--cdn-port", type=int, default=0, help="port of the CDN (default: any free one)")
    parser.add_argument("--no-rate-limit", action="store_true", help="accept any number of requests per second")
    parser.add_argument("--bigquery", action="store_true", help="also serve its tables as the BigQuery mirror does")
    parser.add_argument("--exit-with-stdin", action="store_true", help="exit when standard input closes")
    return parser.parse_args()


def _watch_stdin(end: threading.Event) -> None:
    # Not through sys.stdin: this thread would hold its lock at exit, which aborts the interpreter.
    while os.read(0, 4096):
        pass
    end.set()


def _wait_for_end(*, with_stdin: bool) -> None:
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    signal.signal(signal.SIGINT, lambda *_: end.set())
    if with_stdin:
        threading.Thread(target=_watch_stdin, args=(end,), daemon=True).start()
    end.wait()


def main() -> int:
    """Serve until a signal comes or standard input closes."""
    options = _parse_arguments()
    if options.posts < 1:
        raise SystemExit("--posts must be at least 1; give a positive number")
    # Each picture is drawn once, so a cache gains nothing.
    pyvips.cache_set_max(0)
    api, cdn = BooruServer(options.api_port, ApiHandler), BooruServer(options.cdn_port, CdnHandler)
    world = World(options.posts, seed=options.seed)
    mirror = Mirror() if options.bigquery else None
    booru = Booru(world, options.files, cdn_url=cdn.url, rate_limit=not options.no_rate_limit, mirror=mirror)
    booru.set_year(options.year)
    for server in (api, cdn):
        server.booru = booru
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.ExitStack() as stack:
        addresses = {"api_url": api.url, "cdn_url": cdn.url}
        if mirror is not None:
            from danbooru_pipeline.demo.bigquery.server import serve_bigquery  # noqa: PLC0415 - takes a second

            served = stack.enter_context(serve_bigquery(mirror))
            addresses |= {"bigquery_rest": served.rest_url, "bigquery_grpc": served.grpc_address}
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()
        _wait_for_end(with_stdin=options.exit_with_stdin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
