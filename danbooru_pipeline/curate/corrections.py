"""What reviewers agreed on, as the table from which releases take their corrections (`release.tables.corrections`)."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from danbooru_pipeline.curate.decisions import standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import DecisionLog, Page
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.tables.corrections import DECIDED_SCHEMA
from danbooru_pipeline.release.takedown.curation import clear_if_removed


def decided_rows(pages: Iterable[Page]) -> list[dict[str, Any]]:
    """A row for each post and tag that reviewers agreed to change, sorted; reviewers are counted, not named."""
    rows = []
    for (post, tag), standing in sorted(standings(pages).items()):
        sign = standing.agreed()
        if sign is None:
            continue
        said = [answer for answer in standing.by.values() if answer.verdict == sign]
        rows.append(
            {
                "post_id": post,
                "tag": tag,
                "sign": sign,
                "reviewers": len(said),
                "decided_at": standing.at,
                "decided_in": standing.release,
                "p": said[-1].p,
                "evidence": said[-1].evidence,
                "md5": said[-1].md5,
            }
        )
    return rows


def write_decided(layout: Layout) -> int:
    """Write the table from the log; the next release of any year takes it up. Returns its rows."""
    rows = decided_rows(DecisionLog(CurationFolder.of(layout).decisions).read())
    table = pa.Table.from_pylist(rows, DECIDED_SCHEMA)
    write_parquet(layout.decided, iter([table]), schema=DECIDED_SCHEMA, dictionary=())
    clear_if_removed(layout)
    return len(rows)
