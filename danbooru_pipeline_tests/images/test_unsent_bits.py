"""A progressive JPEG of which the last bits or frequencies were never sent is whole, and looks as its maker meant."""

import io
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danbooru_pipeline.images import ImageJob, ImageResult, Kept, inspect_image, run_image_job
from danbooru_pipeline.images.jpeg import segments_of
from danbooru_pipeline.images.jpeg_decode import JpegFault, decode_jpeg
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline_tests.support.cases import drawing

pytestmark = pytest.mark.needs("cjpeg")

SCRIPTS = {
    "lowest bits of all": "0,1,2: 0 0 0 1; 0: 1 63 0 1; 1: 1 63 0 1; 2: 1 63 0 1;",
    "lowest bits after a refinement": "0,1,2: 0 0 0 1; 0: 1 63 0 2; 0: 1 63 2 1; 1: 1 63 0 1; 2: 1 63 0 1;",
    "lowest bits of the mean": "0,1,2: 0 0 0 3; 0,1,2: 0 0 3 2; 0: 1 63 0 0; 1: 1 63 0 0; 2: 1 63 0 0;",
    "high frequencies": "0,1,2: 0 0 0 0; 0: 1 20 0 0; 1: 1 5 0 0; 2: 1 5 0 0;",
    "frequencies of a component": "0: 0 0 0 0; 1: 0 0 0 0; 2: 0 0 0 0; 0: 1 63 0 0;",
    "all but the mean": "0,1,2: 0 0 0 0;",
}


def scanned(script: str, tmp_path: Path, *options: str) -> bytes:
    """A JPEG of `drawing` whose scans are these."""
    (tmp_path / "script").write_text(script)
    buffer = io.BytesIO()
    Image.fromarray(drawing()).save(buffer, "PPM")
    command = ["cjpeg", "-quality", "92", *options, "-scans", str(tmp_path / "script")]
    return subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True).stdout


def done(data: bytes, tmp_path: Path) -> ImageResult:
    """What the pipeline makes of it."""
    source = tmp_path / "1.jpg"
    source.write_bytes(data)
    return run_image_job(ImageJob(source=source, original=source, px512=tmp_path / "1.512.jpg"))


@pytest.mark.parametrize("options", [(), ("-restart", "2"), ("-sample", "2x2,1x1,1x2"), ("-sample", "1x4,1x1,1x1")])
@pytest.mark.parametrize("name", SCRIPTS)
def test_what_was_never_sent_is_not_missed(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """It has no flag, decodes as in other programs at any scale, and is shown; optimised, it looks the same."""
    data = scanned(SCRIPTS[name], tmp_path, *options)
    meant = np.asarray(Image.open(io.BytesIO(data)))
    pixels = decode_jpeg(data)
    assert not isinstance(pixels, JpegFault)
    assert np.array_equal(pixels, meant)
    assert not isinstance(decode_jpeg(data, scale=4), JpegFault)
    result = done(data, tmp_path)
    assert result.facts is not None
    assert (result.facts.flags, result.px512_reason) == ((), None)
    assert result.kept in {None, Kept.LARGER, Kept.NOT_IDENTICAL}
    assert np.array_equal(np.asarray(Image.open(tmp_path / "1.jpg")), meant)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_scan_that_was_begun_is_missed(name: str, tmp_path: Path) -> None:
    """Of a scan that is there, no bytes may be missing, nor may those of an earlier one."""
    data = scanned(SCRIPTS[name], tmp_path)
    starts = [segment.end for segment in segments_of(data) if segment.marker == 0xDA]
    for start in (starts[0], starts[-1]):
        end = data.index(b"\xff", start + 40)
        cut = data[: start + 20] + (b"\xff\xd9" if start == starts[-1] else data[end:])
        assert decode_jpeg(cut) is JpegFault.DAMAGED
        assert done(cut, tmp_path).px512_reason is Reason.DAMAGED


def test_an_earlier_bit_is_missed(tmp_path: Path) -> None:
    """A refinement of bits that were not sent is rot."""
    data = scanned(SCRIPTS["lowest bits after a refinement"], tmp_path)
    scans = [segment for segment in segments_of(data) if segment.marker == 0xDA]
    without_first = data[: scans[1].start - 4] + data[scans[2].start - 4 :]
    assert inspect_image(without_first).flags == ()
    assert done(without_first, tmp_path).px512_reason is Reason.DAMAGED
