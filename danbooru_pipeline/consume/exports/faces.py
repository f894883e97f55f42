"""What a detector of the user's finds in the chosen images, faces say: boxes as Parquet, and crops if they are wanted.

``boxes.parquet`` has a row per box, ``pictures.parquet`` one per image that was looked at, those without any box too.
Until both are written at the end, each image is a line of a working file, so a killed export goes on after its last
line if the model is still the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.consume.exports.frame import LEFT_OUT, Form, Job
from danbooru_pipeline.consume.exports.image_folder import METADATA, resume_rows, write_row
from danbooru_pipeline.consume.exports.in_workers import resume_left_out, run_in_workers, why_unprocessed
from danbooru_pipeline.consume.select import Chosen, Selection
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.images.boxes import Box
from danbooru_pipeline.images.detect import Detector, DetectorSettings
from danbooru_pipeline.images.detect_job import CropSettings, DetectJob, DetectResult, run_detect_job
from danbooru_pipeline.io.atomic import remove_part
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.release.release_json import Release

BOXES, PICTURES, CROPS = "boxes.parquet", "pictures.parquet", "crops"
WORK: Final = ".found.jsonl"
#: Address space of a worker beside the model: onnxruntime reserves more than it uses.
_MEMORY_LIMIT: Final = 6 * 2**30
_ROWS: Final = 50_000

_SIZES: Final = [("image_width", pa.int32()), ("image_height", pa.int32())]
_PICTURE_SCHEMA: Final = pa.schema([("id", pa.int64()), ("path", pa.string()), *_SIZES, ("boxes", pa.int32())])
_BOX_SCHEMA: Final = pa.schema(
    [
        *[("id", pa.int64()), ("path", pa.string()), *_SIZES, ("box", pa.int32())],
        *[(name, pa.float32()) for name in ("left", "top", "width", "height", "score")],
        *[("class_id", pa.int32()), ("class_name", pa.string()), ("crop", pa.string())],
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `faces`.

    Attributes:
        crops: whether ``crops/ID_NUMBER.jpg`` are written.
        scale: their width and height as multiples of those of the box.
        crop_size: their longer side is shrunk to this; 0 keeps it.
        workers: processes that look; 0 for one a processor.
    """

    detector: DetectorSettings = field(default_factory=DetectorSettings)
    crops: bool = False
    scale: float = 1.5
    crop_size: int = 512
    workers: int = 0

    def __post_init__(self) -> None:
        if not 0.1 <= self.scale <= 100:
            raise SettingsError(f"--scale {self.scale} makes no crop; give 0.1 to 100, 1 being the box itself")
        if self.crop_size < 0 or self.workers < 0:
            raise SettingsError("--crop-size and --workers cannot be negative; give 0 or more")


def _select(selection: Selection, options: Options, _about: Release) -> Selection:
    Detector(options.detector)  # what is wrong with it is told before anything is written
    return selection


def write(job: Job) -> None:
    """Look at every image, after those that a killed export has; then write the tables."""
    options: Options = job.options
    work = job.target / WORK
    done = _resume(job, work)
    if options.crops:
        (job.target / CROPS).mkdir(exist_ok=True)
    with work.open("ab", buffering=0) as lines:
        for post, result in _looked_at(job, done):
            reason = why_unprocessed(result)
            if isinstance(result, DetectResult) and reason is None and result.left_out is None:
                lines.write(msgspec.json.encode(_line(post, result)) + b"\n")
                job.count(post.size)
            else:
                found = result.left_out if isinstance(result, DetectResult) else None
                job.leave_out(post.id, reason or found or Reason.WORKER_CRASHED.value)
    _write_tables(job, work)
    work.unlink()


