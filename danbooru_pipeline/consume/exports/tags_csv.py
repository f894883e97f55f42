"""Tags as autocomplete tools read them: ``name,category,count,"alias,alias"`` without a header, most posts first.

Readers split a line at its commas, so there is nothing after the aliases: deprecated tags are in a file of their own
beside it, unless the caller wants them in the list, marked in a fifth column or not.
"""

import csv
from dataclasses import dataclass
from typing import Final, Literal

from danbooru_pipeline.consume.exports.frame import Form, Job
from danbooru_pipeline.consume.exports.used_tags import UsedTag, count_used_tags, open_side_table, used_tags
from danbooru_pipeline.consume.windows import ChosenRows
from danbooru_pipeline.io.odd_columns import text_sql

DEPRECATED: Final = "deprecated.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of `tags-csv`.

    Attributes:
        min_posts: fewest posts of a tag, among those that were chosen.
        deprecated: where deprecated tags go: ``apart``, ``mark`` (a fifth column says so) or ``keep``.
        header: whether the first line names the columns.
    """

    min_posts: int = 1
    deprecated: Literal["apart", "mark", "keep"] = "apart"
    header: bool = False


def write(job: Job) -> None:
    """Write the table."""
    options: Options = job.options
    rows = job.chosen.rows
    count_used_tags(rows)
    aliases = _aliases(rows)
    marked = options.deprecated == "mark"
    apart = (job.target / DEPRECATED).open("w", newline="", encoding="utf-8") if options.deprecated == "apart" else None
    with job.file.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        others = table if apart is None else csv.writer(apart, lineterminator="\n")
        if options.header:
            table.writerow(("name", "category", "count", "aliases", *(("deprecated",) if marked else ())))
        for tag in used_tags(rows):
            if tag.posts >= options.min_posts:
                mark = ("deprecated",) if marked and tag.is_deprecated else ()
                target = others if tag.is_deprecated else table
                target.writerow((*_row(tag, aliases.get(tag.name, ())), *mark))
    if apart is not None:
        apart.close()
        job.notes.append(f"Tags that the site has deprecated are in `{job.name}.{DEPRECATED}`.")
    job.written = job.chosen.posts
    job.meter.count_step(job.chosen.posts)


def _row(tag: UsedTag, aliases: tuple[str, ...] | list[str]) -> tuple[object, ...]:
    return (tag.name, tag.category, tag.posts, ",".join(aliases))


def _aliases(rows: ChosenRows) -> dict[str, list[str]]:
    columns = open_side_table(rows, "tag_aliases")
    if not {"antecedent_name", "consequent_name", "status"} <= columns.keys():
        return {}
    query = (
        f"SELECT {text_sql('consequent_name')} AS name, list(old ORDER BY old) AS aliases FROM "
        f"(SELECT *, {text_sql('antecedent_name')} AS old FROM side_tag_aliases WHERE {text_sql('status')} = 'active') "
        "WHERE old IS NOT NULL GROUP BY 1"
    )
    return {row["name"]: row["aliases"] for row in rows.dicts(query)}


FORM = Form(
    write=write,
    options=Options,
    is_file=True,
    takes_files=False,
    select=lambda selection, _options, _about: selection,
    size=lambda posts, _size, _options: 40 * min(1_000_000, 30 * posts),
)
