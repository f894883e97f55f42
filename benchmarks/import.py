"""What importing costs a file: by SHA-256, MD5 and pixel hash, beside `cp -al` and `md5sum` in the same run.

    .venv/bin/python -m benchmarks.import [--files 400] [--rounds 3]

Makes a store's worth of drawn pictures and one bucket of posts below a temporary folder, requests nothing, and prints
medians of interleaved rounds: files a second, CPU ms a file (children included). Then it prints the peak memory of an
import by each of two proofs in a process of its own, over one bucket of 5,000 small files, over four such buckets and
over one of 20,000: it must not grow with the files, and grows with the largest bucket.
"""

import argparse
import hashlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pyarrow.parquet as pq

from benchmarks.memory import peak_mib
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.art.pictures import draw_picture
from danbooru_pipeline.demo.art.scenes import choose_scene
from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import bucket_of, original_path
from danbooru_pipeline.posts import write_posts
from danbooru_pipeline.posts.schema import posts_table
from danbooru_pipeline.release import ManifestRow
from danbooru_pipeline.release.manifest.row import manifest_table
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.imports import import_files, open_holdings

_YEAR = 2021


def draw_jpeg(number: int) -> bytes:
    """A picture of 0.7 megapixels."""
    scene = choose_scene(1, number * 1000 + 1, with_figure=False)
    data: bytes = draw_picture(scene, Random(number), width=1000, height=700).jpegsave_buffer(Q=90)
    return data


def make_noise(number: int) -> bytes:
    """A small file that no decoder is asked about, as its MD5 or SHA-256 proves it."""
    return b"\xff\xd8\xff\xe0" + Random(number).randbytes(2_000)


