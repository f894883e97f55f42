"""Folders of originals: trees by id, as Danbooru2017 to 2021 have them, and files named by their MD5."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from danbooru_pipeline.layout import BUCKETS
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Skipped
from danbooru_pipeline.store.imports.spelled import Extensions, Md5Names


@dataclass(frozen=True, slots=True)
class TreeHolding:
    """``BUCKET/ID.EXT``, as Danbooru2017 to 2021 have it below ``original``."""

    place: Path
    can_move: bool = field(default=True, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"tree {self.place}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """Every bucket that has a folder, here or on another disk.

        Raises:
            StoreError: some of it could not be read. The rest was given.
        """
        skipped = Skipped()
        for bucket in BUCKETS:
            if skipped.is_folder(self.place / bucket):
                yield bucket, partial(self._find, skipped, self.place / bucket)
        skipped.check(self.title)

    def _find(self, skipped: Skipped, folder: Path, wanted: Iterable[Fetch], _scratch: Path, /) -> Iterator[Candidate]:
        extensions: Extensions | None = None
        for fetch in wanted:
            extensions = extensions or Extensions.of_folder(folder)
            for ext in extensions.ways_of(fetch.ext):
                path = folder / f"{fetch.id}.{ext}"
                if skipped.is_plain_file(path):
                    yield Candidate(fetch, path, fetch.ext)


@dataclass(frozen=True, slots=True)
class Md5Holding:
    """``MD5.EXT`` or ``ab/cd/MD5.EXT``, as downloaders leave them. Looked up by name, so its size costs no memory."""

    place: Path
    can_move: bool = field(default=True, init=False)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"files by MD5 in {self.place}"

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """All of them: the name does not tell.

        Raises:
            StoreError: some of it could not be read. The rest was given.
        """
        skipped = Skipped()
        names = Md5Names.of_folder(self.place, skipped)
        for bucket in BUCKETS:
            yield bucket, partial(self._find, skipped, names)
        skipped.check(self.title)

    def _find(
        self, skipped: Skipped, names: Md5Names, wanted: Iterable[Fetch], _scratch: Path, /
    ) -> Iterator[Candidate]:
        for fetch in wanted:
            for path in map(self.place.joinpath, names.paths_of(fetch.md5, fetch.ext)):
                if skipped.is_plain_file(path):
                    yield Candidate(fetch, path, fetch.ext)
