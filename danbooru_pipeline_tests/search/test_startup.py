"""What a search loads: a first line within a blink leaves no time for pandas, DuckDB, libvips or Dagster."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "pandas", "dateutil", "duckdb", "pyvips", "dagster", "httpx", "msgspec", "subprocess", "concurrent.futures",
    *(f"danbooru_pipeline.cli.{name}" for name in ("builders", "curation", "exporting", "releases")),
)  # fmt: skip
PROGRAM = f"""
import sys
from danbooru_pipeline.cli.main import main
try:
    main()
finally:
    print(*[name for name in {HEAVY} if sys.modules.get(name)], file=sys.stderr)
"""


@pytest.mark.parametrize("search", ["solo rating:s", "1girl -tag_3 -score:>5 order:score limit:3"])
def test_a_search_loads_nothing_heavy(copy: Path, search: str) -> None:
    """`select` with tags and numbers finds posts by the index without the libraries that take as long as the rest."""
    words = [sys.executable, "-c", PROGRAM, "select", str(copy), search]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.count("512px/") > 1
    assert done.stderr.strip() == ""
