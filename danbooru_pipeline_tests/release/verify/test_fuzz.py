"""Whatever happens to a release, verification ends with a report: no traceback, no hang, no memory, no way outside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def fuzz(release: Path, work: Path, *, first: int, count: int) -> None:
    """Try random damages, and hold what verification did against its promises."""
    command = [sys.executable, "-m", "danbooru_pipeline_tests.support.fuzz_release", release, work, first, count]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert said["missed"] == []
    assert said["slowest"] < 60
    assert said["peak_kib"] < 2**20


@pytest.mark.slow(30)
def test_any_damage_ends_in_a_report(later: Path, tmp_path: Path) -> None:
    """200 random damages: any byte, any file, any mode."""
    fuzz(later, tmp_path, first=0, count=200)


@pytest.mark.slow(300)
@pytest.mark.long
@pytest.mark.timeout(3600)
def test_more_damages_end_in_a_report(later: Path, tmp_path: Path) -> None:
    """2,000 more, for which there is no time in every run."""
    fuzz(later, tmp_path, first=1000, count=2000)
