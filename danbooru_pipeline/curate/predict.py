"""Predictions of a tagger about the 512px images of a release, as the Parquet file that `predictions` reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from danbooru_pipeline.consume.opened_release import OpenedRelease
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.tagger import Tagger
from danbooru_pipeline.io.parquet import rechunk, write_parquet
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.outside import require_outside

SCHEMA: Final = pa.schema([("id", pa.int64()), ("tag", pa.string()), ("p", pa.float32())])
#: Lower probabilities are left out.
LEAST: Final = 0.05


def write_predictions(
    release: OpenedRelease, tagger: Tagger, target: Path, *, progress: Progress = silent
) -> tuple[int, int]:
    """Look at every 512px image. Returns how many were looked at, and how many could not be read.

    Raises:
        SettingsError: the target lies in a release.
    """
    require_outside(target)
    looked = unread = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal looked, unread
        for image in release.images():
            try:
                picture = image.open().convert("RGB")
            except ReleaseError:
                unread += 1
                continue
            p = tagger.probabilities(picture)
            kept = np.flatnonzero(p >= LEAST)
            looked += 1
            progress("pictures", looked, release.info.counts.px512)
            names = [tagger.names[number] for number in kept]
            ids = pa.array(np.full(len(kept), image.id, np.int64))
            yield pa.table([ids, pa.array(names, pa.string()), pa.array(p[kept])], schema=SCHEMA)

    write_parquet(target, rechunk(tables(), 100_000), schema=SCHEMA, dictionary=("tag",))
    return looked, unread
