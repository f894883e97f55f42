"""Releases on a stand-in of the Hugging Face Hub that the real client talks to."""

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.publish import apply_publication, plan_publication
from danbooru_pipeline.publish.hub import HubPlace
from danbooru_pipeline.release import apply_takedown, plan_takedown
from danbooru_pipeline_tests.support import hub_readers, publishing
from danbooru_pipeline_tests.support.forked import run_module
from danbooru_pipeline_tests.support.hub import Hub, serving_hub
from danbooru_pipeline_tests.support.programs import program_of_validators
from danbooru_pipeline_tests.support.yard import NOW

NAME = "example/danbooru2021"
# The client's own, in how it sends a large file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty Hub, named by the environment as its client reads it."""
    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        # Large files go by git's protocol, since that of Xet has no stand-in.
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield hub


def publish(root: Layout) -> None:
    """Publish with nothing going wrong."""
    apply_publication(plan_publication(root, 2021, HubPlace("example")))


def images(files: dict[str, bytes], tree: str) -> dict[str, bytes]:
    """Name -> content of all images of a tree, read by the indexes alone."""
    found: dict[str, bytes] = {}
    for path, data in files.items():
        if path.startswith(f"{tree}/") and path.endswith(".json"):
            index = json.loads(data)
            tar = files[f"{path.removesuffix('.json')}.tar"]
            assert (index["filesize"], index["hash_lfs"]) == (len(tar), hashlib.sha256(tar).hexdigest())
            for name, place in index["files"].items():
                found[name] = tar[place["offset"] : place["offset"] + place["size"]]
                assert hashlib.sha256(found[name]).hexdigest() == place["sha256"]
    return found


def require_whole(hub: Hub, release: Path) -> None:
    """Every image and every document of the release is there, and nothing else."""
    files = dict(hub.files[NAME])
    for tree in ("original", "512px"):
        assert images(files, tree) == {path.name: path.read_bytes() for path in release.glob(f"{tree}/*/*.*")}
    documents = {path: data for path, data in files.items() if not path.startswith(("original/", "512px/"))}
    del documents[".gitattributes"]
    here = {path.relative_to(release).as_posix(): path.read_bytes() for path in release.rglob("*") if path.is_file()}
    assert documents == {path: data for path, data in here.items() if not path.startswith(("original/", "512px/"))}


@pytest.mark.slow(25)
def test_release_that_was_killed_ten_times_is_there_once(root: Layout, hub: Hub, tmp_path: Path) -> None:
    """Killed at ten random moments, no large file is sent twice, RELEASE.json is in the last commit, all is right."""
    log = tmp_path / "log"
    ended = json.loads(run_module(publishing.__name__, root.root, 2021, "hub:example", 5, 10, log, timeout=280))
    assert ended[-1] == 0
    assert ended.count(-9) >= 5
    require_whole(hub, root.release(2021))
    assert set(hub.uploads.values()) == {1}
    assert log.read_text().splitlines()[-1] == "RELEASE.json"


def test_takedown_leaves_no_commit_with_the_post(root: Layout, hub: Hub) -> None:
    """Only the tar of its bucket is sent again, and the history that has the post is gone."""
    publish(root)
    require_whole(hub, root.release(2021))
    gone = (root.release(2021) / "original/0001/4001.jpg").read_bytes()
    before = set(hub.uploads)
    apply_takedown(plan_takedown(root, [4001]), created_at=NOW, threads=1)
    publish(root)
    require_whole(hub, root.release(2021))
    assert not any(gone in data for commit in hub.history[NAME] for data in commit.values())
    tars = {hashlib.sha256(data).hexdigest() for path, data in hub.files[NAME].items() if path.endswith(".tar")}
    assert len(tars - before) <= 2
    sent = dict(hub.uploads)
    publish(root)
    assert dict(hub.uploads) == sent


def test_tars_are_read_by_common_tools(root: Layout, hub: Hub) -> None:
    """A tar is a tar."""
    publish(root)
    data = hub.files[NAME]["original/0001.tar"]
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == sorted(path.name for path in root.release(2021).glob("original/0001/*"))


def test_common_clients_read_what_was_published(root: Layout, hub: Hub, tmp_path: Path) -> None:
    """`datasets` gives every row of every table of the card, loaded and as a stream; it and hfutils, every image.

    `datasets` finds images in the tars, hfutils by their indexes, each by its range.
    """
    publish(root)
    release = root.release(2021)
    command = [program_of_validators("python"), hub_readers.__file__, NAME, str(tmp_path)]
    env = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path), "PYTHONPATH": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert {"posts", "files", "tags"} <= set(seen["same"])
    assert set(seen["same"].values()) == set(seen["members"]["valid"].values()) == {True}
    for config in seen["same"]:
        shards = sorted([*release.glob(f"parquet/{config}-*"), *release.glob(f"manifest/{config}-*")])
        ours = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
        assert pq.read_table(tmp_path / f"{config}.parquet").to_pylist() == ours
    digests = {
        f"{path.relative_to(release).parts[0]}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for tree in ("original", "512px")
        for path in release.glob(f"{tree}/*/*.*")
    }
    assert seen["samples"] == seen["members"]["digests"] == digests


def test_hub_that_is_down_is_one_error(root: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, and the message names the place."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with pytest.raises(PublishError, match="hf://datasets/example"):
        publish(root)
