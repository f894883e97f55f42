"""The operator's private list of files that must not be published: MD5 and SHA-256, one a line.

The list and its hits are never written to a release, a log or a message. A post whose file is on it is taken down as if
somebody had asked for it, so all that remains is an id among other ids.
"""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.io.parquet import read_batches
from danbooru_pipeline.layout import MD5_FORM, SHA256_FORM, Layout

_HASH = re.compile(f"{MD5_FORM}|{SHA256_FORM}")
_COLUMNS = ("id", "source_md5", "fetched_md5", "sha256", "px512_sha256")


def read_blocklist(path: Path) -> frozenset[str]:
    """Read the list; empty lines and lines that begin with ``#`` are skipped.

    Raises:
        SettingsError: it cannot be read, or a line is neither MD5 nor SHA-256. The line is not shown.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"DANBOORU_HASH_BLOCKLIST {path} cannot be read ({type(error).__name__}); fix or unset it"
        ) from None
    hashes = set()
    for number, line in enumerate(lines, start=1):
        text = line.strip().lower()
        if not text or text.startswith("#"):
            continue
        if not _HASH.fullmatch(text):
            raise SettingsError(f"DANBOORU_HASH_BLOCKLIST {path} line {number} is neither an MD5 nor a SHA-256; fix it")
        hashes.add(text)
    return frozenset(hashes)


def blocked_ids(layout: Layout, year: int, hashes: frozenset[str]) -> list[int]:
    """Posts of a manifest with a file on the list, by any of its hashes."""
    if not hashes:
        return []
    listed = pa.array(sorted(hashes), pa.string())
    found: set[int] = set()
    for table in read_batches(layout.manifest(year), columns=_COLUMNS):
        hit = pa.chunked_array([pa.repeat(False, table.num_rows)])  # noqa: FBT003 - an Arrow value
        for name in _COLUMNS[1:]:
            hit = pc.or_(hit, pc.is_in(table[name].cast(pa.string()), listed))
        found.update(table["id"].filter(hit).to_pylist())
    return sorted(found)
