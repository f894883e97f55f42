"""The demo site's folder of files: creates what a year needs, once, and knows each file's facts. No HTTP.

A restart finds the files through an index that is written after them; without the index they are created again.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import msgspec

from danbooru_pipeline.demo.art.encoders import make_file
from danbooru_pipeline.demo.art.scenes import choose_scene
from danbooru_pipeline.demo.site.world import Post
from danbooru_pipeline.images.pixel_hash import pixel_hash_of
from danbooru_pipeline.io.atomic import write_atomic

#: Increase it when the same post would get other bytes, so that an old folder is not reused.
FILES_VERSION = 2
_WORKERS = 2


class FileFacts(msgspec.Struct, frozen=True):
    """Facts of one file in the folder, from its actual bytes."""

    name: str
    md5: str
    pixel_hash: str
    size: int
    width: int
    height: int
    duration: float | None = None


class FileStore:
    """The posts' files, in one folder.

    Threads create them: nearly all of the time is spent in libvips, which releases the GIL.
    """

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        self._folder = folder / f"seed{seed}-v{FILES_VERSION}"
        self._index = self._folder / "index.json"
        self._seed = seed
        self._facts: dict[str, FileFacts] = {}
        if self._index.is_file():
            self._facts = msgspec.json.decode(self._index.read_bytes(), type=dict[str, FileFacts])

    def facts(self, post: Post) -> FileFacts:
        """Facts of a post's file, which `make` has created before."""
        return self._facts[_file_name(post)]

    def read(self, facts: FileFacts) -> bytes:
        """All bytes of a file."""
        return (self._folder / facts.name).read_bytes()

    def make(self, posts: Iterable[Post]) -> int:
        """Create the missing files. Returns how many were missing."""
        missing = [post for post in posts if _file_name(post) not in self._facts]
        if not missing:
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_WORKERS) as pool:
            self._facts |= {facts.name: facts for facts in pool.map(self._make_one, missing)}
        write_atomic(self._index, msgspec.json.encode(self._facts))
        return len(missing)

    def _make_one(self, post: Post) -> FileFacts:
        scene = choose_scene(self._seed, post.id, with_figure=post.kind.needs_figure)
        made = make_file(post.kind, scene, Random(f"file:{self._seed}:{post.id}:{post.revision}"))
        name = _file_name(post)
        (self._folder / name).write_bytes(made.data)
        md5 = hashlib.md5(made.data, usedforsecurity=False).hexdigest()
        pixels = pixel_hash_of(self._folder / name)
        return FileFacts(name, md5, pixels, len(made.data), made.width, made.height, made.duration)


def _file_name(post: Post) -> str:
    return f"{post.id}-{post.revision}-{post.kind.value}.{post.kind.ext}"
