"""The documents that follow from RELEASE.json and the release's own tables: name and bytes of each.

Who makes a release writes them; who verifies one that the same code made compares them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from danbooru_pipeline.release.documents.croissant import croissant
from danbooru_pipeline.release.documents.datacite import datacite
from danbooru_pipeline.release.documents.history import ORIGINAL_CITATION
from danbooru_pipeline.release.documents.page import Sample, render_page
from danbooru_pipeline.release.release_json import Release
from danbooru_pipeline.release.templating import render
from danbooru_pipeline.release_paths import CROISSANT, DATACITE, PAGE, TEXTS


def rendered(
    folder: Path, release: Release, values: Mapping[str, Any], *, archive: str, samples: Sequence[Sample]
) -> Iterator[tuple[str, bytes]]:
    """Render them.

    Args:
        folder: of the release, whose tables are written.
        release: its RELEASE.json.
        values: from `document_values`.
        archive: SHA-256 of the archive of the metadata.
        samples: thumbnails of the page.
    """
    yield CROISSANT, croissant(folder, release, values, archive=archive)
    yield DATACITE, datacite(release, values)
    yield PAGE, render_page(values, samples)
    for name in TEXTS:
        yield name, render(name, **values, original=ORIGINAL_CITATION)
