"""The assets of curation: made one after the other from a release, and made again once enough answers came."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import Answer, DecisionLog, Page
from danbooru_pipeline.curate.signals.saved import load_model
from danbooru_pipeline.defs import curation
from danbooru_pipeline.defs.build import build_defs
from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.settings import Settings
from danbooru_pipeline_tests.support.curated import curated_yard
from danbooru_pipeline_tests.support.runs import run_year


def decide(settings: Settings, answers: int) -> None:
    """Answer a page."""
    folder = CurationFolder(settings.root / "curation")
    given = tuple(Answer(post=post + 1, verdict="+", signals={"tags": 0.4}) for post in range(answers))
    DecisionLog(folder.decisions).append(Page(number="1", tag="t", asked="+", who="ann", at="", ms=10, answers=given))


def test_assets_follow_a_release(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Model, candidates and quality of a release are made from it, with their numbers, and answers are counted."""
    yard, missing = curated_yard(settings.root, 120)
    yard.release()
    with RunContext(settings) as context:
        result = run_year(context, instance, ["tag_model", "tag_candidates", "tag_quality"], 2021)
        assert result.success
        model: Any = result.asset_materializations_for_node("tag_model")[0].metadata
        candidates: Any = result.asset_materializations_for_node("tag_candidates")[0].metadata
        assert model["tags"].value > 20
        assert candidates["missing"].value > len(missing) / 2
        assert build_defs().resolve_schedule_def("relearn_tags").job.name == "learn_tags"
        decide(settings, 9_999)
        assert isinstance(curation.request_learning(instance, context), dg.SkipReason)
        decide(settings, 1)
        request = curation.request_learning(instance, context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2021"


def test_damaged_model_is_one_line(tmp_path: Path) -> None:
    """A model that is missing or cannot be read says what makes it again."""
    with pytest.raises(StoreError, match="materialise tag_model"):
        load_model(tmp_path / "model.npz")
    (tmp_path / "model.npz").write_bytes(b"no model")
    with pytest.raises(StoreError, match="materialise tag_model of its year again"):
        load_model(tmp_path / "model.npz")
