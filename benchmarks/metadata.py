"""Measures metadata at full size: ``python -m benchmarks.metadata FOLDER [--posts 1000000] [--rounds 3]``.

Posts with realistic tags (27 per post, Zipf over 300,000 names) are generated once in FOLDER, with their lines in both
dialects. Every step runs in a process of its own, alternating between ours and the alternative, so that CPU seconds and
peak memory are its own; memory is also measured for a quarter of the posts. The alternative encoder is orjson, which
the project itself does not use: ``pip install orjson`` first.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from benchmarks.memory import peak_mib
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import BUCKETS, Layout
from danbooru_pipeline.posts import (
    POST_SCHEMA,
    LineTyper,
    TagIds,
    conform,
    encode_2017,
    encode_2021,
    lines,
    posts_writer,
    read_posts,
    tag_lists,
)
from danbooru_pipeline.posts.schema import CATEGORIES, SITE_COLUMNS
from danbooru_pipeline.release.tree.archive import TarEntry, write_tar_xz
from danbooru_pipeline.release.tree.jsonl import write_posts_jsonl
from danbooru_pipeline.sources import bring_posts, split_by_bucket
from danbooru_pipeline.sources.files import ArchiveSource
from danbooru_pipeline.sources.json_lines import read_lines

YEAR = 2021
NAMES = 300_000
XZ_BYTES = 100 * 2**20
CHUNK_ROWS = 20_000
LAST = datetime(2021, 12, 31, 23, 50, tzinfo=UTC)


class Cost(NamedTuple):
    """Cost of a step: CPU and wall seconds, peak memory in MiB, and its output in bytes."""

    cpu: float
    wall: float
    memory: float
    size: int = 0


def names_of_tags() -> tuple[list[str], list[int], np.ndarray]:
    """Names, categories, and the cumulative frequency of the names."""
    dice = random.Random(1)
    parts = ["hair", "eyes", "dress", "blue", "long", "holding", "looking_at", "school", "(series)", "white", "x_x"]
    names = [f"{dice.choice(parts)}_{dice.choice(parts)}_{number:x}" for number in range(NAMES)]
    categories = [dice.choices(list(CATEGORIES), [60, 15, 8, 15, 2])[0] for _ in names]
    weights = 1 / np.arange(1, NAMES + 1) ** 1.05
    return names, categories, np.cumsum(weights / weights.sum())


def posts_of(first: int, count: int, total: int, tags: tuple[list[str], list[int], np.ndarray]) -> pa.Table:
    """Posts with ids from `first`, with the columns of January 2022."""
    names, categories, shares = tags
    chance = np.random.default_rng(first)
    sizes = np.clip(chance.normal(27, 9, count), 3, 120).astype(int)
    drawn = np.searchsorted(shares, chance.random(int(sizes.sum())))
    rows = []
    start = 0
    for number, size in enumerate(sizes.tolist()):
        id_ = first + number
        mine = sorted({int(i) for i in drawn[start : start + size]}, key=lambda i: names[i])
        start += size
        md5 = hashlib.md5(str(id_).encode(), usedforsecurity=False).hexdigest()
        place = f"{md5[:2]}/{md5[2:4]}"
        row: dict[str, Any] = {
            "id": id_, "created_at": LAST - timedelta(seconds=30 * (total - id_), milliseconds=id_ % 1000),
            "uploader_id": id_ % 70_000, "score": id_ % 40 - 3, "md5": md5, "rating": "ssqe"[id_ % 4],
            "source": f"https://i.pximg.net/img-original/img/2021/03/17/16/11/23/{id_}_p0.jpg?a=1&b=2",
            "image_width": 900 + id_ % 3000, "image_height": 1200, "tag_string": " ".join(names[i] for i in mine),
            "is_note_locked": False, "fav_count": id_ % 50, "file_ext": "jpg", "is_rating_locked": False,
            "parent_id": id_ - 1 if id_ % 9 == 0 else None, "has_children": False, "file_size": 7 * id_ % 3_000_000 + 1,
            "is_status_locked": False, "up_score": id_ % 40, "down_score": -3, "is_pending": False,
            "is_flagged": False, "is_deleted": id_ % 20 == 0, "tag_count": len(mine), "updated_at": LAST,
            "is_banned": False, "pixiv_id": id_ * 17, "has_active_children": False, "bit_flags": 0, "has_large": True,
            "has_visible_children": False, "file_url": f"https://cdn.donmai.us/original/{place}/{md5}.jpg",
            "large_file_url": f"https://cdn.donmai.us/sample/{place}/sample-{md5}.jpg",
            "preview_file_url": f"https://cdn.donmai.us/preview/{place}/{md5}.jpg",
        }  # fmt: skip
        for category, title in CATEGORIES.items():
            held = [names[i] for i in mine if categories[i] == category]
            row[f"tag_string_{title}"], row[f"tag_count_{title}"] = " ".join(held), len(held)
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=POST_SCHEMA)


def make(folder: Path, posts: int) -> None:
    """Generate posts and their lines, in both dialects and as plain JSON, unless they exist."""
    if (folder / "made").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tags = names_of_tags()
    ids = TagIds(pa.array(tags[0]), pa.array(range(1, NAMES + 1), pa.int64()))
    with contextlib.ExitStack() as stack:
        parquet = stack.enter_context(posts_writer(stack.enter_context((folder / "posts.parquet").open("wb"))))
        files = {name: stack.enter_context((folder / f"{name}.json").open("wb")) for name in ("2021", "2017", "plain")}
        for first in range(1, posts + 1, CHUNK_ROWS):
            table = posts_of(first, min(CHUNK_ROWS, posts + 1 - first), posts, tags)
            parquet.write_table(table)
            files["2021"].write(encode_2021(table))
            filled = table.set_column(
                POST_SCHEMA.get_field_index("tags"), POST_SCHEMA.field("tags"), tag_lists(table, ids)
            )
            files["2017"].write(encode_2017(filled))
            files["plain"].write(b"".join(_with_orjson(table)))
    (folder / "made").touch()


def _with_orjson(table: pa.Table) -> Iterator[bytes]:
    import orjson  # noqa: PLC0415 - wanted by this step alone

    columns = []
    for name in SITE_COLUMNS:
        column = table[name]
        if pa.types.is_timestamp(column.type):
            column = pc.strftime(column.cast(pa.timestamp("ms")), format="%Y-%m-%dT%H:%M:%S")
        columns.append(column.to_pylist())
    for values in zip(*columns, strict=True):
        yield orjson.dumps(dict(zip(SITE_COLUMNS, values, strict=True))) + b"\n"


def chunks_of(path: Path) -> Iterator[bytes]:
    """Read a file, a megabyte at a time."""
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            yield chunk


def _encoded(folder: Path, encode: Callable[[pa.Table], bytes]) -> float:
    """CPU seconds of encoding only: reading Parquet and writing files cost the same for both."""
    spent = 0.0
    size = 0
    for table in read_batches(folder / "posts.parquet", rows=4_096):
        rows = conform(table)
        began = time.process_time()
        size += len(encode(rows))
        spent += time.process_time() - began
    assert size > _rows(folder) * 1000
    return spent


def encode_ours(folder: Path, _work: Path) -> float:
    """Encode rows as lines of 2021."""
    return _encoded(folder, encode_2021)


def encode_orjson(folder: Path, _work: Path) -> float:
    """Encode the same rows with orjson, one dictionary each: numbers, nulls, and times as text from Arrow."""
    return _encoded(folder, lambda table: b"".join(_with_orjson(table)))


def write_lines(folder: Path, work: Path) -> None:
    """From Parquet to the files of a release, flushed to disk."""
    write_posts_jsonl([folder / "posts.parquet"], lambda n: work / f"{n}.json")


def _typed(path: Path, rows: int) -> None:
    typer = LineTyper()
    read = kept = 0
    for block in read_lines(chunks_of(path), path.name):
        typed = block.posts(typer)
        read += typed.table.num_rows
        kept += typed.table.num_rows - typed.table["raw"].null_count
    assert (read, kept) == (rows, 0)


def type_2021(folder: Path, _work: Path) -> None:
    """Type the lines of 2021, with the round-trip proof."""
    _typed(folder / "2021.json", _rows(folder))


def type_2017(folder: Path, _work: Path) -> None:
    """Type the lines of 2017, with the round-trip proof."""
    _typed(folder / "2017.json", _rows(folder))


def _typed_only(path: Path) -> None:
    typer = LineTyper()
    for block in read_lines(chunks_of(path), path.name):
        bounds = lines._bounds(block.data)  # noqa: SLF001 - half of what `type` does
        typer._typed_at_once(lines._lines(block.data, bounds), old="2017" in path.name)  # noqa: SLF001


def type_2021_only(folder: Path, _work: Path) -> None:
    """Type the lines of 2021 without the proof."""
    _typed_only(folder / "2021.json")


def type_2017_only(folder: Path, _work: Path) -> None:
    """Type the lines of 2017 without the proof, and without today's tag strings."""
    _typed_only(folder / "2017.json")


