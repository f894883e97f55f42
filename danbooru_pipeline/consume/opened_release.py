"""`open_release`: a release as a value in Python, with its tables as pandas frames or Arrow, and its images.

Only the folder is needed, and it is only read. Opening reads RELEASE.json alone; a table or an image is opened by the
call that asks for it, and closed when that call returns, so values can be kept, compared, pickled and sent to workers.
"""

import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, SupportsIndex, overload

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.corrected import posts_folder
from danbooru_pipeline.consume.errors import NoImage
from danbooru_pipeline.consume.find import find
from danbooru_pipeline.consume.frames import to_frame
from danbooru_pipeline.consume.images import ImageKind, ReleaseImage, image_of, path_column
from danbooru_pipeline.consume.tables import (
    BATCH_ROWS,
    FILES,
    Query,
    python_rows,
    read_batches,
    read_table,
    shards,
    table_names,
    table_schema,
)
from danbooru_pipeline.consume.where import Where, expression_of
from danbooru_pipeline.errors import NotARelease
from danbooru_pipeline.io.parquet import no_rows
from danbooru_pipeline.release.change_rows import CHANGES_SCHEMA
from danbooru_pipeline.release.changes import changed_rows
from danbooru_pipeline.release.mentions import removed_ids
from danbooru_pipeline.release.pointer import followed
from danbooru_pipeline.release.release_json import Release, read_release
from danbooru_pipeline.release_paths import RELEASE_JSON
from danbooru_pipeline.search.bitmaps import Ids

