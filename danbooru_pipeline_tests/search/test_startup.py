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
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("512px/") > 1
    assert done.stderr.strip() == ""


LAST = """
import sys
from danbooru_pipeline.cli.main import main
class Last:
    def __del__(self):
        print("the interpreter was taken apart", file=sys.__stderr__)
sys.last = Last()
main()
"""


@pytest.mark.parametrize(("search", "code"), [("solo rating:s", 0), ("rating:", 2)])
def test_a_command_ends_before_the_interpreter_is_taken_apart(copy: Path, search: str, code: int) -> None:
    """Threads of Arrow's would abort the process then; all lines are written, and the exit code is the command's."""
    words = [sys.executable, "-c", LAST, "select", str(copy), search]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "taken apart" not in done.stderr
    assert (done.stdout.count("512px/") > 1) is (code == 0)
