"""Images of a release opened in Python: the path and pixels of each file, and the reason where there is none."""

import hashlib
import io
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from danbooru_pipeline import OpenedRelease, open_release
from danbooru_pipeline.consume import BadQuery, ImageKind, NoImage, ReleaseImage
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.images.archive import archive_jpeg
from danbooru_pipeline.layout import Layout


@pytest.fixture
def release(releases: Layout) -> OpenedRelease:
    """Danbooru2022 of the small world."""
    return open_release(releases.current)


@pytest.fixture
def crafted(releases: Layout, tmp_path: Path) -> OpenedRelease:
    """A release whose manifest gives paths outside of it for posts 1 and 2."""
    shutil.copytree(releases.current / "manifest", tmp_path / "r/manifest")
    shutil.copy(releases.current / "RELEASE.json", tmp_path / "r")
    path = tmp_path / "r/manifest/files-00000-of-00001.parquet"
    path.chmod(0o644)
    files = pq.ParquetFile(path).read()
    evil = {1: "/etc/passwd", 2: "original/0002/../../../2.png"}
    for name in ("path", "px512_path"):
        values = [evil.get(row["id"], row[name]) for row in files.select(["id", name]).to_pylist()]
        files = files.set_column(files.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(files, path)
    return open_release(tmp_path / "r")


def a_file(path: Path) -> ReleaseImage:
    """A file as an image of a release that was optimised or archived by other means."""
    size, sha256 = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    return ReleaseImage(id=1, kind="original", path=path, size=size, sha256=sha256, facts={})


def test_every_file_of_the_manifest_is_found(release: OpenedRelease) -> None:
    """For every post and kind there is the file with the manifest's size and SHA-256, or an error with the reason."""
    kinds: tuple[ImageKind, ...] = ("512px", "original")
    prefixes = dict(zip(kinds, ("px512_", ""), strict=True))
    for row in release.files(arrow=True).to_pylist():
        for kind in kinds:
            prefix = prefixes[kind]
            if row[f"{prefix}path"] is None:
                with pytest.raises(NoImage) as caught:
                    release.image(row["id"], kind)
                error = caught.value
                assert (error.post_id, error.kind) == (row["id"], kind)
                assert (error.status, error.reason) == (row[f"{prefix}status"], row[f"{prefix}reason"])
                assert f"{error.status}: {error.reason} (" in str(error)
                continue
            image = release.image(row["id"], kind)
            assert image.path == release.path / row[f"{prefix}path"]
            data = image.path.read_bytes()
            assert (image.size, image.sha256) == (len(data), hashlib.sha256(data).hexdigest())
            assert image.facts == row


def test_reason_leads_to_the_original(release: OpenedRelease) -> None:
    """A 512px image that is missing because its original is says why the original is; the error is a KeyError."""
    row = release.files(["id"], [("reason", "==", "banned")]).iloc[0]
    with pytest.raises(KeyError) as caught:
        release.image(row["id"])
    assert str(caught.value).startswith(f"danbooru2022 has no 512px image of post {row['id']}, skipped: no_original (")
    assert "; its original is withheld: banned (The post is banned upstream" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.post_id, again.reason) == (str(caught.value), row["id"], "no_original")


def test_posts_that_do_not_exist_have_no_image(release: OpenedRelease) -> None:
    """Ids below, above and far above those of the release are a NoImage, and a kind must exist."""
    for post_id in (0, -1, release.info.last_id + 1, 2**80):
        with pytest.raises(NoImage, match=f"has no post {post_id}; its last is {release.info.last_id}"):
            release.image(post_id)
    with pytest.raises(BadQuery, match="use '512px' or 'original'"):
        release.image(1, "large")  # type: ignore[arg-type]
    with pytest.raises(BadQuery, match="use '512px' or 'original'"):
        release.images(kind="large")  # type: ignore[arg-type]