#: Rows whose images are read from the manifest at once.
_IMAGE_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class OpenedRelease:
    """A release that somebody has. Two are equal when they are the same folder.

    `columns`, `where` and `arrow` mean the same in all methods:

    - `columns`: names of the columns to read, in the order of the answer. Others are not read from disk.
    - `where`: conditions as ``[("score", ">=", 10), ("rating", "in", ["g", "s"])]``, all of which hold, a list of such
      lists, or a `pyarrow.compute.Expression`. Parquet skips what cannot match (see `consume.where`).
    - `arrow`: `True` gives a `pyarrow.Table` in place of a `pandas.DataFrame` (whose dtypes `consume.frames` explains).

    Attributes:
        path: its folder; where a link like ``releases/current`` led when the release was opened.
        info: RELEASE.json.
        corrected: whether posts have the tags that people gave them, in searches and in what is read of them. Other
            tables, `tag_counts` among them, and `compare` are of the posts as the site had them.
    """

    path: Path
    info: Release = field(compare=False, repr=False)
    corrected: bool = False

    @property
    def name(self) -> str:
        """Like ``danbooru2022``."""
        return self.info.name

    @property
    def year(self) -> int:
        """The year whose end is the release's cutoff."""
        return self.info.year

    @property
    def version(self) -> str:
        """Like ``2022.0``."""
        return self.info.version

    @property
    def tables(self) -> tuple[str, ...]:
        """Names that `table`, `schema` and `batches` take."""
        return table_names(self.path)

    def schema(self, name: str = "posts") -> pa.Schema:
        """Columns and Arrow types of a table.

        Raises:
            UnknownName: there is no such table.
        """
        return table_schema(self.path, name, corrected=self.corrected)

    @overload
    def table(
        self, name: str, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def table(
        self, name: str, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[True]
    ) -> pa.Table: ...
    def table(
        self, name: str, columns: Sequence[str] | None = None, where: Where | None = None, *, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """Rows of any table in `tables`.

        Raises:
            UnknownName: there is no such table or column; close names are given.
            BadQuery: `columns` or `where` has a wrong form.
            ReleaseError: the table is not whole in this copy, or damaged.
        """
        found = read_table(self.path, name, Query(columns=columns, where=where, corrected=self.corrected))
        return found if arrow else to_frame(found)

    @overload
    def posts(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def posts(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[True]
    ) -> pa.Table: ...
    def posts(
        self, columns: Sequence[str] | None = None, where: Where | None = None, *, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """The metadata: one row a post, sorted by id. Errors are those of `table`."""
        return self.table("posts", columns, where, arrow=True) if arrow else self.table("posts", columns, where)

    @overload
    def files(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def files(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[True]
    ) -> pa.Table: ...
    def files(
        self, columns: Sequence[str] | None = None, where: Where | None = None, *, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """The manifest: for each post, sorted by id, what became of its files and why. Errors are those of `table`."""
        return self.table(FILES, columns, where, arrow=True) if arrow else self.table(FILES, columns, where)

    @overload
    def tags(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def tags(
        self, columns: Sequence[str] | None = ..., where: Where | None = ..., *, arrow: Literal[True]
    ) -> pa.Table: ...
    def tags(
        self, columns: Sequence[str] | None = None, where: Where | None = None, *, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """The site's table of tags, with its own counts; ``table("tag_counts")`` counts this release's posts instead.

        Errors are those of `table`.
        """
        return self.table("tags", columns, where, arrow=True) if arrow else self.table("tags", columns, where)

    def batches(
        self,
        table: str = "posts",
        columns: Sequence[str] | None = None,
        where: Where | None = None,
        *,
        rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a table, at most `rows` at a time, in memory that does not grow with the release.

        Errors are those of `table`, raised by the call itself and not by the first batch.
        """
        query = Query(columns=columns, where=where, corrected=self.corrected)
        return read_batches(self.path, table, query, rows=rows)

    @overload
    def search(
        self, text: str, columns: Sequence[str] | None = ..., *, implications: bool = ..., arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def search(
        self, text: str, columns: Sequence[str] | None = ..., *, implications: bool = ..., arrow: Literal[True]
    ) -> pa.Table: ...
    def search(
        self, text: str, columns: Sequence[str] | None = None, *, implications: bool = False, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """Posts that a search finds, in its order, the newest first without one; docs/search.md has the language.

        Args:
            text: like ``1girl solo -comic rating:g order:score limit:100``.
            columns: names of the columns to read.
            implications: a tag finds posts with tags that imply it, too.
            arrow: a `pyarrow.Table` in place of a frame.

        Raises:
            BadSearch: the text is no search; the message says where, and what may have been meant.
            UnknownTag: no post has a tag that posts must have.
            UnknownName: there is no such column.
        """
        ids = pa.array(self.search_ids(text, implications=implications)).cast(pa.int64())
        wanted = None if columns is None else list(dict.fromkeys(["id", *columns]))
        table = self.table("posts", wanted, pc.field("id").isin(ids), arrow=True)
        found = table.take(pc.index_in(ids, table["id"]).drop_null())
        found = found if columns is None else found.select(list(columns))
        return found if arrow else to_frame(found)

    def search_ids(self, text: str, *, implications: bool = False) -> Ids:
        """The ids of the posts that a search finds, in its order, as a NumPy array. Errors are those of `search`."""
        return find(self.path, text, implications=implications, corrected=self.corrected).ids

    def image(self, post_id: SupportsIndex, kind: ImageKind = "512px") -> ReleaseImage:
        """The 512px image or the original of a post: its path and facts; `open` and `array` of it give pixels.

        Raises:
            NoImage: the release has no such file; the message has the reason.
            BadQuery: there is no such kind.
        """
        wanted = operator.index(post_id)  # ids out of a frame are NumPy's
        path_column(kind)
        where = [("id", "==", wanted)] if 0 < wanted <= self.info.last_id else None
        rows = [] if where is None else python_rows(self.path, FILES, read_table(self.path, FILES, Query(where=where)))
        if not rows:
            there = f"its last is {self.info.last_id}" if self.info.counts.posts else "it has no posts"
            raise NoImage(f"{self.name} has no post {wanted}; {there}", post_id=wanted, kind=kind)
        return image_of(self.path, rows[0], kind)

    def images(self, where: Where | None = None, kind: ImageKind = "512px") -> Iterator[ReleaseImage]:
        """All images of a kind, or those whose row of the manifest meets conditions, sorted by id.

        Quicker than `image` for many posts. Errors are those of `table`.
        """
        conditions = expression_of(where, self.schema(FILES), label=f"the table {FILES} of {self.name}")
        held = pc.field(path_column(kind)).is_valid()
        both = held if conditions is None else held & conditions
        batches = self.batches(FILES, where=both, rows=_IMAGE_ROWS)
        return (image_of(self.path, row, kind) for batch in batches for row in python_rows(self.path, FILES, batch))

    @overload
    def compare(
        self, other: "OpenedRelease | str | os.PathLike[str]", *, arrow: Literal[False] = ...
    ) -> pd.DataFrame: ...
    @overload
    def compare(self, other: "OpenedRelease | str | os.PathLike[str]", *, arrow: Literal[True]) -> pa.Table: ...
    def compare(
        self, other: "OpenedRelease | str | os.PathLike[str]", *, arrow: bool = False
    ) -> pd.DataFrame | pa.Table:
        """What changed from another release, usually an older one, to this one: one row for each change.

        Columns, kinds and order are those of ``changes/*.parquet``: posts added and removed, files added, replaced and
        removed, ratings changed, metadata (its tags, too) changed.

        Raises:
            NotARelease: the other folder is not a release.
            ReleaseError: a table is not whole in one of the copies, or damaged.
        """
        old = other if isinstance(other, OpenedRelease) else open_release(other)
        for release in (old, self):
            for table in ("posts", FILES):
                shards(release.path, table)
        gone = removed_ids(old.path) | removed_ids(self.path)
        rows = changed_rows(old.path, self.path, taken_down=gone, threads=os.cpu_count() or 1)
        found = pa.concat_tables([no_rows(CHANGES_SCHEMA), *rows])
        return found if arrow else to_frame(found)


def open_release(path: str | os.PathLike[str], *, corrected: bool = False) -> OpenedRelease:
    """Open a release in a folder; ``releases/current``, which leads to one, is followed once, now.

    So a link that is moved to the next year while somebody works does not mix two releases. With `corrected`, its posts
    have the tags that people gave them (docs/curate.md).

    Raises:
        NotARelease: the folder is not a release; the message names one close by, if there is one.
        ReleaseError: its RELEASE.json is damaged, or it has no corrected posts.
    """
    folder = followed(Path(os.path.expanduser(path))).resolve()  # noqa: PTH111 - Path's own raises where there is no such user
    try:
        opened = OpenedRelease(path=folder, info=read_release(folder), corrected=corrected)
    except NotARelease as error:
        for near in (folder / "current", folder / "releases/current", folder.parent):
            if (near / RELEASE_JSON).is_file():
                raise NotARelease(f"{folder} is not a release; open {near}") from None
        raise error from None
    posts_folder(folder, corrected=corrected)  # refused here, not by the first call that reads posts
    return opened