def type_pyarrow(folder: Path, _work: Path) -> None:
    """Type plain lines (numbers, nulls, ISO times), the only kind that pyarrow reads."""
    schema = pa.schema([f if not pa.types.is_timestamp(f.type) else (f.name, pa.timestamp("ms")) for f in POST_SCHEMA])
    schema = pa.schema([pa.field(f.name, f.type) for f in schema if f.name in SITE_COLUMNS])
    options = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    reader = pa_json.open_json(
        folder / "plain.json", read_options=pa_json.ReadOptions(use_threads=False, block_size=16 * 2**20),
        parse_options=options,
    )  # fmt: skip
    assert sum(batch.num_rows for batch in reader) == _rows(folder)


def pyarrow_on_2017(folder: Path) -> str:
    """What pyarrow says about integers in strings."""
    schema = pa.schema([("id", pa.int64())])
    line = next(chunks_of(folder / "2017.json")).split(b"\n")[0]
    try:
        pa_json.read_json(io.BytesIO(line), parse_options=pa_json.ParseOptions(explicit_schema=schema))
    except pa.ArrowInvalid as error:
        return str(error).splitlines()[0]
    return "reads them"


def split_ours(folder: Path, work: Path) -> None:
    """Split by bucket as the asset does."""
    layout = Layout(work)
    layout.metadata(YEAR).mkdir(parents=True)
    os.link(folder / "posts.parquet", layout.posts(YEAR))
    assert split_by_bucket(layout, YEAR) == len(BUCKETS)


