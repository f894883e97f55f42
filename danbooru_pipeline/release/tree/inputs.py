"""What a release is made from: the reports that earlier steps left beside their tables. Reads only."""

import re
from collections.abc import Mapping
from pathlib import Path

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.report import PostsReport, load_posts_report
from danbooru_pipeline.posts.table_reports import load_table_reports

# The name of a table comes from a report and becomes the name of a file.
_TABLE = re.compile(r"[a-z][a-z0-9_]{0,60}")


def require_posts_report(layout: Layout, year: int) -> PostsReport:
    """Read the report of the posts.

    Raises:
        ReleaseError: there is none, or it has no digest.
    """
    path = layout.posts_report(year)
    try:
        report = load_posts_report(layout, year)
    except FileNotFoundError:
        raise ReleaseError(f"there is no {path}; build `posts` of {year} first") from None
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); build `posts` of {year} again") from error
    if not report.sha256:
        raise ReleaseError(f"{path} has no digest of the posts; build `posts` of {year} again")
    return report


def side_tables(layout: Layout, year: int) -> dict[str, Path]:
    """Name -> file of the side tables of a year; empty when none were fetched.

    Raises:
        ReleaseError: the report is damaged, or names a table that is missing.
    """
    path = layout.side_tables_report(year)
    try:
        reports = load_table_reports(layout, year)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} cannot be read ({error!r}); build `side_tables` of {year} again") from error
    names = sorted(name for name, report in reports.items() if report.status == "ok")
    if wrong := [name for name in names if not _TABLE.fullmatch(name) or name == "posts"]:
        raise ReleaseError(f"{path} names a table {wrong[0]!r}; build `side_tables` of {year} again")
    found = {name: layout.side_table(year, name) for name in names}
    if lost := [name for name, file in found.items() if not file.is_file()]:
        raise ReleaseError(f"the side table {lost[0]} of {year} is missing; build `side_tables` of {year} again")
    return found


def table_digests(tables: Mapping[str, Path]) -> dict[str, str]:
    """Name -> SHA-256 of each side table."""
    return {name: sha256_of(path) for name, path in tables.items()}
