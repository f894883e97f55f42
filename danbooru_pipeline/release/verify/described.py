"""Verification of what programs read: ``croissant.json``, ``datacite.json``, and the tables that the page reads.

Whoever loads a release by them believes their digests, rows and bytes, so these are those of the files; and who
registers it believes its version and numbers, so these are those of RELEASE.json.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import read_bytes, size_of
from danbooru_pipeline.progress import noun
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import announced_rows
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import BROWSE_RELEASE, CROISSANT, DATACITE

_LONGEST: Final = 16 * 2**20
_COUNT: Final = re.compile(r"[0-9]+(?:,[0-9]{3})*")


def check_descriptions(run: Verification) -> None:
    """Check these documents, where a release has them."""
    checks = ((CROISSANT, _wrong_in_croissant), (DATACITE, _wrong_in_datacite), (BROWSE_RELEASE, _wrong_for_the_page))
    for name, wrong in checks:
        if name in run.sums and run.is_readable(name):
            with run.reading(Kind.PAPER_DIFFERS, name):
                for said in wrong(run, parse(read_bytes(run.folder, name, limit=_LONGEST))):
                    run.add(Kind.PAPER_DIFFERS, name, said)


def _wrong_in_croissant(run: Verification, said: dict[str, Any]) -> Iterator[str]:
    if run.release is not None and said.get("name") != run.release.name:
        yield f"describes {said.get('name')!r}, and not {run.release.name}"
    for file in said["distribution"]:
        if "sha256" not in file:
            continue
        path = file["contentUrl"]
        if file["sha256"] != run.sums.get(path):
            yield f"the digest of {path} is not that of SHA256SUMS"
        elif run.has(path) and file.get("contentSize") != f"{size_of(run.folder, path)} B":
            yield f"the size of {path} is not {file.get('contentSize')}"


def _wrong_in_datacite(run: Verification, said: dict[str, Any]) -> Iterator[str]:
    release = run.release
    if release is None:
        return
    title = said["titles"][0]["title"].partition(":")[0]
    if title != f"Danbooru{release.year}":
        yield f"describes {title!r}, and not Danbooru{release.year}"
    if said["version"] != release.version:
        yield f"describes version {said['version']}, and not {release.version}"
    if said["publicationYear"] != release.created_at[:4]:
        yield f"was made in {release.created_at[:4]}, and not in {said['publicationYear']}"
    sizes = [
        f"{release.bytes.originals + release.bytes.px512} B",
        f"{release.counts.posts} {noun(release.counts.posts, 'post')}",
    ]
    if said["sizes"] != sizes:
        yield f"the sizes are {said['sizes']}, and should be {sizes}"
    numbers = _COUNT.findall(said["descriptions"][0]["description"])
    counts = {
        "posts": release.counts.posts,
        "originals": release.counts.originals,
        "512px images": release.counts.px512,
    }
    for what, count in counts.items():
        if f"{count:,}" not in numbers:
            yield f"the description does not say that there are {count:,} {what}"


def _wrong_for_the_page(run: Verification, said: dict[str, Any]) -> Iterator[str]:
    for name in ("name", "year", "version", "cutoff"):
        if run.release is not None and said.get(name) != getattr(run.release, name):
            yield f"{name} is {said.get(name)!r}, and should be {getattr(run.release, name)!r}"
    for table, files in said["tables"].items():
        for path, rows, size in files:
            if path not in run.sums:
                yield f"{path} of the table {table} is not listed in SHA256SUMS"
            elif run.is_readable(path) and (rows, size) != (announced_rows(run, path), size_of(run.folder, path)):
                yield f"{path} does not have {rows} rows and {size} bytes"
