"""The releases of the small world, made once a run whatever the number of processes, and only read."""

from pathlib import Path

from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline_tests.support.small_world import make_releases


def shared_releases(folder: Path, *, posts: int = 90) -> Layout:
    """Make both releases below a folder, or take those that another process made there."""
    root = folder / f"small-world-{posts}"
    with exclusive(root.with_suffix(".lock")):
        if not (root / "root/releases/current").exists():
            make_releases(root, posts=posts)
    return Layout(root / "root")
