"""Originals that lie in the store without a true row, as a kill or a lost ledger leaves them: taken over, or not.

A file is taken over when its bytes, or those that its JPEG XL gives back, have the MD5 of the metadata, or when they
are the very ones that an earlier row of the same post speaks of. Anything else is asked for again.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.fetch import Downloaded
from danbooru_pipeline.images import ImageJob
from danbooru_pipeline.layout import ARCHIVE_EXTENSION
from danbooru_pipeline.posts import Post
from danbooru_pipeline.store.ledger import LedgerRow


class Adopter:
    """Takes files over for one bucket in work. Safe for threads.

    Attributes:
        archived: posts whose JPG was found as JPEG XL.
        optimized: posts whose file an optimiser has had in hand, as their earlier row says.
    """

    def __init__(self, context: RunContext, rows: Mapping[int, LedgerRow]) -> None:
        self.archived: set[int] = set()
        self.optimized: set[int] = set()
        self._tools, self._rows = context, rows

    def is_done(self, post_id: int) -> bool:
        """Whether there is nothing to optimise in the file that was found."""
        return post_id in self.archived or post_id in self.optimized

    def adopt(self, post: Post) -> Downloaded | None:
        """The file of a post that is there already; None when it has to be asked for."""
        assert post.ext is not None, "planned posts name a file"
        path = self._tools.layout.original(post.id, post.ext)
        return self._adopt_plain(post, path) or self._adopt_archive(post)

    def _adopt_plain(self, post: Post, path: Path) -> Downloaded | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        row = self._row_of(post)
        if row is not None and row.sha256 != hashlib.sha256(data).hexdigest():
            row = None  # of other bytes
        if row is not None and (row.optimized or row.kept is not None):
            self.optimized.add(post.id)
        if data and md5 == post.md5:
            return Downloaded(reason=None, in_place=True, size=len(data), md5=md5)
        if row is not None:
            # Optimised earlier, then withheld, and shown again by the source now.
            return Downloaded(reason=None, in_place=True, size=row.source_size, md5=row.fetched_md5)
        return None

    def _adopt_archive(self, post: Post) -> Downloaded | None:
        path = self._tools.layout.original(post.id, ARCHIVE_EXTENSION)
        if not path.exists():
            return None
        found = self._tools.images.submit(ImageJob(source=path)).result()
        row = self._row_of(post)
        is_known = row is not None and row.sha256 == found.sha256
        if found.restored_md5 is None or (found.restored_md5 != post.md5 and not is_known):
            return None
        self.archived.add(post.id)
        return Downloaded(reason=None, in_place=True, size=found.restored_size, md5=found.restored_md5)

    def _row_of(self, post: Post) -> LedgerRow | None:
        """The row of the file that the post has now."""
        row = self._rows.get(post.id)
        return row if row is not None and row.md5 == post.md5 else None
