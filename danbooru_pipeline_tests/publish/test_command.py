"""Publication as an operator runs it: the command, the asset, and a takedown that reaches what was published."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import Result

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.runs import run_year
from danbooru_pipeline_tests.support.traces import traces

LOOPBACK = "http://127.0.0.1:1"


@pytest.fixture
def root(root: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A root with a release, which the settings name, and a folder to publish to."""
    for name, value in {"ROOT": root.root, "STATIC_ADDRESS": f"file://{tmp_path}/there"}.items():
        monkeypatch.setenv(f"DANBOORU_{name}", str(value))
    monkeypatch.setenv("DANBOORU_EXCLUDE_TAGS", "none")
    return root


def test_command_publishes_and_a_takedown_follows(root: Layout, tmp_path: Path, run: Callable[..., Result]) -> None:
    """A dry run sends nothing; the copy verifies; `takedown` clears the copy too, or says that it could not."""
    there = tmp_path / "there/danbooru2021"
    dry = run("publish", 2021, "--dry-run")
    assert (dry.exit_code, there.exists()) == (0, False)
    assert "[DRY RUN] would send" in dry.output
    assert run("publish", 2021).exit_code == 0
    assert verify_release(there, full=True).ok
    assert run("takedown", 4001).exit_code == 0
    assert traces(there, {4001}) == []
    assert verify_release(there, full=True).ok
    (tmp_path / "there").rename(tmp_path / "away")
    (tmp_path / "there").write_text("in the way")
    done = run("takedown", 8001)
    assert (done.exit_code, "a published copy still has them" in done.output) == (1, True)


def test_undecided_and_unnamed_places_are_refused(
    root: Layout, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the decision on excluded tags nothing goes out; without a setting there is no place."""
    assert "DANBOORU_HUB_OWNER" in run("publish", 2021, "--to", "hub").output
    monkeypatch.delenv("DANBOORU_EXCLUDE_TAGS")
    done = run("publish", 2021)
    assert (done.exit_code, "DANBOORU_EXCLUDE_TAGS" in done.output) == (1, True)
    assert not (tmp_path / "there").exists()


def test_asset_publishes_a_partition(root: Layout, tmp_path: Path) -> None:
    """Each place is an asset of its own, whose partition is green once the place has the release."""
    address = f"file://{tmp_path}/there"
    settings = Settings(root=root.root, api_url=LOOPBACK, cdn_url=LOOPBACK, static_address=address)
    with RunContext(settings) as context, dg.DagsterInstance.ephemeral() as instance:
        result = run_year(context, instance, ["static_publication"], 2021)
        assert result.success
        (made,) = result.asset_materializations_for_node("static_publication")
    assert made.metadata["version"].value == "2021.0"
    assert (tmp_path / "there/current").read_text() == "danbooru2021\n"
