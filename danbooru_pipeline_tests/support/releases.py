"""The releases of the small world, made once a run whatever the number of processes, and only read."""

from pathlib import Path

from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.small_world import make_releases


def shared_releases(folder: Path) -> Layout:
    """Make both releases below a folder, or take those that another process made there."""
    with exclusive(folder / "small-world.lock"):
        root = folder / "small-world"
        if not (root / "root/releases/current").exists():
            make_releases(root)
    return Layout(root / "root")
