"""Searches at a million posts and more: the index beside a scan, DuckDB and SQLite (a join, and FTS5).

    python -m benchmarks.search [--posts 1000000] [--root FOLDER] [--others]

Makes a release of synthetic posts with 30 tags each of a vocabulary of 100,000 (Zipf, and twelve common ones), then its
index in a process of its own, and prints CPU times. What it makes is kept in FOLDER and used again.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.export import example_release_json
from benchmarks.memory import peak_mib
from benchmarks.search_others import ENGINES, FILES, Query, file_of, make_file
from danbooru_pipeline.consume.find import find
from danbooru_pipeline.io.parquet import rechunk, write_shards
from danbooru_pipeline.posts import POST_SCHEMA, conform
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA
from danbooru_pipeline.release.tables.search_index import write_search_index
from danbooru_pipeline.release_paths import INDEX, RELEASE_JSON, manifest_path, parquet_path

VOCABULARY = 100_000
COMMON = np.array([0.75, 0.6, 0.55, 0.45, 0.4, 0.35, 0.3, 0.3, 0.25, 0.2, 0.2, 0.15])
CHUNK = 100_000
RATINGS = np.array(["g", "s", "q", "e"])
#: Name -> tags that posts have, and tags that they do not have.
QUERIES = {
    "three common": ([0, 1, 2], []),
    "two common, one excluded": ([0, 3], [4]),
    "common and rare": ([0, 30_000], []),
    "two of the middle": ([60, 90], []),
    "one of the middle": ([200], []),
    "five common, one excluded": ([0, 1, 2, 3, 5], [7]),
}


def tag(number: int) -> str:
    """The name of a tag."""
    return f"tag_{number:06d}"


def make_release(folder: Path, posts: int, template: Path) -> None:
    """Write posts and manifest of a release."""
    rng = np.random.default_rng(5)
    weights = 1 / (np.arange(1, VOCABULARY + 1) + 3)
    cumulated = np.cumsum(weights / weights.sum())
    names = np.array([tag(number) for number in range(VOCABULARY)])
    held = [rows(first, min(CHUNK, posts - first), rng, cumulated, names) for first in range(0, posts, CHUNK)]
    for part, path_of, schema in (
        (0, lambda n, of: folder / parquet_path("posts", n, of=of), POST_SCHEMA),
        (1, lambda n, of: folder / manifest_path(n, of=of), MANIFEST_SCHEMA),
    ):
        tables = (conform(pair[part], schema) for pair in held)
        write_shards(rechunk(tables, CHUNK), posts, path_of=path_of, schema=schema, dictionary=("rating", "file_ext"))
    shutil.copy(template, folder / RELEASE_JSON)


def release_of(root: Path, posts: int) -> Path:
    """A release of so many posts, made if it is not there. Returns its folder."""
    folder = root / f"danbooru{posts}"
    if not (folder / RELEASE_JSON).exists():
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("parquet", "manifest"):
            (folder / name).mkdir(parents=True)
        make_release(folder, posts, example_release_json(root))
    return folder


def rows(first: int, count: int, rng: Any, cumulated: Any, names: Any) -> tuple[pa.Table, pa.Table]:
    """Some posts, and their rows of the manifest."""
    lengths = np.maximum(8, rng.lognormal(3.3, 0.35, count)).astype(int)
    owners = np.repeat(np.arange(count), lengths)
    tags = np.minimum(np.searchsorted(cumulated, rng.random(len(owners))), VOCABULARY - 1)
    common_owners, common = np.nonzero(rng.random((count, len(COMMON))) < COMMON)
    keys = np.unique(np.concatenate([owners * VOCABULARY + tags, common_owners * VOCABULARY + common]))
    offsets = np.searchsorted(keys // VOCABULARY, np.arange(count + 1)).astype(np.int32)
    words = pa.DictionaryArray.from_arrays(pa.array(keys % VOCABULARY), pa.array(names)).cast(pa.string())
    ids = np.arange(first + 1, first + count + 1)
    strings = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), words), " ")
    posts = pa.table({
        "id": ids,
        "created_at": pa.array(ids * 60_000_000, pa.timestamp("us", tz="UTC")),
        "rating": RATINGS[rng.choice(4, count, p=[0.15, 0.62, 0.13, 0.10])],
        "score": rng.poisson(6, count),
        "tag_string": strings,
        "tag_string_general": strings,
        "file_ext": np.where(rng.random(count) < 0.3, "png", "jpg"),
        "is_deleted": rng.random(count) < 0.05,
    })  # fmt: skip
    paths = [f"512px/{id_ % 1000:04d}/{id_}.jpg" for id_ in ids.tolist()]
    files = pa.table({
        "id": ids, "bucket": [path[6:10] for path in paths], "status": ["ok"] * count, "px512_path": paths,
        "px512_status": ["ok"] * count, "first_release": pa.array([2021] * count, pa.int16()),
    })  # fmt: skip
    return posts, files


def index_in_a_process(folder: Path) -> None:
    """Make the index, and print what it took and how large it is."""
    shutil.rmtree(folder / INDEX, ignore_errors=True)
    took = in_a_process("--make", "index", "--folder", str(folder))
    size = sum(path.stat().st_size for path in (folder / INDEX).iterdir())
    print(
        f"index: {took['names']:,} names, {size / 1e6:.1f} MB, {took['cpu']:.1f} CPU s, {took['peak']:.0f} MB at most",
        flush=True,
    )


def make_index(folder: Path) -> None:
    """Make the index in this process; prints JSON."""
    began = time.process_time()
    names = write_search_index(folder)
    peak = peak_mib()
    print(json.dumps({"names": names, "cpu": time.process_time() - began, "peak": peak}))


def cpu_ms(run: Callable[[], Any], times: int = 5) -> float:
    """The median CPU time of a call, in milliseconds, after one that warms up."""
    run()
    spent = []
    for _ in range(times):
        began = time.process_time()
        run()
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


def ours(folder: Path, query: Query) -> Callable[[], int]:
    """The query by the index, from the opening of its files to the ids."""
    wanted, excluded = query
    text = " ".join(["rating:g,s", *wanted, *(f"-{each}" for each in excluded), "limit:100"])
    return lambda: find(folder, text).total


def tags_of(query: str) -> Query:
    """The tags of a query, and those that it excludes."""
    wanted, excluded = QUERIES[query]
    return [tag(number) for number in wanted], [tag(number) for number in excluded]


def answer_all(folder: Path, engine: str) -> None:
    """Answer all queries by one engine in this process; prints JSON."""
    ask = {"index": ours, **ENGINES}[engine]
    times = 1 if engine == "DuckDB" else 5
    spent = [cpu_ms(ask(folder, tags_of(query)), times) for query in QUERIES]
    print(json.dumps({"cpu": spent, "peak": peak_mib()}))


def in_a_process(*options: str) -> Any:
    """What this module answers with some options, as JSON."""
    command = [sys.executable, "-m", "benchmarks.search", *options]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def compare(folder: Path, engines: Sequence[str]) -> None:
    """Print the table: CPU time of each query and engine, and the memory of a process that answers all six."""
    for file in dict.fromkeys(FILES[engine] for engine in engines if engine in FILES):
        if not file_of(folder, file).exists():
            made = in_a_process("--make", file, "--folder", str(folder))
            print(f"{file}: {made['size'] / 1e6:,.1f} MB, {made['seconds']:.1f} CPU s", flush=True)
    names = ["index", *engines]
    took = [in_a_process("--engine", engine, "--folder", str(folder)) for engine in names]
    print(f"\n| query, CPU ms | posts | {' | '.join(names)} |\n|---|---:|" + "---:|" * len(names))
    for n, query in enumerate(QUERIES):
        cells = [f"{each['cpu'][n]:,.1f}" for each in took]
        print(f"| {query} | {ours(folder, tags_of(query))():,} | {' | '.join(cells)} |")
    peaks = [f"{each['peak']:,.0f}" for each in took]
    print(f"| memory, MB | | {' | '.join(peaks)} |", flush=True)


def compare_more(folder: Path) -> None:
    """Print what searches of numbers and patterns take, and the first line of the command."""
    print("\n| search | posts | CPU ms |\n|---|---:|---:|")
    for text in (f"{tag(0)} score:>=10", f"{tag(0)} order:score limit:100", f"{tag(0)} date:<1972", "*_0000*"):
        wanted = f"{text} limit:100" if "limit" not in text else text
        print(f"| `{text}` | {find(folder, wanted).total:,} | {cpu_ms(lambda w=wanted: find(folder, w)):,.1f} |")  # type: ignore[misc]
    first_line(folder)


def first_line(folder: Path) -> None:
    """Print when the command prints its first line, and its memory."""
    command = [sys.executable, "-m", "danbooru_pipeline", "select", str(folder), f"{tag(0)} {tag(1)}"]
    began = time.monotonic()
    with subprocess.Popen(["/usr/bin/env", "time", "-f", "%M %U", *command], stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        done.stdout.readline()
        print(
            f"\n`select`: first line after {(time.monotonic() - began) * 1000:.0f} ms; at its end (KB, CPU s):",
            flush=True,
        )
        lines = sum(1 for _ in done.stdout) + 1
    print(f"{lines:,} lines in {time.monotonic() - began:.2f} s")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--root", type=Path, default=Path("data/benchmark-select"))
    parser.add_argument("--others", action="store_true", help="SQLite, too, which takes minutes to fill")
    parser.add_argument("--keep", action="store_true", help="the index that is there")
    for hidden in ("--make", "--engine"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make == "index":
        make_index(given.folder)
    elif given.make:
        print(json.dumps(asdict(make_file(given.folder, given.make))))
    elif given.engine:
        answer_all(given.folder, given.engine)
    else:
        folder = release_of(given.root, given.posts)
        if not given.keep:
            index_in_a_process(folder)
        compare(folder, [name for name in ENGINES if given.others or name not in FILES])
        compare_more(folder)


if __name__ == "__main__":
    main()
