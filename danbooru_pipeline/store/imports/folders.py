"""Folders of originals: trees by id, as Danbooru2017 to 2021 have them, and files named by their MD5."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from danbooru_pipeline.layout import BUCKETS, original_path
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports.candidates import Candidate, Finder, Skipped, spellings


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
                yield bucket, partial(self._find, skipped)
        skipped.check(self.title)

    def _find(self, skipped: Skipped, wanted: Iterable[Fetch], _scratch: Path, /) -> Iterator[Candidate]:
        for fetch in wanted:
            for ext in spellings(fetch.ext):
                path = self.place / original_path(fetch.id, ext).removeprefix("original/")
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
        for bucket in BUCKETS:
            yield bucket, partial(self._find, skipped)
        skipped.check(self.title)

    def _find(self, skipped: Skipped, wanted: Iterable[Fetch], _scratch: Path, /) -> Iterator[Candidate]:
        for fetch in wanted:
            md5 = fetch.md5
            folders = (f"{md5[:2]}/{md5[2:4]}/", "", f"{md5[:2]}/")
            names = (f"{folder}{md5}.{ext}" for folder in folders for ext in spellings(fetch.ext))
            for path in map(self.place.joinpath, names):
                if skipped.is_plain_file(path):
                    yield Candidate(fetch, path, fetch.ext)
