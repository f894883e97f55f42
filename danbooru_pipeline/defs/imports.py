"""The import of files that exist elsewhere as a job of the UI; what it took is the history of an external asset."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import SHOWN, clear_failures
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
    description=(
        "Originals that exist elsewhere (releases, trees, tars, folders by MD5), each taken only if it is proven. "
        "The job import_store makes it."
    ),
)


@dg.op(out=dg.Out(dg.Nothing), pool="image_cpu")
def take_files(
    context: dg.OpExecutionContext,
    config: ImportConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> None:
    """Judge every candidate, and take what is proven."""
    with clear_failures(toolbox, run_log), Meter("import", report=context.log.info) as meter:
        report = import_files(
            toolbox,
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
        "left": report.left,
        "left_bytes": report.left_bytes,
        **{f"outcome_{name}": count for name, count in sorted(report.outcomes.items())},
        "problems": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.problems[:SHOWN]) or "none"),
    }
    context.add_output_metadata({"report": show(bullets(report.lines()))})
    if not config.dry_run:
        context.log_event(dg.AssetMaterialization(imported_files.key, metadata=numbers))


@dg.job(description="Takes originals that exist elsewhere; shows what it would take first (dry_run).")
def import_store() -> None:
    """One op."""
    take_files()
