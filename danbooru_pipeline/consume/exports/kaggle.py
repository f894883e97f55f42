"""A Kaggle dataset: a sample of the 512px images in zip files of 100 buckets each, a table, and its descriptor.

The sample has the posts whose ids hash lowest, so a larger sample contains a smaller one, and one year's resembles that
of the year before. The table has ids, numbers and tags, and no free text.
"""

import csv
import dataclasses
import zipfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from danbooru_pipeline.consume.exports.frame import LEFT_OUT, Form, Job
from danbooru_pipeline.consume.select import Chosen, Selection
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.release.release_json import Release

#: Images in a sample unless the caller says otherwise: as many as the first subset on Kaggle had.
IMAGES: Final = 300_000
BUCKETS_PER_ZIP: Final = 100
_COLUMNS = ("id", "file_name", "rating", "score", "width", "height", "tags")
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest in zip; a fixed one, so that the same images give the same file


def write(job: Job) -> None:
    """Write the folder that ``kaggle datasets create`` uploads."""
    with (job.target / "posts.csv").open("w", newline="", encoding="utf-8") as table, ExitStack() as zips:
        rows = csv.writer(table)
        rows.writerow(_COLUMNS)
        archives: dict[int, zipfile.ZipFile] = {}
        for post in job.posts():
            number = int(bucket_of(post.id)) // BUCKETS_PER_ZIP
            if number not in archives:
                path = job.target / f"512px-{number:02d}00-{number:02d}99.zip"
                archives[number] = zips.enter_context(zipfile.ZipFile(path, "w", zipfile.ZIP_STORED))
            _add(archives[number], job.release, post)
            rows.writerow(_row(post))
    held = [path.name for path in sorted(job.target.iterdir()) if path.name.endswith((".csv", ".zip"))]
    descriptor = _descriptor(job.about, job.written, [name for name in held if name != LEFT_OUT])
    (job.target / "dataset-metadata.json").write_bytes(msgspec.json.format(msgspec.json.encode(descriptor)) + b"\n")


def _wanted(selection: Selection, _options: object, about: Release) -> Selection:
    return dataclasses.replace(
        selection,
        tree="512px",
        ratings=selection.ratings or tuple(about.sfw_ratings),
        sample=IMAGES if selection.sample is None else selection.sample,
    )


def _add(archive: zipfile.ZipFile, release: Path, post: Chosen) -> None:
    info = zipfile.ZipInfo(post.path, _TIME)
    info.external_attr = 0o644 << 16
    archive.writestr(info, (release / post.path).read_bytes())


def _row(post: Chosen) -> tuple[object, ...]:
    return (post.id, post.path, post.rating, post.score, post.width, post.height, post.tag_string)


def _descriptor(release: Release, images: int, files: list[str]) -> dict[str, object]:
    """A Frictionless data package, of which Kaggle reads a subset."""
    kinds = {"id": "integer", "score": "integer", "width": "integer", "height": "integer"}
    fields = [{"name": name, "type": kinds.get(name, "string")} for name in _COLUMNS]
    return {
        "name": f"{release.name}-512px-sfw",
        "title": f"Danbooru{release.year}: {images:,} SFW images of 512px",
        "id": f"OWNER/{release.name}-512px-sfw",
        "subtitle": "A sample of a large tagged illustration dataset",
        "description": (
            f"{images:,} images of {release.name} {release.version} with their tags, chosen by a hash of their id from "
            f"the ratings {', '.join(release.sfw_ratings)}. Works belong to their artists."
        ),
        "licenses": [{"name": "other"}],
        "keywords": ["art", "image classification", "multilabel classification"],
        "resources": [
            {"name": name.lower().removesuffix(".csv").removesuffix(".zip"), "path": name}
            | ({"schema": {"fields": fields}, "format": "csv"} if name.endswith(".csv") else {"format": "zip"})
            for name in files
        ],
    }


FORM = Form(write=write, select=_wanted)
