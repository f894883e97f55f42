"""Exports: memory and time of each form at two sizes, and `images` beside img2dataset on local files.

::

    python -m benchmarks.export memory [--sizes 300000,1000000] [--forms sqlite,captions,...] [--root FOLDER]
    python -m benchmarks.export images FOLDER_OF_PICTURES [--img2dataset PYTHON] [--size 512] [--root FOLDER]

``memory`` makes a release of synthetic posts with 33 tags each from 100,000 names; its images are links to a few small
files, so files cost little and memory is what is seen. Each export is a process of its own; the second number is what
its workers have together.
``images`` runs both on the same pictures in turn, three times, and prints the medians; img2dataset needs an environment
of its own (pip install img2dataset), whose Python is given.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.memory import peak_mib, watching_children
from danbooru_pipeline.consume import Selection, apply_export, plan_export
from danbooru_pipeline.consume.exports import EXPORTS, classification, faces, images
from danbooru_pipeline.images.detect import DetectorSettings
from danbooru_pipeline.images.render import RenderSettings
from danbooru_pipeline.layout import bucket_of, px512_path
from danbooru_pipeline.posts.schema import POST_SCHEMA
from danbooru_pipeline.release.manifest.row import MANIFEST_SCHEMA
from danbooru_pipeline.release_paths import RELEASE_JSON, manifest_path, parquet_path

VOCABULARY, TAGS = 100_000, 33
CHUNK = 20_000
#: Links that a file may have on usual file systems.
MOST_LINKS = 30_000


def synthetic_release(folder: Path, posts: int, *, template: Path) -> None:
    """Make a release of synthetic posts; `template` is a RELEASE.json."""
    for name in ("parquet", "manifest"):
        (folder / name).mkdir(parents=True)
    shutil.copy(template, folder / RELEASE_JSON)
    rng = np.random.default_rng(0)
    names = np.array([f"tag_number_{number}_name" for number in range(VOCABULARY)])
    table = {"id": range(1, VOCABULARY + 1), "name": names.tolist(), "category": [0] * VOCABULARY}
    pq.write_table(pa.table(table), folder / parquet_path("tags", 0, of=1))
    with (
        pq.ParquetWriter(folder / parquet_path("posts", 0, of=1), POST_SCHEMA, compression="zstd") as post_file,
        pq.ParquetWriter(folder / manifest_path(0, of=1), MANIFEST_SCHEMA, compression="zstd") as manifest,
    ):
        held: list[tuple[pa.Table, pa.Table]] = []
        for first in range(1, posts + 1, CHUNK):
            ids = range(first, min(first + CHUNK, posts + 1))
            held.append(rows(ids, rng, names))
            if len(held) == 5 or ids[-1] == posts:
                post_file.write_table(pa.concat_tables([left for left, _ in held]))
                manifest.write_table(pa.concat_tables([right for _, right in held]))
                held = []
    link_images(folder, posts)


def rows(ids: range, rng: np.random.Generator, names: np.ndarray) -> tuple[pa.Table, pa.Table]:
    """Posts and their rows of the manifest."""
    drawn = np.minimum(rng.zipf(1.3, (len(ids), TAGS)) - 1, VOCABULARY - 1)
    general = [" ".join(sorted(set(names[row[:28]]))) for row in drawn]
    character = [" ".join(sorted(set(names[row[28:]]) - set(names[row[:28]]))) for row in drawn]
    values: dict[str, list[Any]] = {
        "id": list(ids),
        "created_at": [datetime(2020, 1, 1, tzinfo=UTC)] * len(ids),
        "rating": ["s"] * len(ids),
        "score": rng.integers(0, 100, len(ids)).tolist(),
        "file_ext": ["jpg"] * len(ids),
        "md5": [f"{id_:032x}" for id_ in ids],
        "source": [f"https://example.org/artworks/{id_}" for id_ in ids],
        "is_deleted": [False] * len(ids),
        "tag_string": [f"{left} {right}".strip() for left, right in zip(general, character, strict=True)],
        "tag_string_general": general,
        "tag_string_character": character,
    }
    files = {
        "id": list(ids),
        "bucket": [bucket_of(id_) for id_ in ids],
        "status": ["ok"] * len(ids),
        "px512_status": ["ok"] * len(ids),
        "px512_path": [px512_path(id_) for id_ in ids],
        "px512_size": [700] * len(ids),
        "px512_sha256": [f"{id_:064x}" for id_ in ids],
        "path": [px512_path(id_).replace("512px", "original") for id_ in ids],
        "width": [800] * len(ids),
        "height": [600] * len(ids),
        "first_release": [2021] * len(ids),
    }
    return of_schema(values, POST_SCHEMA), of_schema(files, MANIFEST_SCHEMA)


def of_schema(values: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    """Columns as a table of a schema; what is not given is null, or empty where nothing may be null."""
    count = len(values["id"])
    columns = []
    for each in schema:
        blank = None if each.nullable else {"bool": False, "string": ""}.get(str(each.type), 0)
        columns.append(pa.array(values.get(each.name, [blank] * count), each.type))
    return pa.Table.from_arrays(columns, schema=schema)


def link_images(folder: Path, posts: int) -> None:
    """Give every post a small file."""
    import io  # noqa: PLC0415

    from PIL import Image  # noqa: PLC0415

    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "JPEG")
    seeds = folder / "seeds"
    seeds.mkdir()
    for number in range(1000):
        (folder / f"512px/{number:04d}").mkdir(parents=True)
    for id_ in range(1, posts + 1):
        seed = seeds / f"{id_ // MOST_LINKS}"
        if id_ % MOST_LINKS == 0 or id_ == 1:
            seed.write_bytes(buffer.getvalue())
        os.link(seed, folder / px512_path(id_))


OPTIONS: dict[str, Any] = {
    "images": images.Options(render=RenderSettings(size=32)),
    "classification": classification.Options(category="general", min_posts=100),
}


def faces_options(folder: Path) -> faces.Options:
    """Options with a detector that costs next to nothing, made here."""
    from danbooru_pipeline_tests.support.tiny_detector import tiny_detector  # noqa: PLC0415 - onnx is for tests alone

    return faces.Options(detector=DetectorSettings(model=tiny_detector(folder / "tiny.onnx")))


def run_one(form: str, release: Path, target: Path) -> None:
    """Write an export in this process, and print its time and the peak of its memory."""
    began, cpu = time.monotonic(), time.process_time()
    before = peak_mib()
    options = faces_options(release) if form == "faces" else OPTIONS.get(form)
    plan = plan_export(form, release, target, selection=Selection(tree="512px"), options=options)
    with watching_children() as children:
        report = apply_export(plan, report=lambda line: print(line, file=sys.stderr))
    seconds = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu}
    print(json.dumps({"posts": report.posts, "peak": peak_mib(), "workers": children[0], "before": before, **seconds}))


def memory(root: Path, sizes: list[int], forms: list[str], template: Path) -> None:
    """Print the memory of each form at each size."""
    releases = {}
    for posts in sizes:
        releases[posts] = root / f"release-{posts}"
        if not (releases[posts] / RELEASE_JSON).exists():
            shutil.rmtree(releases[posts], ignore_errors=True)
            synthetic_release(releases[posts], posts, template=template)
    print(
        "| form | " + " | ".join(f"{posts:,} posts: MB, CPU s" for posts in sizes) + " | larger |\n|---|" + "---|" * 3
    )
    for form in forms:
        peaks, cells = [], []
        for posts in sizes:
            target = root / f"{form}-{posts}"
            command = [sys.executable, "-m", "benchmarks.export", "one", form, str(releases[posts]), str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            shutil.rmtree(target, ignore_errors=True)
            for path in root.glob(f"{form}-{posts}*"):
                path.unlink()
            if done.returncode:
                cells.append(f"failed: {done.stderr[-300:]!r}")
                continue
            said = json.loads(done.stdout.splitlines()[-1])
            peaks.append(said["peak"])
            workers = f" + {said['workers']:.0f}" if said["workers"] else ""
            cells.append(f"{said['peak']:.0f}{workers}, {said['cpu']:.0f}")
        ratio = f"{peaks[-1] / peaks[0]:.2f} ×" if len(peaks) > 1 else ""
        print(f"| {form} | {' | '.join(cells)} | {ratio} |", flush=True)


def compare(pictures: Path, python: str | None, *, size: int, root: Path, template: Path) -> None:
    """Print images a second of `export images` and of img2dataset on the same local files."""
    paths = sorted(path for path in pictures.rglob("*") if path.suffix in {".jpg", ".png", ".webp"})
    release = root / "pictures"
    if not (release / RELEASE_JSON).exists():
        release_of(release, paths, template=template)
    speeds: dict[str, list[float]] = {"export images": [], "img2dataset": []}
    for turn in range(3):
        plan = plan_export(
            "images",
            release,
            root / f"out-{turn}",
            selection=Selection(tree="original"),
            options=images.Options(render=RenderSettings(size=size, fit="pad", quality=95)),
        )
        began = time.monotonic()
        report = apply_export(plan)
        speeds["export images"].append(report.posts / (time.monotonic() - began))
        shutil.rmtree(root / f"out-{turn}")
        if python is not None:
            speeds["img2dataset"].append(img2dataset(python, paths, root, size=size))
    print("| what | images/s, median of 3 |\n|---|---|")
    for name, found in speeds.items():
        if found:
            print(f"| {name} | {statistics.median(found):.1f} |")


def release_of(release: Path, paths: list[Path], *, template: Path) -> None:
    """Make a release of some pictures as originals."""
    for name in ("parquet", "manifest"):
        (release / name).mkdir(parents=True)
    names = {}
    for id_, path in enumerate(paths, start=1):
        names[id_] = f"original/{bucket_of(id_)}/{id_}{path.suffix}"
        (release / names[id_]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, release / names[id_])
    posts, files = rows(range(1, len(paths) + 1), np.random.default_rng(0), np.array(["tag"] * VOCABULARY))
    index = files.schema.get_field_index("path")
    files = files.set_column(index, files.schema.field("path"), pa.array(list(names.values())))
    size = pa.array([path.stat().st_size for path in paths], pa.int64())
    files = files.set_column(files.schema.get_field_index("size"), files.schema.field("size"), size)
    pq.write_table(posts, release / parquet_path("posts", 0, of=1))
    pq.write_table(files, release / manifest_path(0, of=1))
    shutil.copy(template, release / RELEASE_JSON)


def img2dataset(python: str, paths: list[Path], root: Path, *, size: int) -> float:
    """Images a second of img2dataset on the same files, as it reports them at its end, its start included."""
    listed, out = root / "list.txt", root / "i2d"
    listed.write_text("".join(f"file://{path}\n" for path in paths))
    shutil.rmtree(out, ignore_errors=True)
    program = """
