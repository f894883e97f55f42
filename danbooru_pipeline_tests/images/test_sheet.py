"""A contact sheet shows some images and stays small."""

from pathlib import Path

import numpy as np
import pyvips

from danbooru_pipeline.images import make_contact_sheet
from danbooru_pipeline.images.sheet import MAX_BYTES
from danbooru_pipeline_tests.support.pictures import RED, illustration, jpeg, pixels_of, solid


def test_sheet_is_small_and_shows_them(tmp_path: Path) -> None:
    """A sheet shows at most eight images in two rows, in 6 KB at most even of noise, and skips unreadable ones."""
    paths = [tmp_path / f"{n}.jpg" for n in range(25)]
    for n, path in enumerate(paths):
        path.write_bytes(jpeg(solid(RED, 512, 512) if n == 0 else illustration(512, 512)))
    sheet = make_contact_sheet(paths)
    assert sheet is not None
    assert len(sheet) <= MAX_BYTES
    pixels = pixels_of(sheet)
    assert pixels.shape[1] == 4 * 72 + 3 * 2
    assert np.abs(pixels[30, 30].astype(int) - RED).max() < 12
    noise = tmp_path / "noise.jpg"
    pyvips.Image.gaussnoise(512, 512, sigma=80, mean=128).cast("uchar").jpegsave(str(noise), Q=92)
    assert len(make_contact_sheet([noise] * 8) or b"x" * 10_000) <= MAX_BYTES
    assert make_contact_sheet([]) is None
    assert make_contact_sheet([tmp_path / "none.jpg"]) is None