def split_duckdb(folder: Path, work: Path) -> None:
    """Split by bucket with DuckDB; rows within a bucket are unordered."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET memory_limit = '4GB'")
        connection.execute(f"SET temp_directory = '{work}/spill'")
        connection.execute("SET partitioned_write_max_open_files = 1000")
        connection.execute(  # both paths are the caller's own
            f"COPY (SELECT *, id % 1000 AS bucket FROM '{folder}/posts.parquet') TO '{work}/out' "
            "(FORMAT parquet, PARTITION_BY (bucket), COMPRESSION zstd, COMPRESSION_LEVEL 3)"
        )


def posts_asset(folder: Path, work: Path) -> None:
    """Everything that the asset `posts` does with the lines of an archive."""
    source = work / "archive"
    source.mkdir()
    os.link(folder / "2021.json", source / "posts000000000000.json")
    archive = ArchiveSource(source, cdn_url="https://cdn.donmai.us")
    report = bring_posts(archive, Layout(work), YEAR, now=datetime.now(UTC), progress=lambda _line: None)
    assert report.rows == _rows(folder)


def _rows(folder: Path) -> int:
    return int(pq.read_metadata(folder / "posts.parquet").num_rows)


STEPS: dict[str, Callable[[Path, Path], float | None]] = {
    step.__name__: step
    for step in (
        encode_ours, encode_orjson, write_lines, type_2021, type_2017, type_2021_only, type_2017_only, type_pyarrow,
        split_ours, split_duckdb, posts_asset,
    )
}  # fmt: skip


def run(step: str, folder: Path, base: Path) -> Cost:
    """One step in a process of its own."""
    work = base / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [sys.executable, "-m", "benchmarks.metadata", str(base), "--step", step, "--input", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} failed:\n{done.stderr}")
    shutil.rmtree(work)
    return Cost(*json.loads(done.stdout))


def run_here(step: str, folder: Path, work: Path) -> Cost:
    """Run one step in this process and subtract the cost of starting it."""
    pa.set_cpu_count(2)
    began, cpu = time.perf_counter(), time.process_time()
    alone = STEPS[step](folder, work)
    return Cost(alone or time.process_time() - cpu, time.perf_counter() - began, peak_mib())


def median(costs: list[Cost]) -> Cost:
    """The median of several rounds, for each number separately."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


def compare(names: list[str], folder: Path, base: Path, rounds: int) -> dict[str, Cost]:
    """Run steps, alternating."""
    found: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name].append(run(name, folder, base))
    return {name: median(costs) for name, costs in found.items()}


