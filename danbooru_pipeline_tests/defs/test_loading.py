"""What the definitions load: every process that Dagster starts does."""

import subprocess
import sys

#: Half of the time of loading, before they were imported where they are used.
HEAVY = ("pandas", "scipy", "pyarrow.dataset", "google.cloud.bigquery", "huggingface_hub")
PROGRAM = f"""
import sys
import danbooru_pipeline.definitions
print(*[name for name in {HEAVY} if sys.modules.get(name)])
"""


def test_definitions_load_nothing_that_only_a_step_needs() -> None:
    """Neither pandas, which Arrow imports before its first scalar or empty array, nor SciPy, nor clients of places."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
