"""Verification of the documents that programs read: ``croissant.json``, and the list of tables that the page reads.

Whoever loads a release by them believes their digests, rows and bytes, so these are those of the files.
"""

from collections.abc import Iterator
from typing import Any, Final

from danbooru_pipeline.io.typed_json import parse
from danbooru_pipeline.io.untrusted import read_bytes, size_of
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import announced_rows
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import BROWSE_RELEASE, CROISSANT

_LONGEST: Final = 16 * 2**20


def check_descriptions(run: Verification) -> None:
    """Check both documents, where a release has them."""
    for name, wrong in ((CROISSANT, _wrong_in_croissant), (BROWSE_RELEASE, _wrong_for_the_page)):
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
