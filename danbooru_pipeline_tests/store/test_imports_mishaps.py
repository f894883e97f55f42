"""Import: what the machine, or somebody else, does meanwhile costs no file and makes no row untrue."""

import json
import os
import resource
from dataclasses import asdict
from pathlib import Path

import pytest

from danbooru_pipeline.cli.shared import print_json
from danbooru_pipeline.errors import DiskFull
from danbooru_pipeline_tests.support.imported import NewStore


def test_a_path_of_odd_bytes_is_told_to_programs(
    store: NewStore, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What could not be used below a path that is no UTF-8 is named in JSON, and the rest is taken."""
    folder = store.tree(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")))
    (folder / "original/0999").symlink_to("nowhere")
    report = store.take(folder)
    assert report.taken
    print_json(asdict(report))
    (problem,) = json.loads(capsysbinary.readouterr().out)["problems"]
    assert r"/\udcff/original/0999 (a symbolic link that leads to no folder)" in problem


def test_a_limit_on_the_size_of_files_is_named(store: NewStore, tmp_path: Path) -> None:
    """A process that may not write files so large says so, and an import without the limit takes them."""
    folder = store.tree(tmp_path / "tree")
    for path in folder.rglob("*.*"):
        path.chmod(0o600)  # so that it is copied
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(DiskFull, match=r"takes no file of this size .*ulimit -f"):
            store.take(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.take(folder).taken == len(store.files)
