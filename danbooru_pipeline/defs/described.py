"""What the UI shows of an asset beside its sentence, under the names that Dagster knows: columns, place, runbook.

Columns come from the schemas of the files and the table of file facts; nothing is declared here.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import dagster as dg
import pyarrow as pa

from danbooru_pipeline.defs.reports import show
from danbooru_pipeline.settings import settings_in_force

_NO_MEANINGS: Final[Mapping[str, str]] = MappingProxyType({})


def described(
    *, runbook: str, schema: pa.Schema | None = None, meanings: Mapping[str, str] = _NO_MEANINGS
) -> dict[str, Any]:
    """Metadata of a definition: the section of the runbook for when it fails, and its columns if it is a table."""
    metadata: dict[str, Any] = {"runbook": dg.MetadataValue.text(f"docs/runbook.md#{runbook}")}
    if schema is not None:
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[
                dg.TableColumn(
                    name=field.name,
                    type=str(field.type),
                    description=meanings.get(field.name),
                    constraints=dg.TableColumnConstraints(nullable=field.nullable),
                )
                for field in schema
            ]
        )
    return metadata


def where(path: Path) -> dict[str, Any]:
    """Where a materialisation is: a path to copy, and an address."""
    return {"path": dg.MetadataValue.path(path), "dagster/uri": path.absolute().as_uri()}


def settings_metadata() -> dg.MarkdownMetadataValue:
    """The settings in force in this process, as a table; secrets are masked."""
    rows = [f"| `{each.name}` | {each.text.replace('|', '/')} | {each.origin} |" for each in settings_in_force()]
    return show(["| setting | value | from |", "|---|---|---|", *rows])
