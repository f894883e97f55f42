"""The import of files that exist elsewhere as an asset, so that it can be started and followed in the UI."""

from pathlib import Path

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.automation import OWNERS
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import SHOWN, clear_failures
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.store.imports import import_files, open_holdings


class ImportConfig(dg.Config):
    """What to import: paths on the machine that runs it, and the options of ``danbooru-pipeline import``."""

    paths: list[str]
    year: int | None = None
    move: bool = False
    dry_run: bool = False


@dg.asset(group_name="store", kinds={"file"}, owners=OWNERS, pool="image_cpu")
def imported_files(
    context: dg.AssetExecutionContext,
    config: ImportConfig,
    toolbox: dg.ResourceParam[RunContext],
    run_log: dg.ResourceParam[RunLog],
) -> dg.MaterializeResult:
    """Originals that exist elsewhere (releases, trees, tars, folders by MD5), each taken only if it is proven."""
    with clear_failures(toolbox, run_log), Meter("import", report=context.log.info) as meter:
        report = import_files(
            toolbox,
            open_holdings(map(Path, config.paths)),
            year=config.year,
            move=config.move,
            dry_run=config.dry_run,
            meter=meter,
        )
    return dg.MaterializeResult(
        metadata={
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
    )


import_store = dg.define_asset_job(
    "import_store",
    selection=dg.AssetSelection.assets(imported_files),
    description="Takes originals that exist elsewhere; give the paths in the launchpad.",
)