def loads(folder: Path, base: Path) -> tuple[float, float]:
    """Milliseconds to load one bucket from its own file, and by a scan of all posts: medians of 15 and of 3."""
    work = base / "work"
    shutil.rmtree(work, ignore_errors=True)
    split_ours(folder, work)
    layout = Layout(work)
    dice = random.Random(3)
    own, scan = [], []
    for _ in range(15):
        began = time.perf_counter()
        assert read_posts(layout.posts_bucket(YEAR, dice.choice(BUCKETS)))
        own.append(time.perf_counter() - began)
    for bucket in dice.sample(range(1000), 3):
        began = time.perf_counter()
        table = pq.read_table(folder / "posts.parquet", use_threads=False)
        ids = table["id"].to_numpy()
        assert table.filter(pa.array(ids % 1000 == bucket)).num_rows
        scan.append(time.perf_counter() - began)
    shutil.rmtree(work)
    return statistics.median(own) * 1000, statistics.median(scan) * 1000


def xz(folder: Path, base: Path, threads: int) -> dict[str, Cost]:
    """Compress 100 MiB of lines to tar.xz, ours and with tar and xz; ours twice, since the bytes must be equal."""
    work = base / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    text = work / "posts000000000000.json"
    with text.open("wb") as file, (folder / "2021.json").open("rb") as source:
        file.write(source.read(XZ_BYTES))
    with tarfile.open(work / "plain.tar", "w") as archive:
        archive.add(text, text.name)
    sums = set()
    costs: dict[str, Cost] = {}
    for number in range(2):
        before, began = _all_cpu(), time.perf_counter()
        with (work / f"ours{number}.tar.xz").open("wb") as file:
            write_tar_xz(file, [TarEntry(text.name, text)], mtime=0, threads=threads)
        target = work / f"ours{number}.tar.xz"
        sums.add(hashlib.sha256(target.read_bytes()).hexdigest())
        costs["ours"] = Cost(_all_cpu() - before, time.perf_counter() - began, 0, target.stat().st_size)
        before, began = _all_cpu(), time.perf_counter()
        command = ["xz", "-6", f"-T{threads}", "-k", "-f", str(work / "plain.tar")]
        subprocess.run(command, check=True)
        size = (work / "plain.tar.xz").stat().st_size
        costs["xz"] = Cost(_all_cpu() - before, time.perf_counter() - began, 0, size)
    assert len(sums) == 1, "not the same bytes twice"
    subprocess.run(["xz", "-t", str(work / "ours0.tar.xz")], check=True)
    shutil.rmtree(work)
    return costs


def _all_cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder with 12 GB of room; made, and kept for the next time")
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--input", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    base: Path = chosen.folder.resolve()
    if chosen.step:
        print(json.dumps(run_here(chosen.step, chosen.input, base / "work")))
        return
    whole, quarter = base / f"{chosen.posts}", base / f"{chosen.posts // 4}"
    make(whole, chosen.posts)
    make(quarter, chosen.posts // 4)
    rows = chosen.posts

    def rate(cost: Cost) -> str:
        return f"{rows / cost.cpu / 1000:,.0f}k rows/CPU s, {cost.memory:,.0f} MiB"

    groups = (
        ["encode_ours", "encode_orjson", "write_lines"],
        ["type_2021", "type_2021_only", "type_2017", "type_2017_only", "type_pyarrow"],
        ["split_ours", "split_duckdb"],
        ["posts_asset"],
    )
    for names in groups:
        for name, cost in compare(names, whole, base, chosen.rounds).items():
            small = run(name, quarter, base) if "orjson" not in name and "duckdb" not in name else None
            also = f"; a quarter of the posts {small.memory:,.0f} MiB" if small else ""
            print(f"{name}: {rate(cost)}, {cost.cpu:.1f} CPU s, {cost.wall:.1f} s{also}", flush=True)
    print(f"pyarrow on integers that are strings: {pyarrow_on_2017(whole)}")
    own, scan = loads(whole, base)
    print(f"load one bucket: {own:.1f} ms; scan of all posts {scan:,.0f} ms", flush=True)
    for threads in (1, 2):
        for name, cost in xz(whole, base, threads).items():
            megabytes = XZ_BYTES / 2**20
            print(
                f"tar.xz, {threads} threads, {name}: {cost.size / XZ_BYTES:.4f} of the size, {cost.wall:.1f} s, "
                f"{megabytes / cost.wall:.2f} MiB/s, {megabytes / cost.cpu:.2f} MiB/CPU s", flush=True
            )  # fmt: skip


if __name__ == "__main__":
    main()
