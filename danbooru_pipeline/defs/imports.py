"""The import of files that exist elsewhere as a job of the UI; what it took is the history of an external asset."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.described import described
from danbooru_pipeline.defs.jobs import Desk, Report, operator_job
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.runs import SHOWN
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.imports import import_files, open_holdings


class ImportConfig(dg.Config):
    """What to import: paths on the machine that runs it, and the options of ``danbooru-pipeline import``."""

    paths: list[str] = Field(description="releases, trees, tars or folders by MD5, on the machine that runs it")
    year: int | None = Field(default=None, description="whose posts say what is wanted; by default the newest")
    move: bool = Field(default=False, description="remove what was taken from where it was")
    dry_run: bool = Field(default=True, description="only judge what is there; switch it off to take it")


imported_files = dg.AssetSpec(
    "imported_files",
    group_name="store",
    kinds={"file"},
    owners=OWNERS,
    metadata=described(runbook="restoring-from-the-last-release"),
    description=(
        "Originals that exist elsewhere (releases, trees, tars, folders by MD5), each taken only if it is proven. "
        "The job import_store makes it."
    ),
)


@operator_job(
    "import_store",
    description="Takes originals that exist elsewhere; shows what it would take first (dry_run).",
    config=ImportConfig,
    pool="image_cpu",
)
def take_files(desk: Desk, config: ImportConfig) -> Report:
    """Judge every candidate, and take what is proven."""
    with Meter("import", report=desk.run.log.info) as meter:
        report = import_files(
            desk.run_context,
            open_holdings(map(Path, config.paths)),
            year=config.year,
            move=config.move,
            dry_run=config.dry_run,
            meter=meter,
        )
    numbers: dict[str, Any] = {
        "wanted": report.wanted,
        "taken": report.taken,
        "bytes": report.bytes,
        "linked": report.linked,
        "px512": report.px512,
        "cleared": report.cleared,
        "kept": report.kept,
        "left": report.left,
        "left_bytes": report.left_bytes,
        **{f"outcome_{name}": count for name, count in sorted(report.outcomes.items())},
        "problems": show(bullets(report.problems[:SHOWN])),
    }
    if not config.dry_run:
        desk.run.log_event(dg.AssetMaterialization(imported_files.key, metadata=numbers))
    return Report(report.lines())
