"""Searches at a million posts and more: the index beside a scan, DuckDB and SQLite (a join, and FTS5).

    python -m benchmarks.search [--posts 1000000] [--root FOLDER] [--others]

Makes a release of synthetic posts with 30 tags each of a vocabulary of 100,000 (Zipf, and twelve common ones), then its
index in a process of its own, and prints CPU times. What it makes is kept in FOLDER and used again.
"""

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.export import example_release_json
from benchmarks.memory import peak_mib
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
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.search", "--index", str(folder)], check=True, capture_output=True, text=True
    )
    took = json.loads(done.stdout)
    size = sum(path.stat().st_size for path in (folder / INDEX).iterdir())
    print(
        f"index: {took['names']:,} names, {size / 1e6:.1f} MB, {took['cpu']:.1f} CPU s, {took['peak']:.0f} MB at most"
    )


def make_index(folder: Path) -> None:
    """Make the index in this process; prints JSON."""
    began = time.process_time()
    names = write_search_index(folder)
    peak = peak_mib()
    print(json.dumps({"names": names, "cpu": time.process_time() - began, "peak": peak}))


def text_of(query: str) -> str:
    """A query in the language."""
    wanted, excluded = QUERIES[query]
    return " ".join(["rating:g,s", *map(tag, wanted), *(f"-{tag(number)}" for number in excluded), "limit:100"])


def duck(folder: Path, query: str) -> Callable[[], Any]:
    """The query by DuckDB, as a scan of the tag strings."""
    wanted, excluded = ([tag(number) for number in part] for part in QUERIES[query])
    where = f"list_has_all(string_split(tag_string, ' '), {wanted}) AND rating IN ('g', 's')"
    where += f" AND NOT list_has_any(string_split(tag_string, ' '), {excluded})" if excluded else ""
    sql = (
        f"SELECT count(*) OVER (), id FROM '{folder}/parquet/posts-*.parquet' WHERE {where} ORDER BY id DESC LIMIT 100"
    )
    connection = duckdb.connect(config={"threads": 1})
    return lambda: connection.execute(sql).fetchall()


def sqlite_file(folder: Path) -> sqlite3.Connection:
    """The tables of the others: a table of pairs, and an FTS5 index."""
    path = folder / "others.sqlite"
    is_new = not path.exists()
    database = sqlite3.connect(path)
    if is_new:
        database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-500000;"
            "CREATE TABLE posts(id INTEGER PRIMARY KEY, rating TEXT);"
            "CREATE TABLE post_tags(tag TEXT, id INT, PRIMARY KEY(tag, id)) WITHOUT ROWID;"
            "CREATE VIRTUAL TABLE words USING fts5"
            "(tags, content='', detail='none', tokenize=\"unicode61 remove_diacritics 0 tokenchars '_'\");"
        )
        for file in sorted(folder.glob("parquet/posts-*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(100_000, columns=["id", "rating", "tag_string"]):
                held = list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
                database.executemany("INSERT INTO posts VALUES(?, ?)", ((row[0], row[1]) for row in held))
                database.executemany("INSERT INTO words(rowid, tags) VALUES(?, ?)", ((row[0], row[2]) for row in held))
                pairs = sorted((word, row[0]) for row in held for word in row[2].split())
                database.executemany("INSERT INTO post_tags VALUES(?, ?)", pairs)
        database.commit()
    return database


def joined(database: sqlite3.Connection, query: str) -> Callable[[], Any]:
    """The query as a join."""
    wanted, excluded = QUERIES[query]
    sql = "SELECT id FROM posts WHERE rating IN ('g', 's')"
    sql += "".join(f" AND id IN (SELECT id FROM post_tags WHERE tag = '{tag(number)}')" for number in wanted)
    sql += "".join(f" AND id NOT IN (SELECT id FROM post_tags WHERE tag = '{tag(number)}')" for number in excluded)
    return lambda: database.execute(f"{sql} ORDER BY id DESC LIMIT 100").fetchall()


def full_text(database: sqlite3.Connection, query: str) -> Callable[[], Any]:
    """The query by FTS5."""
    wanted, excluded = QUERIES[query]
    match = " AND ".join(f'"{tag(number)}"' for number in wanted)
    match += "".join(f' NOT "{tag(number)}"' for number in excluded)
    sql = (
        "SELECT posts.id FROM words JOIN posts ON posts.id = words.rowid "
        "WHERE words MATCH ? AND rating IN ('g', 's') ORDER BY words.rowid DESC LIMIT 100"
    )
    return lambda: database.execute(sql, (match,)).fetchall()


def cpu_ms(run: Callable[[], Any], times: int = 5) -> float:
    """The median CPU time of a call, in milliseconds, after one that warms up."""
    run()
    spent = []
    for _ in range(times):
        began = time.process_time()
        run()
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


def ours(folder: Path, query: str) -> Callable[[], Any]:
    """The query by the index, from the opening of its files to the ids."""
    return lambda: find(folder, text_of(query))


def compare(folder: Path, *, others: bool) -> None:
    """Print the table."""
    database = sqlite_file(folder) if others else None
    columns = ["index", "DuckDB", *(["SQLite join", "FTS5"] if others else [])]
    print(f"\n| query, CPU ms | posts | {' | '.join(columns)} |\n|---|---:|" + "---:|" * len(columns))
    for query in QUERIES:
        runs = [(ours(folder, query), 5), (duck(folder, query), 1)]
        if database is not None:
            runs += [(joined(database, query), 1), (full_text(database, query), 1)]
        cells = [f"{cpu_ms(run, times):,.1f}" for run, times in runs]
        print(f"| {query} | {find(folder, text_of(query)).total:,} | {' | '.join(cells)} |", flush=True)
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
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.index:
        make_index(given.index)
        return
    folder = release_of(given.root, given.posts)
    index_in_a_process(folder)
    compare(folder, others=given.others)


if __name__ == "__main__":
    main()
