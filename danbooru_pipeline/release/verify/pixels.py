"""Verification of pixel hashes: decodes originals of a release and compares them with the manifest.

What SHA-256 cannot say of an optimised file, this says: the picture is the one that the site's row is about. Files are
decoded in worker processes with limits, since a release may hold anything.
"""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.images import ImageJob, ImagePool, ImageResult
from danbooru_pipeline.layout import original_path
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.manifest import manifest_batches
from danbooru_pipeline.release.verify.verification import Verification

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Jobs that wait for each worker, so that none is idle and few results are held.
_WAITING = 4
Row = tuple[int, str, str]


def check_pixels(run: Verification) -> int:
    """Decode the files whose manifest has a pixel hash, or a sample of them. Returns how many were decoded."""
    sample, rows = run.sample, (row for row in _rows(run) if run.has(row[1]))
    chosen: Iterable[Row] = rows if sample is None else sorted(heapq.nsmallest(sample, rows, key=_order))
    done = 0
    with ImagePool(run.threads) as pool:
        left = iter(chosen)
        waiting: list[tuple[Row, Future[ImageResult]]] = []
        while True:
            waiting += (
                (row, pool.submit(ImageJob(source=run.folder / row[1])))
                for row in islice(left, max(0, run.threads * _WAITING - len(waiting)))
            )
            if not waiting:
                return done
            row, future = waiting.pop(0)
            _compare(run, row, future)
            done += 1
            run.progress("pixel hashes", done, sample or done)


def _compare(run: Verification, row: Row, future: "Future[ImageResult]") -> None:
    try:
        found = future.result().pixel_hash
    except OSError as error:
        run.add(Kind.IMAGE_ALTERED, row[1], f"cannot be read: {error}")
        return
    if found is None:
        run.add(Kind.PIXELS_DIFFER, row[1], "cannot be decoded within the limits, but the manifest has its pixel hash")
    elif found != row[2]:
        run.add(Kind.PIXELS_DIFFER, row[1], f"its pixel hash is {found}, the manifest says {row[2]}")


def _rows(run: Verification) -> Iterator[Row]:
    """Id, path and pixel hash of the files that have one; paths of the wrong form are findings already."""
    for batch in manifest_batches(run):
        if batch is None:
            return
        wanted = run.bucket
        table = batch if wanted is None else batch.filter(pc.equal(batch["bucket"].cast(pa.string()), wanted))
        held = table.filter(pc.and_(pc.is_valid(table["path"]), pc.is_valid(table["pixel_hash"])))
        columns = [held[name].cast(kind).to_pylist() for name, kind in (
            ("id", pa.int64()), ("path", pa.string()), ("pixel_hash", pa.string())
        )]  # fmt: skip
        for id_, path, pixel_hash in zip(*columns, strict=True):
            if id_ > 0 and _is_path_of(id_, path):
                yield id_, path, pixel_hash


def _order(row: Row) -> bytes:
    """Makes the sample depend on the ids alone, so two people check the same files."""
    return hashlib.sha256(str(row[0]).encode()).digest()


def _is_path_of(post_id: int, path: str) -> bool:
    try:
        return path == original_path(post_id, path.rpartition(".")[2])
    except ValueError:
        return False