def _looked_at(job: Job, done: int) -> Iterator[Any]:
    options: Options = job.options
    model = options.detector.model
    crop = CropSettings(scale=options.scale, size=options.crop_size)

    def make(post: Chosen) -> DetectJob:
        target = str(job.target / CROPS / f"{post.id}_").replace("{", "{{").replace("}", "}}")
        source = job.release / post.path
        # As a 512px image it gets the reason of one when it kills its worker.
        more = {"px512": job.target / CROPS, "crops": f"{target}{{}}.jpg" if options.crops else None}
        return DetectJob(source=source, detector=options.detector, crop=crop, **more)  # type: ignore[arg-type]

    limit = _MEMORY_LIMIT + 4 * (0 if model is None else model.stat().st_size)
    return run_in_workers(job, make, run=run_detect_job, workers=options.workers, done=done, memory_limit_bytes=limit)


def _line(post: Chosen, result: DetectResult) -> dict[str, Any]:
    boxes = [{each.name: getattr(box, each.name) for each in fields(Box)} for box in result.boxes]
    size = {"image_width": result.width, "image_height": result.height}
    return {"id": post.id, "path": post.path, **size, "boxes": boxes}


def _resume(job: Job, work: Path) -> int:
    """Count what a killed export has already, if the model was this one. Returns the highest id that it came to."""
    head = msgspec.json.encode({"model": digest_of(job.options.detector.model)}) + b"\n"
    lines = resume_rows(work)
    if next(lines, None) != head:
        for each in (work, job.target / LEFT_OUT, job.target / CROPS):
            remove_part(each)
        work.write_bytes(head)
        return 0
    last = 0
    for line in lines:
        last = max(last, msgspec.json.decode(line)["id"])
        job.count(0)
    return max(last, resume_left_out(job))


def digest_of(model: Path) -> str:
    """SHA-256 of a model; caches of models are full of links."""
    return sha256_of(model.resolve())


def _write_tables(job: Job, work: Path) -> None:
    options: Options = job.options
    model = options.detector.model
    remove_part(job.target / CROPS / METADATA)
    with work.open("rb") as lines:
        digest = msgspec.json.decode(next(lines))["model"]
        about = {
            "model": Path(str(model)).name,
            "model_sha256": digest,
            "release": f"{job.about.name} {job.about.version}",
        }
        pictures, boxes = (schema.with_metadata(about) for schema in (_PICTURE_SCHEMA, _BOX_SCHEMA))
        with (
            pq.ParquetWriter(job.target / PICTURES, pictures, compression="zstd") as picture_file,
            pq.ParquetWriter(job.target / BOXES, boxes, compression="zstd") as box_file,
        ):
            while batch := [msgspec.json.decode(line) for line in islice(lines, _ROWS)]:
                counted = [row | {"boxes": len(row["boxes"])} for row in batch]
                picture_file.write_table(pa.Table.from_pylist(counted, pictures))
                found = list(chain.from_iterable(_box_rows(row, crops=options.crops) for row in batch))
                box_file.write_table(pa.Table.from_pylist(found, boxes))
                if options.crops:
                    _write_metadata(job.target / CROPS / METADATA, found)
    job.notes.append(f"Detector: {about['model']}, SHA-256 `{digest}`; coordinates are pixels of the upright picture.")


def _box_rows(row: dict[str, Any], *, crops: bool) -> Iterator[dict[str, Any]]:
    shared = {name: row[name] for name in ("id", "path", "image_width", "image_height")}
    for number, box in enumerate(row["boxes"]):
        crop = f"{CROPS}/{row['id']}_{number}.jpg" if crops else None
        yield {**shared, **box, "box": number, "crop": crop}


def _write_metadata(path: Path, found: list[dict[str, Any]]) -> None:
    """Make the crops an ImageFolder."""
    with path.open("ab") as rows:
        for box in found:
            name = box["crop"].partition("/")[2]
            write_row(rows, name, box["class_name"] or "", id=box["id"], score=box["score"])


FORM = Form(write=write, options=Options, resumes=True, select=_select, size=lambda posts, *_: 200 * posts)
