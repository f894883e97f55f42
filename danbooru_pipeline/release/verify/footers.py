"""Verification of the footers of tables: readers pass over row groups by the smallest and largest values told there.

Every other check reads all rows, so a footer that denies values of its file hides them from everyone but `verify`.
"""

from danbooru_pipeline.io.hidden_columns import hidden_columns
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release.verify.verification import Verification


def check_footers(run: Verification) -> None:
    """Check that no footer or page index denies a value that one of its row groups has."""
    for name in sorted(run.sums):
        if name.endswith(".parquet") and run.is_readable(name):
            with run.reading(Kind.PARQUET_UNREADABLE, name):
                for group, column in hidden_columns(run.folder, name):
                    said = f"its footer or page index denies values that {column} has in row group {group}"
                    run.add(Kind.PARQUET_UNREADABLE, name, said)
