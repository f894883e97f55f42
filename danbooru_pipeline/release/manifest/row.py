"""A row of the manifest: what a release holds of one post. Schema and table follow from `store.columns`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

import pyarrow as pa

from danbooru_pipeline.store.columns import MD5S, Fact, FileFacts, Origin, columns_of, schema_of, table_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow(FileFacts):
    """What a release says of one post's files: the shared facts of files that it holds, and what only it can say.

    `path` and `px512_path` are relative to the release.
    """

    id: Annotated[int, Fact(pa.int64(), Origin.POST, "the post's id", before="size", nullable=False)]
    bucket: Annotated[str, Fact(pa.string(), Origin.POST, "`id % 1000`, four digits", before="size", nullable=False)]
    rating: Annotated[str | None, Fact(pa.string(), Origin.POST, "rating in the metadata", before="size")]
    status: Annotated[
        str,
        Fact(pa.string(), Origin.BUILD, "status of the original, as its reason says", before="size", nullable=False),
    ]
    reason: Annotated[
        str | None, Fact(pa.string(), Origin.BUILD, "why there is no file, or what is special about it", before="size")
    ] = None
    path: Annotated[str | None, Fact(pa.string(), Origin.RELEASE, "path of the original", before="size")] = None
    source_md5: Annotated[str | None, Fact(pa.string(), Origin.POST, "the metadata's MD5", before="source_size")] = None
    source_md5_matches: Annotated[
        bool | None, Fact(pa.bool_(), Origin.RELEASE, "whether `fetched_md5` is `source_md5`", before="fetched_md5")
    ] = None
    source_pixel_hash: Annotated[
        str | None,
        Fact(pa.string(), Origin.POST, "pixel hash that the site publishes", before="pixel_hash", domain=MD5S),
    ] = None
    pixel_hash_matches: Annotated[
        bool | None,
        Fact(pa.bool_(), Origin.RELEASE, "whether `pixel_hash` is `source_pixel_hash`", before="file_type"),
    ] = None
    px512_status: Annotated[
        str, Fact(pa.string(), Origin.RELEASE, "status of the 512px image", before="px512_size", nullable=False)
    ]
    px512_reason: Annotated[
        str | None, Fact(pa.string(), Origin.PX512, "why there is no 512px image", before="px512_size")
    ] = None
    px512_path: Annotated[str | None, Fact(pa.string(), Origin.RELEASE, "path of the image", before="px512_size")] = (
        None
    )
    first_release: Annotated[int, Fact(pa.int16(), Origin.BUILD, "first release that held the post", nullable=False)]


MANIFEST_COLUMNS: Final = columns_of(ManifestRow)
MANIFEST_SCHEMA: Final = schema_of(MANIFEST_COLUMNS)

#: Columns that manifests of earlier versions lack; there they are null.
MANIFEST_ADDED: Final = (
    *("source_pixel_hash", "pixel_hash", "pixel_hash_matches"),
    *("px512_dhash", "px512_phash"),
)

#: Columns with few values.
MANIFEST_DICTIONARY: Final = ("bucket", "rating", "status", "reason", "file_type", "px512_status", "px512_reason")


def manifest_table(rows: Iterable[ManifestRow]) -> pa.Table:
    """Rows as an Arrow table of `MANIFEST_SCHEMA`."""
    return table_of(list(rows), MANIFEST_SCHEMA)