import sys
from img2dataset import download
if __name__ == "__main__":
    download(url_list=sys.argv[1], output_folder=sys.argv[2], image_size=int(sys.argv[3]), resize_mode="border",
             resize_only_if_bigger=True, encode_quality=95, processes_count=2, thread_count=8, output_format="files",
             enable_wandb=False)
"""
    script = root / "i2d.py"
    script.write_text(program)
    began = time.monotonic()
    subprocess.run([python, str(script), str(listed), str(out), str(size)], check=True, capture_output=True)
    seconds = time.monotonic() - began
    made = sum(1 for _ in out.rglob("*.jpg"))
    shutil.rmtree(out)
    return made / seconds


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "images", "one"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--sizes", default="300000,1000000")
    parser.add_argument("--forms", default=",".join(EXPORTS))
    parser.add_argument("--root", type=Path, default=Path("/tmp/benchmark-export"))  # noqa: S108 - the caller's choice
    parser.add_argument("--release-json", type=Path, help="RELEASE.json of any release")
    parser.add_argument("--img2dataset", help="Python of an environment that has it")
    parser.add_argument("--size", type=int, default=512)
    given = parser.parse_args()
    if given.what == "one":
        run_one(given.rest[0], Path(given.rest[1]), Path(given.rest[2]))
        return
    given.root.mkdir(parents=True, exist_ok=True)
    template = given.release_json or example_release_json(given.root)
    if given.what == "memory":
        memory(given.root, [int(size) for size in given.sizes.split(",")], given.forms.split(","), template)
    else:
        compare(Path(given.rest[0]), given.img2dataset, size=given.size, root=given.root, template=template)


def example_release_json(root: Path) -> Path:
    """A RELEASE.json, made with a release of nothing much."""
    from danbooru_pipeline_tests.support.yard import small_yard  # noqa: PLC0415 - only without --release-json

    folder = root / "example"
    if not folder.exists():
        small_yard(folder).release()
    return next(folder.glob("releases/danbooru*/RELEASE.json"))


if __name__ == "__main__":
    main()
