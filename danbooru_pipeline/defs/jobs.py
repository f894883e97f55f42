"""How a job of the operator is made: one op with a form, the errors of `clear_failures`, and a report in its run.

What the jobs do is in `operations`, `backfills`, `imports`, `follow`, `mirrors` and `scrub`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dagster as dg

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.defs.reports import bullets, show
from danbooru_pipeline.defs.run_log import RunLog
from danbooru_pipeline.defs.runs import clear_failures


@dataclass(frozen=True, slots=True)
class Desk:
    """What a job works with: its run in Dagster, and the resources of the run."""

    run: dg.OpExecutionContext
    run_context: RunContext
    run_log: RunLog


@dataclass(frozen=True, slots=True)
class Report:
    """What a job shows in its run.

    Attributes:
        lines: for people.
        table: whether the lines are a table of Markdown already.
        failed: what is wrong, if anything is: the run fails with it.
        numbers: further metadata.
    """

    lines: Sequence[str]
    table: bool = False
    failed: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


C = TypeVar("C", bound=dg.Config)


def operator_job(
    name: str, *, description: str, config: type[C], pool: str | None = None
) -> Callable[[Callable[[Desk, C], Report]], dg.JobDefinition]:
    """Make a function the only op of a job; its docstring is what the UI says of the op, `config` its form."""

    def make(work: Callable[[Desk, C], Report]) -> dg.JobDefinition:
        @dg.op(
            name=work.__name__,
            description=work.__doc__,
            out=dg.Out(dg.Nothing),
            config_schema=config.to_fields_dict(),
            required_resource_keys={"run_context", "run_log"},
            pool=pool,
        )
        def run_work(context: dg.OpExecutionContext) -> None:
            desk = Desk(context, context.resources.run_context, context.resources.run_log)
            with clear_failures(desk.run_context, desk.run_log):
                report = work(desk, config(**context.op_config))
            _end(context, report)

        @dg.job(name=name, description=description)
        def job() -> None:
            run_work()

        return job

    return make


def _end(context: dg.OpExecutionContext, report: Report) -> None:
    """Put the report into the run.

    Raises:
        Failure: with what is wrong, if anything is.
    """
    lines = report.lines if report.table else bullets(report.lines)
    metadata = {"report": show(lines), **report.numbers}
    if report.failed:
        raise dg.Failure(description=report.failed, metadata=metadata, allow_retries=False)
    context.add_output_metadata(metadata)
