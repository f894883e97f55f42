"""The format that a file of ours says it has, so that older code refuses it by name and takes it for no damage.

No file says one so far, and that is format 1. A later version that writes a file which this code would misread, or
would lose something of, says so in it: JSON by the key ``format``, Parquet by `KEY` in the metadata of its schema. What
older code does not know of a ledger or of the list of takedowns is refused without that, since both are rewritten.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from danbooru_pipeline.errors import NewerFile

FILE_FORMAT: Final = 1
KEY: Final = b"danbooru_pipeline.format"
#: No JSON file that says its format is longer; side tables, which are lines of JSON, are.
_LONGEST: Final = 2**20


def require_known_json(path: Path, content: Any) -> None:
    """Refuse the content of a JSON file that says it is of a later format.

    Raises:
        NewerFile: it does.
    """
    found = content.get("format") if isinstance(content, Mapping) else None
    if isinstance(found, int) and found > FILE_FORMAT:
        raise NewerFile(path, f"format {found}")


def require_known_schema(path: Path, schema: pa.Schema, *, columns: Iterable[str] = ()) -> None:
    """Refuse a Parquet file that says it is of a later format, or has columns which its next writer would drop.

    Args:
        path: of the file.
        schema: that it has.
        columns: all that are known; none where others do no harm.

    Raises:
        NewerFile: it is of a later version.
    """
    found = (schema.metadata or {}).get(KEY, b"")
    if found.isdigit() and int(found) > FILE_FORMAT:
        raise NewerFile(path, f"format {int(found)}")
    known = frozenset(columns)
    unknown = [name for name in schema.names if name not in known] if known and "id" in schema.names else []
    if unknown:
        raise NewerFile(path, f"column {unknown[0]}")


def require_known_format(path: Path) -> None:
    """Refuse a file that says it is of a later format; one that cannot be read says nothing.

    Raises:
        NewerFile: it does.
    """
    with contextlib.suppress(OSError, ValueError, pa.ArrowException, RecursionError):
        if path.suffix == ".parquet":
            require_known_schema(path, pq.read_schema(path))
        elif path.suffix == ".json" and path.stat().st_size <= _LONGEST:
            require_known_json(path, json.loads(path.read_bytes()))