def make_world(folder: Path, count: int, *, draw: Callable[[int], bytes], buckets: int = 1) -> None:
    """A tree of optimised files, the same files as a release and by MD5, and posts for each of the three proofs."""
    rows, posts = [], []
    (folder / "md5").mkdir()
    for number in range(count):
        id_ = number // buckets * 1000 + number % buckets + 1
        path = folder / "tree" / original_path(id_, "jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(number))
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        pixels = pixel_hash_of(path)
        (folder / f"md5/{md5}.jpg").hardlink_to(path)
        posts.append((id_, md5, pixels))
        rows.append(
            ManifestRow(
                id=id_, bucket=bucket_of(id_), rating="s", status="ok", path=original_path(id_, "jpg"), source_md5=md5,
                size=path.stat().st_size, sha256=sha256_of(path), px512_status="skipped", first_release=_YEAR,
            )
        )  # fmt: skip
    release = folder / "release"
    (release / "manifest").mkdir(parents=True)
    shutil.copytree(folder / "tree/original", release / "original", copy_function=lambda a, b: Path(b).hardlink_to(a))
    manifest = release / "manifest/files-00000-of-00001.parquet"
    pq.write_table(manifest_table(rows), manifest)
    (release / "SHA256SUMS").write_text(f"{sha256_of(manifest)}  manifest/{manifest.name}\n")
    (release / "RELEASE.json").write_text("{}")
    for name, wrong_md5 in (("posts", False), ("posts-optimised", True)):
        (folder / name).mkdir()
        for bucket in {bucket_of(id_) for id_, _, _ in posts}:
            held = [post for post in posts if bucket_of(post[0]) == bucket]
            _write_posts(folder / name / bucket, held, wrong_md5=wrong_md5)


def _write_posts(target: Path, posts: list[tuple[int, str, str]], *, wrong_md5: bool) -> None:
    """A bucket's posts; with another MD5 they can be proven by their pixels alone, as after an optimisation."""
    rows = [
        {
            "id": id_, "created_at": datetime(_YEAR, 6, 1, tzinfo=UTC), "file_ext": "jpg", "rating": "s",
            "md5": hashlib.md5(md5.encode(), usedforsecurity=False).hexdigest() if wrong_md5 else md5,
            "file_url": "https://cdn.donmai.us/a.jpg", "is_banned": False, "tag_string": "x",
            "extra": json.dumps({"media_asset": {"pixel_hash": pixels}}, separators=(",", ":")),
        }
        for id_, md5, pixels in posts
    ]  # fmt: skip
    with target.open("wb") as file:
        write_posts(posts_table(rows), file)


def run_import(place: Path | str, posts: str, path: str, expected: str) -> None:
    """Import into a new store."""
    folder = Path(place)
    with tempfile.TemporaryDirectory(dir=folder) as root:
        settings = Settings(root=Path(root), contact="benchmark@example.org", workers=2)
        with RunContext(settings) as context:
            for held in (folder / posts).iterdir():
                target = context.layout.posts_bucket(_YEAR, held.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(held, target)
            report = import_files(context, open_holdings([folder / path]), year=_YEAR)
    if set(report.outcomes) != {expected} or report.left:
        raise SystemExit(f"{path} by {expected}: {dict(report.outcomes)}, {report.left} left")


def run_tool(folder: Path, command: str) -> None:
    """Run a program of the system on the same files."""
    with tempfile.TemporaryDirectory(dir=folder) as target:
        subprocess.run(["/bin/sh", "-c", command, "sh", str(folder / "tree"), target], check=True, capture_output=True)


def works_on(folder: Path) -> dict[str, Callable[[], None]]:
    """What is measured."""
    return {
        "import, SHA-256": lambda: run_import(folder, "posts", "release", "sha256"),
        "import, MD5": lambda: run_import(folder, "posts", "md5", "md5"),
        "import, pixel hash": lambda: run_import(folder, "posts-optimised", "tree", "pixel_hash"),
        "cp -al": lambda: run_tool(folder, 'cp -al "$1" "$2"'),
        "md5sum": lambda: run_tool(folder, 'find "$1" -type f -print0 | xargs -0 md5sum'),
    }


def peak_memory(*worlds: tuple[int, int]) -> dict[str, list[int]]:
    """The peak memory of an import in MB, by the number of files and of buckets, for two proofs."""
    found: dict[str, list[int]] = defaultdict(list)
    for count, buckets in worlds:
        with tempfile.TemporaryDirectory() as name:
            make_world(Path(name), count, draw=make_noise, buckets=buckets)
            for title, path, outcome in (("SHA-256", "release", "sha256"), ("MD5", "md5", "md5")):
                command = [sys.executable, "-m", "benchmarks.import", "--peak", name, "posts", path, outcome]
                printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                found[f"import, {title}"].append(int(printed))
    return found


def _cpu() -> float:
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peak:
        run_import(*chosen.peak)
        print(int(peak_mib()))
        return
    with tempfile.TemporaryDirectory() as name:
        make_world(Path(name), chosen.files, draw=draw_jpeg)
        found = measure(works_on(Path(name)), rounds=chosen.rounds)
    print(f"{chosen.files} JPGs of 0.7 MP; medians of {chosen.rounds} rounds\n")
    print("| work | files/s | CPU ms a file |\n|---|---:|---:|")
    for name, (seconds, cpu) in found.items():
        print(f"| {name} | {chosen.files / seconds:,.0f} | {1000 * cpu / chosen.files:.2f} |")
    print("\n| peak MB | 5,000 files | 20,000, four buckets | 20,000, one bucket |\n|---|---:|---:|---:|")
    for title, peaks in peak_memory((5_000, 1), (20_000, 4), (20_000, 1)).items():
        print(f"| {title} | {peaks[0]} | {peaks[1]} | {peaks[2]} |")


def measure(works: dict[str, Callable[[], None]], *, rounds: int) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds of each work, medians of interleaved rounds."""
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(rounds):
        for name, work in works.items():
            wall, cpu = time.perf_counter(), _cpu()
            work()
            times[name].append((time.perf_counter() - wall, _cpu() - cpu))
    return {
        name: (statistics.median(w for w, _ in got), statistics.median(c for _, c in got))
        for name, got in times.items()
    }


if __name__ == "__main__":
    main()
