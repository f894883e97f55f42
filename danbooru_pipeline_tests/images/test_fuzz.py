"""Mutated images through real workers: one outcome each, and no process or file left over."""

import subprocess
import sys
from pathlib import Path

import danbooru_pipeline

ROOT = Path(danbooru_pipeline.__file__).parent.parent


def test_short_fuzz() -> None:
    """A hundred mutated images each have one outcome; the long run is in benchmarks/."""
    command = [sys.executable, "benchmarks/fuzz_images.py", "100", "7"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
