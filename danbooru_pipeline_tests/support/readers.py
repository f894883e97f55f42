"""Reads every Parquet file of a release with every reader that people have: run by the Python of .venv-validators.

Prints, as JSON, each column whose values are not those that pyarrow reads, and the rows of folders and patterns that
people open at once. No module of the project is imported here.
"""

import datetime as dt
import importlib.util
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Columns = dict[str, list[Any]]


def plain(value: Any) -> Any:
    """A value as JSON has it, the same for every reader: numbers as numbers, times in UTC, nothing as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if hasattr(value, "asDict"):
        value = value.asDict()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return one(value)


def one(value: Any) -> Any:
    """The same of a value that has no parts."""
    if type(value).__name__ in {"NAType", "NaTType"} or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).astimezone(dt.UTC).isoformat()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_pandas(path: Path) -> Columns:
    """pandas, by pyarrow."""
    import pandas as pd

    return {name: list(column) for name, column in pd.read_parquet(path).items()}


def read_fastparquet(path: Path) -> Columns:
    """fastparquet, which has a decoder of its own."""
    import fastparquet  # type: ignore[import-not-found]

    frame = fastparquet.ParquetFile(str(path)).to_pandas()
    return {name: list(column) for name, column in frame.items()}


def read_polars(path: Path) -> Columns:
    """Polars."""
    import polars as pl

    return dict(pl.read_parquet(path).to_dict(as_series=False))


def read_duckdb(path: Path) -> Columns:
    """DuckDB."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET timezone = 'UTC'")
    found = connection.execute(f"SELECT * FROM '{path}'")
    names = [column[0] for column in found.description]
    rows = found.fetchall()
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


def read_spark(path: Path) -> Columns:
    """Spark, whose times are those of this process."""
    from pyspark.sql import SparkSession  # type: ignore[import-not-found]

    os.environ["TZ"] = "UTC"
    time.tzset()
    options = {"spark.sql.session.timeZone": "UTC", "spark.ui.enabled": "false", "spark.log.level": "ERROR"}
    session = SparkSession.builder.master("local[1]").config(map=options).getOrCreate()
    frame = session.read.parquet(str(path))
    rows = frame.collect()
    return {name: [row[name] for row in rows] for name in frame.columns}


READERS: dict[str, Callable[[Path], Columns]] = {
    "pandas": read_pandas,
    "fastparquet": read_fastparquet,
    "polars": read_polars,
    "duckdb": read_duckdb,
}
# 400 MB and a Java machine: `pip install pyspark` into .venv-validators adds it to the test.
if importlib.util.find_spec("pyspark"):
    READERS["spark"] = read_spark


def differences(release: Path) -> Iterator[list[str]]:
    """``[reader, file, column]`` for each column that is read in another way."""
    import pyarrow.parquet as pq

    for path in sorted(release.rglob("*.parquet")):
        wanted = pq.read_table(path).to_pydict()
        for name, read in READERS.items():
            found = read(path)
            for column, values in wanted.items():
                if plain(found.get(column, "absent")) != plain(values):
                    yield [name, path.relative_to(release).as_posix(), column]


def folder_rows(release: Path) -> dict[str, int]:
    """Rows of the manifest, read as a folder."""
    import duckdb
    import fastparquet
    import pandas as pd
    import polars as pl
    import pyarrow.dataset as ds

    folder = release / "manifest"
    return {
        "pandas": len(pd.read_parquet(folder)),
        "fastparquet": fastparquet.ParquetFile([str(path) for path in sorted(folder.rglob("*.parquet"))]).count(),
        "polars": pl.scan_parquet(folder).select(pl.len()).collect().item(),
        "pyarrow": ds.dataset(folder).count_rows(),
        "duckdb": duckdb.execute(f"SELECT count(*) FROM '{folder}/**/*.parquet'").fetchall()[0][0],
    }


def main() -> None:
    """Print everything."""
    warnings.simplefilter("ignore")
    release = Path(sys.argv[1])
    print(json.dumps({"differences": list(differences(release)), "folder": folder_rows(release)}))


if __name__ == "__main__":
    main()
