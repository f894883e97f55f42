"""What a release is made from: the reports that other steps left beside their tables. Read only, nothing made here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.checksums import hash_file

# A table's name becomes a file's name, and it is read from a report.
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReport:
    """What the sweep of posts said of itself."""

    source: dict[str, Any]

    @property
    def digest(self) -> str:
        """Digest of the posts."""
        return str(self.source.get("sha256", ""))

    @property
    def rejected(self) -> int:
        """Records that cannot be placed in a release."""
        return int(self.source.get("rejected", 0))


def read_posts_report(layout: Layout, year: int) -> SourceReport:
    """Read the report of the sweep of posts.

    Raises:
        ReleaseError: there is none, or it has no digest.
    """
    path = layout.posts_report(year)
    try:
        report = msgspec.json.decode(path.read_bytes(), type=SourceReport)
    except FileNotFoundError:
        raise ReleaseError(f"there is no {path}; build `posts` of {year} first") from None
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); build `posts` of {year} again") from error
    if not report.digest:
        raise ReleaseError(f"{path} has no digest of the posts; build `posts` of {year} again")
    return report


def side_tables(layout: Layout, year: int) -> dict[str, Path]:
    """Name -> file of the side tables that a year has; none when they were not fetched.

    Raises:
        ReleaseError: the report is damaged, or speaks of a table that is not there.
    """
    path = layout.side_tables_report(year)
    try:
        tables = msgspec.json.decode(path.read_bytes())["tables"]
        names = sorted(name for name, table in tables.items() if table["status"] == "ok")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseError(f"{path} cannot be read ({error!r}); build `side_tables` of {year} again") from error
    if wrong := [name for name in names if not _TABLE.fullmatch(name) or name == "posts"]:
        raise ReleaseError(f"{path} names a table {wrong[0]!r}; build `side_tables` of {year} again")
    found = {name: layout.side_table(year, name) for name in names}
    if lost := [name for name, file in found.items() if not file.is_file()]:
        raise ReleaseError(f"the side table {lost[0]} of {year} is not there; build `side_tables` of {year} again")
    return found


def table_digests(tables: dict[str, Path]) -> dict[str, str]:
    """Name -> SHA-256 of each side table."""
    return {name: hash_file(path) for name, path in tables.items()}
