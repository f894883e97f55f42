"""What programs are told about the files of a release is what these are, though all sums were made again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release_paths import BROWSE_RELEASE, CROISSANT, DATACITE
from danbooru_pipeline_tests.support.damage import edit_json, resum, with_column, with_footer_of

Change = Callable[[dict[str, Any]], object]


def of_page(place: int, value: object) -> Change:
    """Let the list of the page say something else of the first file of posts."""

    def change(said: dict[str, Any]) -> None:
        said["tables"]["posts"][0][place] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (CROISSANT, lambda said: said["distribution"][0].update(sha256="0" * 64)),
        (CROISSANT, lambda said: said["distribution"][0].update(contentSize="1 B")),
        (CROISSANT, lambda said: said["distribution"][0].update(contentUrl="../outside")),
        (CROISSANT, lambda said: said.update(name="danbooru1999")),
        (CROISSANT, lambda said: said.pop("distribution")),
        (DATACITE, lambda said: said["titles"][0].update(title="Danbooru1999: A Dataset")),
        (DATACITE, lambda said: said.update(version="2021.9")),
        (DATACITE, lambda said: said.update(publicationYear="1999")),
        (DATACITE, lambda said: said["sizes"].reverse()),
        (DATACITE, lambda said: said["descriptions"][0].update(description="Danbooru2021: 999 posts.")),
        (DATACITE, lambda said: said.clear()),
        (BROWSE_RELEASE, of_page(0, "parquet/another-00000-of-00001.parquet")),
        (BROWSE_RELEASE, of_page(1, 1)),
        (BROWSE_RELEASE, of_page(2, 1)),
        (BROWSE_RELEASE, lambda said: said.update(version="2021.9")),
        (BROWSE_RELEASE, lambda said: said.update(tables=None)),
    ],
)
def test_a_false_description_is_found(copy: Path, name: str, change: Change) -> None:
    """A digest, size, count of rows, name or version that is not that of the file or the release is a finding."""
    edit_json(copy / name, change)
    resum(copy)
    report = verify_release(copy, full=True)
    assert {(finding.kind, finding.where) for finding in report.findings} == {(Kind.PAPER_DIFFERS, name)}


@pytest.mark.parametrize("full", [True, False])
def test_a_footer_that_hides_rows_is_found(copy: Path, full: bool) -> None:  # noqa: FBT001 - as verify has it
    """An id that the footer denies, so that readers who ask for it pass over its rows, is found with `--full`."""
    path = copy / "parquet/posts-00000-of-00001.parquet"
    posts = pq.read_table(path)
    path.unlink()
    with_footer_of(path, posts, with_column("id", lambda ids: [id_ + 1 for id_ in ids])(posts))
    resum(copy)
    kinds = {(finding.kind, finding.where) for finding in verify_release(copy, full=full).findings}
    found = (Kind.PARQUET_UNREADABLE, "parquet/posts-00000-of-00001.parquet")
    assert (found in kinds) == full
