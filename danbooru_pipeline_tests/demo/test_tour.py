"""The demo, run as a newcomer runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from danbooru_pipeline.demo.tour import MARK
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.status import year_status
from danbooru_pipeline.release import read_release, verify_release


def demo(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo with a small world."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DANBOORU_", "DAGSTER_"))}
    command = [sys.executable, "-m", "danbooru_pipeline", "demo", "--root", str(root), "--posts", "60"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)


def test_demo_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    """A folder with other content is refused, and nothing in it is touched."""
    (tmp_path / "mine").write_text("mine")
    result = demo(tmp_path)
    assert result.returncode == 2
    assert "--root" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.slow(60)
@pytest.mark.timeout(1200)
def test_demo_builds_and_verifies_both_years(tmp_path: Path) -> None:
    """Both releases verify, all buckets are green, and the second year requests only new and changed files."""
    result = demo(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / MARK).exists()
    assert result.stdout.count("original_images 1,000/1,000, images_512px 1,000/1,000") == 2
    assert "Danbooru2021 is byte for byte what it was after Danbooru2022" in result.stdout
    assert "Dagster itself cost" in result.stdout
    for year in (2021, 2022):
        assert verify_release(tmp_path / f"releases/danbooru{year}", full=True).ok
    layout = Layout(tmp_path)
    for year in (2021, 2022):
        status = year_status(layout, year)
        assert sum(status.originals.values()) == status.posts
        assert status.version is not None
        assert not status.buckets_with_work
    release = read_release(layout.current)
    assert release.name == "danbooru2022"
    assert release.previous is not None
    assert release.previous.name == "danbooru2021"
