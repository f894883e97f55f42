"""Assets of the quality of tags: the model, the candidates and what was measured.

They come after the snapshot, which waits for none of them, and nothing makes them but a person or the schedule, since
not every operator curates. What learns is imported when it is needed: SciPy takes long, and every process that Dagster
starts loads this module.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.learning import RETRAIN_ANSWERS, count_answers, fusion_of, seconds_of
from danbooru_pipeline.curate.log import DecisionLog
from danbooru_pipeline.defs.automation import OWNERS, SCHEDULE_STATUS
from danbooru_pipeline.defs.described import described, where
from danbooru_pipeline.defs.partitions import releases
from danbooru_pipeline.defs.release import release_snapshot
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures
from danbooru_pipeline.release.release_json import published
from danbooru_pipeline.release.takedown.curation import clear_if_removed

GROUP = "curation"
_RUNBOOK = "tags-were-not-learnt-or-measured"
#: Metadata of `tag_candidates`: the answers that they were calibrated by.
ANSWERS = "answers"


def _of_a_release(*, kind: str, after: dg.AssetsDefinition) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """What the three assets share; what each does and says is its own."""
    return dg.asset(
        partitions_def=releases,
        group_name=GROUP,
        kinds={kind},
        owners=OWNERS,
        deps=[after],
        metadata=described(runbook=_RUNBOOK),
    )


@_of_a_release(kind="numpy", after=release_snapshot)
def tag_model(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """Which tags go together in a release: EASE and a small network, to find tags that may be missing or wrong."""
    from danbooru_pipeline.curate.candidates import learn  # noqa: PLC0415
    from danbooru_pipeline.curate.signals.saved import save_model  # noqa: PLC0415

    year = int(context.partition_key)
    folder = CurationFolder.of(run_context.layout)
    with clear_failures(run_context, run_log):
        known = learn(run_context.layout.release(year))
        if known.model is None:
            return dg.MaterializeResult(metadata={"tags": 0})
        save_model(known.model, folder.model(year))
    return dg.MaterializeResult(
        metadata={
            "tags": len(known.model.vocabulary.names),
            "weights": int(known.model.weights.nnz),
            "circles": dg.MetadataValue.md("\n".join(f"- {', '.join(c)}" for c in known.rules.circles) or "none"),
            **where(folder.model(year)),
        }
    )


@_of_a_release(kind="parquet", after=tag_model)
def tag_candidates(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """Tags of a release that may be missing or wrong, calibrated by all answers so far, for `curate review`."""
    from danbooru_pipeline.curate.candidates import CandidateOptions, learn, write_candidates  # noqa: PLC0415
    from danbooru_pipeline.curate.signals.saved import load_model  # noqa: PLC0415

    year = int(context.partition_key)
    folder = CurationFolder.of(run_context.layout)
    with clear_failures(run_context, run_log):
        pages = DecisionLog(folder.decisions).read()
        path = folder.model(year)
        model = load_model(path) if path.exists() else None
        known = learn(run_context.layout.release(year), fusion=fusion_of(pages), model=model)
        options = CandidateOptions(seconds=seconds_of(pages))
        counts = write_candidates(known, folder.candidates(year), options=options)
        clear_if_removed(run_context.layout)
    return dg.MaterializeResult(
        metadata={
            "missing": counts["+"],
            "wrong": counts["-"],
            ANSWERS: count_answers(pages),
            "calibrated": known.fusion is not None,
            **where(folder.candidates(year)),
        }
    )


@_of_a_release(kind="json", after=tag_candidates)
def tag_quality(
    context: dg.AssetExecutionContext, run_context: dg.ResourceParam[RunContext], run_log: dg.ResourceParam[RunLog]
) -> dg.MaterializeResult:
    """Precision and recall by tag, what review has cost, and how candidates fared with users of the site since."""
    from danbooru_pipeline.curate.estimate import measure  # noqa: PLC0415
    from danbooru_pipeline.curate.quality_page import write_measured  # noqa: PLC0415

    year = int(context.partition_key)
    folder = CurationFolder.of(run_context.layout)
    with clear_failures(run_context, run_log):
        quality = measure(
            run_context.layout.release(year),
            folder,
            DecisionLog(folder.decisions).read(),
            now=run_context.now(),
            newer=_next_release(run_context, year),
        )
        write_measured(quality, folder, year)
    proposed = quality.next_year.proposed if quality.next_year else 0
    return dg.MaterializeResult(
        metadata={
            "answers": quality.answers,
            "hours": quality.seconds / 3600,
            "tags_judged": len(quality.tags),
            "disputed": quality.open_disputes,
            "calibration_error": quality.yes_by_score.error,
            "true_by_next_year": quality.next_year.done / proposed if quality.next_year and proposed else 0.0,
            "table": dg.MetadataValue.md("\n".join(quality.lines())),
            **where(folder.page),
        }
    )


def _next_release(run_context: RunContext, year: int) -> Path | None:
    return next((folder for other, folder in sorted(published(run_context.layout).items()) if other > year), None)


learn_tags = dg.define_asset_job(
    "learn_tags",
    selection=[tag_model, tag_candidates, tag_quality],
    description="Trains the tag model of a release, finds its candidates and measures its tags.",
)


@dg.schedule(
    job=learn_tags,
    cron_schedule="45 4 * * *",
    execution_timezone="UTC",
    default_status=SCHEDULE_STATUS,
    description="Each night, once 10,000 answers came since the candidates of the newest release were found.",
)
def relearn_tags(
    context: dg.ScheduleEvaluationContext, run_context: dg.ResourceParam[RunContext]
) -> dg.RunRequest | dg.SkipReason:
    """Answers calibrate and join the signals; training the model itself on them again gains next to nothing."""
    return request_learning(context.instance, run_context)


def request_learning(instance: dg.DagsterInstance, run_context: RunContext) -> dg.RunRequest | dg.SkipReason:
    """A run for the newest release if enough answers came since its candidates were found, or why there is none."""
    years = published(run_context.layout)
    answers = count_answers(DecisionLog(CurationFolder.of(run_context.layout).decisions).read())
    event = instance.get_latest_materialization_event(tag_candidates.key)
    metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
    value = metadata[ANSWERS].value if ANSWERS in metadata else 0
    new = answers - (value if isinstance(value, int) else 0)
    if not years or new < RETRAIN_ANSWERS:
        return dg.SkipReason(f"{new:,} new answers; from {RETRAIN_ANSWERS:,} on they are learnt from")
    return dg.RunRequest(partition_key=str(max(years)))
