"""The variables of the templates: all that a document may say of a release, from RELEASE.json and its own tables."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from danbooru_pipeline.io.parquet import row_count
from danbooru_pipeline.release.documents.history import ORIGINALS
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.documents.statistics import Statistics, gather_statistics
from danbooru_pipeline.release.documents.wording import (
    citation_key,
    continued,
    kept_despite,
    missing,
    preprocessing,
    previous_event,
    rating_names,
    rating_to_select,
    size_category,
    sources_read,
)
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.tables.search_index import shards_of
from danbooru_pipeline.release.tables.side_tables import side_table_files
from danbooru_pipeline.release.tables.tag_totals import TABLE as TAG_COUNTS
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release_paths import DUPLICATES, POST_VECTORS, TAG_VECTORS, WEBDATASET


def document_values(
    folder: Path,
    release: Release,
    options: DocumentOptions,
    *,
    labels: Sequence[str],
    threads: int,
    spill: Path | None = None,
) -> dict[str, Any]:
    """The variables for a release whose tables are written.

    Args:
        folder: of the release, or of a tree that becomes one; nothing is written there.
        release: its RELEASE.json.
        options: what the operator chose.
        labels: of its lists of changes, in the order in which documents name them.
        threads: for counting.
        spill: where counting may write what does not fit in memory.
    """
    numbers = gather_statistics(folder, sfw=release.sfw_ratings, threads=threads, spill=spill)
    shards = sum(1 for _ in (folder / WEBDATASET).glob("*.tar"))
    values = {**_of_operator(release, options), **_of_release(release, numbers), "labels": labels, "shards": shards}
    values["tables"] = loadable_tables(folder, release)
    values["citation"] = render("citation.bib", **values, original="").decode().strip()
    return values


def _of_operator(release: Release, options: DocumentOptions) -> dict[str, Any]:
    return {
        "maker": options.maker,
        "contact": options.contact,
        "url": options.url,
        "address": address_of(release, options),
        "signer": options.signer,
        "torrent": options.torrent,
    }


def _of_release(release: Release, numbers: Statistics) -> dict[str, Any]:
    return {
        "release": release,
        "title": f"Danbooru{release.year}",
        "stats": numbers,
        "day": release.created_at[:10],
        "month": datetime.fromisoformat(release.created_at).strftime("%B"),
        "events": [*release.history, release.event],
        "originals": ORIGINALS,
        "missing": missing,
        "kept_despite": kept_despite(release),
        "preprocessing": list(preprocessing(numbers)),
        "sources": list(sources_read(release)),
        "ratings": rating_names(release.year),
        "rating_to_select": rating_to_select(release, numbers),
        "size_category": size_category(release.counts.posts),
        "previous": previous_event(release),
        "continued": continued(release.year),
        "citation_key": citation_key(release.year),
    }


def address_of(release: Release, options: DocumentOptions) -> str:
    """Where the release is served; empty if the operator did not say."""
    return f"{options.url}/{release.name}/" if options.url else ""


def loadable_tables(folder: Path, release: Release) -> dict[str, str]:
    """Table -> its files, of those that can be loaded by name: readers fail at a table without rows."""
    shards = shards_of(folder)
    side = side_table_files(folder, release.year)
    names = ("posts", "files", *side, TAG_COUNTS, DUPLICATES, TAG_VECTORS, POST_VECTORS)
    filled = (name for name in names if sum(row_count(folder / path) for path in shards.get(name, ())))
    return {name: f"{'manifest' if name == 'files' else 'parquet'}/{name}-*.parquet" for name in filled}
