"""Verification of what a release consists of: every part is there, and nothing that its readers would take for one.

Folders of tables and metadata are read as a whole, by wildcards, so a file too many is read as well. Releases of before
0.3 had fewer parts and other folders.
"""

import re
from typing import Final

from danbooru_pipeline.release.checksums import ARCHIVE, FILELIST, NSFW_IDS, TREES
from danbooru_pipeline.release.provenance import PROVENANCE
from danbooru_pipeline.release.release_json import CONTENT, Release
from danbooru_pipeline.release.tables.image_rows import METADATA as IMAGE_ROWS
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.parquet import tables_in
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline.release_paths import (
    CORRECTED,
    CROISSANT,
    DATACITE,
    INDEX,
    INDEX_BITMAPS,
    INDEX_NAMES,
    METADATA,
    PAGE,
    POST_VECTORS,
    REMOVALS,
    REMOVED,
    SHARD,
    TAG_VECTORS,
    TEXTS,
    metadata_path,
)

_LAST_WITH_FEWER: Final = (0, 2, 0)
_NUMBER: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_DOCUMENTS: Final = (
    *TEXTS,
    *(CROISSANT, DATACITE, PAGE, CONTENT, PROVENANCE, REMOVED, REMOVALS, NSFW_IDS, FILELIST, ARCHIVE, IMAGE_ROWS),
)
#: Folder -> the paths that files below it may have.
_CLOSED: Final = {
    "parquet": re.compile(f"parquet/{SHARD.pattern}"),
    CORRECTED: re.compile(f"{CORRECTED}/{SHARD.pattern}"),
    "manifest": re.compile(f"manifest/(?=files-){SHARD.pattern}"),
    "index": re.compile(f"{re.escape(INDEX_BITMAPS)}|{re.escape(INDEX_NAMES)}"),
    # The name of a table ends in a letter, so that its number cannot have a digit more.
    METADATA: re.compile(rf"{METADATA}/(?P<year>\d{{4}})(?:/[a-z](?:[a-z0-9_]*[a-z])?|-old/(?P=year))\d{{12}}\.json"),
    **{tree.name: re.compile(re.escape(IMAGE_ROWS)) for tree in TREES},
}


def check_parts(run: Verification) -> None:
    """Check which documents and tables there are. What SHA256SUMS lists in vain is reported as missing already."""
    release = run.release
    if release is None or not run.sums or not _has_all_parts(release):
        return
    side_tables = (metadata_path(release.year, table, 0) for table in sorted(release.inputs.side_tables))
    for name in (*_DOCUMENTS, *side_tables):
        if name not in run.sums and not run.has(name):
            run.add(Kind.PAPER_MISSING, name, "is neither there nor listed, and every release has it")
    # Of index and vectors, another check misses one of two files.
    if not any(run.has(name) or name in run.sums for name in (INDEX_BITMAPS, INDEX_NAMES)):
        run.add(Kind.PAPER_MISSING, f"{INDEX}/", "is not there, and every release has it")
    if not {POST_VECTORS, TAG_VECTORS} & set(tables_in(run, "parquet")):
        run.add(Kind.PAPER_MISSING, f"parquet/{POST_VECTORS}-*.parquet", "is not there, and every release has it")
    for name in run.sums:
        if not _belongs(name, release):
            run.add(Kind.STRAY_FILE, name, "is no file of a release, and readers of its folder would take it for one")


def _has_all_parts(release: Release) -> bool:
    number = _NUMBER.match(release.tool.version)
    return number is None or tuple(map(int, number.groups())) > _LAST_WITH_FEWER


def _belongs(name: str, release: Release) -> bool:
    allowed = _CLOSED.get(name.partition("/")[0])
    if allowed is None:
        return True
    found = allowed.fullmatch(name)
    return found is not None and int(found.groupdict().get("year") or 0) <= release.year
