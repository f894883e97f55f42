"""What the store holds under a post's name without a row for it: a file is hashed once, however many places are read.

Ids are kept as bitmaps, since an import may be of millions of files.
"""

from dataclasses import dataclass, field

from pyroaring import BitMap64

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.store.imports.candidates import examine


@dataclass(slots=True)
class Held:
    """Files that the next build adopts by their MD5: of an earlier import or a killed build, and of this import.

    Attributes:
        present: how many were there before this import, of those that were asked about.
    """

    layout: Layout
    present: int = 0
    _right: BitMap64 = field(default_factory=BitMap64)
    _other: BitMap64 = field(default_factory=BitMap64)  # what has the name has other bytes

    def has(self, fetch: Fetch) -> bool:
        """Whether the store has the right file, or a dry run would have taken it."""
        if fetch.id in self._right or fetch.id in self._other:
            return fetch.id in self._right
        try:
            is_right = examine(self.layout.original(fetch.id, fetch.ext)).md5 == fetch.md5
        except FileNotFoundError:
            return False
        self.present += is_right
        (self._right if is_right else self._other).add(fetch.id)
        return is_right

    def is_known(self, fetch: Fetch) -> bool:
        """Whether it is known already that the store has the right file."""
        return fetch.id in self._right

    def add(self, fetch: Fetch) -> None:
        """Note a file that this import took, or would take."""
        self._right.add(fetch.id)
