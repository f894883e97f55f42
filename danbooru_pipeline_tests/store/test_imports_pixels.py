"""Import by pixel hash: only what a lossless optimiser made smaller is taken, and only if it shows what was hashed."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import pyvips

from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.layout import original_path
from danbooru_pipeline_tests.support.imported import NewStore
from danbooru_pipeline_tests.support.pictures import chunk, with_chunk

PAYLOAD = b"PAYLOAD-" * 2000
END = chunk(b"IEND", b"")
#: An EXIF block that says that the picture lies on its side.
TURN = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def smaller(data: bytes) -> bytes:
    """What an optimiser makes of a PNG."""
    made: bytes = pyvips.Image.new_from_buffer(data, "").pngsave_buffer(compression=9)
    assert len(made) + 100 < len(data)
    return made


def with_comment(data: bytes) -> bytes:
    """A JPEG with a comment."""
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(PAYLOAD) + 2) + PAYLOAD + data[2:]


def lone_frame(data: bytes) -> bytes:
    """An animation of one frame, which is not the default image: that one is what is hashed."""
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 10, 0, 0))
    animated = with_chunk(data, b"acTL", struct.pack(">II", 1, 0))
    return animated[:-12] + control + chunk(b"fdAT", struct.pack(">I", 1)) + animated[-12:]


def padded(data: bytes, size: int) -> bytes:
    """A PNG of this size, with a chunk that nobody knows."""
    made = with_chunk(data, b"prVt", bytes(size - len(data) - 12))
    assert len(made) == size
    return made


Change = Callable[[bytes], bytes]
REFUSED: dict[str, tuple[str, Change]] = {
    "jpg, data after its end": ("jpg", lambda data: data + PAYLOAD),
    "jpg, a comment": ("jpg", with_comment),
    "png, data after its end": ("png", lambda data: data + PAYLOAD),
    "png, a text": ("png", lambda data: with_chunk(data, b"tEXt", b"Comment\0" + PAYLOAD)),
    "png, an unknown chunk": ("png", lambda data: with_chunk(data, b"prVt", PAYLOAD)),
    "png, as large as the source": ("png", lambda data: padded(smaller(data), len(data))),
    "smaller png, data after its end": ("png", lambda data: smaller(data) + b"x"),
    "smaller png, data behind its pixels": ("png", lambda data: smaller(data)[:-12] + chunk(b"IDAT", b"x") + END),
    "smaller png, data in its end": ("png", lambda data: smaller(data)[:-12] + chunk(b"IEND", b"x")),
    "smaller png, no end": ("png", lambda data: smaller(data)[:-12]),
    "smaller png, turned": ("png", lambda data: with_chunk(smaller(data), b"eXIf", TURN)),
    "smaller png, other light": ("png", lambda data: with_chunk(smaller(data), b"gAMA", struct.pack(">I", 10_000))),
    "smaller png, other primaries": ("png", lambda data: with_chunk(smaller(data), b"cICP", bytes((9, 16, 0, 1)))),
    "smaller png, another frame": ("png", lambda data: lone_frame(smaller(data))),
}
TAKEN: dict[str, Change] = {
    "one byte smaller": lambda data: padded(smaller(data), len(data) - 1),
    "light of sRGB": lambda data: with_chunk(smaller(data), b"gAMA", struct.pack(">I", 45_455)),
    "not turned": lambda data: with_chunk(smaller(data), b"eXIf", TURN.replace(b"\0\x06", b"\0\x01")),
}


def change_one(store: NewStore, folder: Path, ext: str, change: Change) -> tuple[int, Path]:
    """A tree of the site's files in which one is changed, and still has the pixel hash of its post."""
    id_ = store.of(ext, 1)  # the first PNG has 16 bits, which no pixel hash proves
    path = store.tree(folder) / original_path(id_, ext)
    said = {post["id"]: post["media_asset"]["pixel_hash"] for post in store.booru.truth(2021) if post["id"] == id_}
    path.write_bytes(change(path.read_bytes()))
    assert pixel_hash_of(path) == said[id_]
    return id_, path


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_optimiser_made_smaller_is_fetched(store: NewStore, tmp_path: Path, name: str) -> None:
    """A file with the post's pixels that carries more, or is shown otherwise, is unproven, and a build asks for it."""
    id_, _ = change_one(store, tmp_path / "tree", *REFUSED[name])
    report = store.take(tmp_path / "tree")
    assert report.outcomes == {"md5": len(store.files) - 1, "unproven": 1}
    assert report.left == report.wanted - report.taken
    assert id_ not in store.ledger()
    assert not list(store.context.layout.store.rglob(f"{id_}.*"))


@pytest.mark.parametrize("name", TAKEN)
def test_what_an_optimiser_made_smaller_is_taken(store: NewStore, tmp_path: Path, name: str) -> None:
    """A file that is smaller than its post's, and states no other look than that of its pixels, is proven by them."""
    id_, path = change_one(store, tmp_path / "tree", "png", TAKEN[name])
    assert store.take(tmp_path / "tree").outcomes == {"md5": len(store.files) - 1, "pixel_hash": 1}
    row = store.ledger()[id_]
    assert (row.size, row.optimized, row.flags) == (path.stat().st_size, True, ())