def test_pixels_are_those_of_the_file(release: OpenedRelease) -> None:
    """`open` gives what Pillow gives, and `array` is height × width × channels."""
    image = release.image(np.int64(1))
    with Image.open(image.path) as expected:
        assert np.array_equal(np.array(image.open()), np.array(expected))
    assert image.array().shape == (512, 512, 3)
    assert image.array("L").shape == (512, 512)
    assert pickle.loads(pickle.dumps(image)).array().dtype == np.uint8
    original = release.image(1, "original")
    assert original.array().shape == (original.facts["height"], original.facts["width"], 3)


def test_images_are_all_files_in_order(release: OpenedRelease) -> None:
    """`images` gives the same as `image` for each post that has a file, sorted by id, and takes conditions."""
    kinds: tuple[tuple[ImageKind, int], ...] = (
        ("512px", release.info.counts.px512),
        ("original", release.info.counts.originals),
    )
    for kind, count in kinds:
        images = list(release.images(kind=kind))
        assert len(images) == count
        assert [image.id for image in images] == sorted(image.id for image in images)
        assert images[0] == release.image(images[0].id, kind)
    small = list(release.images([("rating", "==", "g"), ("width", "<", 200)]))
    assert small
    assert all(image.facts["rating"] == "g" and image.facts["width"] < 200 for image in small)
    assert [image.id for image in release.images(pc.field("rating") == "g")] == [
        image.id for image in release.images([("rating", "==", "g")])
    ]


def test_transparency_is_white_and_orientation_is_upright(tmp_path: Path) -> None:
    """Transparent pixels are white in RGB and stay transparent in RGBA; a turned photograph is turned back."""
    picture = Image.new("RGBA", (4, 2), (200, 0, 0, 0))
    picture.putpixel((0, 0), (0, 0, 250, 255))
    picture.save(tmp_path / "1.png")
    pixels = a_file(tmp_path / "1.png").array()
    assert pixels[0, 0].tolist() == [0, 0, 250]
    assert pixels[1, 3].tolist() == [255, 255, 255]
    assert a_file(tmp_path / "1.png").array("RGBA")[1, 3].tolist() == [200, 0, 0, 0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "2.jpg", exif=exif)
    assert a_file(tmp_path / "2.jpg").array().shape == (4, 2, 3)


def test_archived_jpg_opens_like_its_jpg(tmp_path: Path) -> None:
    """A JPG original that is kept as JPEG XL gives the pixels of the JPG."""
    data = io.BytesIO()
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(data, "JPEG", quality=95)
    archived = archive_jpeg(data.getvalue())
    assert archived
    (tmp_path / "1.jxl").write_bytes(archived)
    with Image.open(data) as expected:
        assert np.array_equal(a_file(tmp_path / "1.jxl").array(), np.array(expected))


def test_what_cannot_be_decoded_says_so(release: OpenedRelease, tmp_path: Path) -> None:
    """Videos, damaged files, files that this copy lacks, links and other formats under an image's name are errors."""
    video = next(image for image in release.images([("file_type", "==", "mp4")], kind="original"))
    with pytest.raises(ReleaseError, match=r"is not a picture; open `image.path` with a reader of \.mp4 files"):
        video.open()
    image = release.image(1, "original")
    for name, data in {
        "half.png": image.path.read_bytes()[:1000],
        "junk.jxl": b"junk",
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "empty.gif": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ReleaseError, match="cannot be decoded"):
            a_file(tmp_path / name).open()
    (tmp_path / "link.png").symlink_to(image.path)
    for name in ("gone.png", "link.png"):
        with pytest.raises(NoImage, match="this copy of the release lacks"):
            replace(image, path=tmp_path / name).open()


def test_paths_of_a_manifest_are_not_followed(crafted: OpenedRelease) -> None:
    """A manifest with paths outside the release leads to files inside it, or to an error."""
    assert crafted.image(1).path == crafted.path / "512px/0001/1.jpg"
    assert crafted.image(2, "original").path == crafted.path / "original/0002/2.png"
    with pytest.raises(ReleaseError, match=r"unknown extension '/etc/passwd'.*verify the release"):
        crafted.image(1, "original")
