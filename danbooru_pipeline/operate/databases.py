"""The SQLite files in which Dagster keeps its runs on one machine: which of them is damaged."""

import contextlib
import sqlite3
from pathlib import Path


def damaged_database(home: Path) -> Path | None:
    """The first SQLite file below DAGSTER_HOME that SQLite cannot read; None when all are whole."""
    return next((path for path in databases(home) if is_damaged(path)), None)


def databases(home: Path) -> list[Path]:
    """The SQLite files below DAGSTER_HOME."""
    return sorted(path for path in home.rglob("*.db") if path.is_file())


def is_damaged(path: Path) -> bool:
    """Whether SQLite finds a file damaged. Reads all of it."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.DatabaseError:
        return True
