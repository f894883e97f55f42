"""RELEASE.json: the same bytes as ever, and readable across versions."""

from pathlib import Path

import pytest

from danbooru_pipeline.errors import NotARelease, ReleaseError
from danbooru_pipeline.release.release_json import (
    Bytes,
    CategoryCount,
    Counts,
    DuplicateCounts,
    Event,
    Inputs,
    Release,
    ReleaseRef,
    TagStatistics,
    Tool,
    content_of,
    read_release,
    text_of,
    version_after,
    write_release,
)
from danbooru_pipeline.release_paths import RELEASE_JSON

RELEASE = Release(
    name="danbooru2021",
    year=2021,
    version="2021.1",
    cutoff="2021-12-31T23:59:59.999Z",
    last_id=7,
    sfw_ratings=["s"],
    counts=Counts(posts=2, originals=1, px512=1, tags=3, tag_instances=4, pending=0, rejected=1),
    bytes=Bytes(originals=100, px512=50, saved=10),
    reasons={"original": {"gone": 1}, "px512": {}},
    sources=[{"name": "api", "of_tomorrow": 1.5}],
    image_settings={"px512_quality": 90},
    inputs=Inputs(manifest="m", posts="p", side_tables={"tags": "t"}),
    previous=None,
    replaces=ReleaseRef(name="danbooru2021", version="2021.0", sha256sums_sha256="r"),
    options={"maker": "é"},
    history=[
        Event(
            name="danbooru2021",
            version="2021.0",
            created_at="2022-01-21T12:00:00.000Z",
            posts=2,
            originals=1,
            bytes=150,
            tags=3,
            tag_instances=4,
            last_id=7,
        )
    ],
    tag_statistics=TagStatistics(
        posts=2,
        tags=3,
        tag_instances=4,
        tags_per_post={"mean": 2.0},
        new_tags=1,
        by_category={"general": CategoryCount(tags=3, new=1, instances=4)},
    ),
    duplicates=DuplicateCounts(identical=2, unlinked=1),
    taken_down=1,
    sha256sums_sha256="s",
    created_at="2022-01-22T12:00:00.000Z",
    tool=Tool(name="danbooru-pipeline", version="0"),
)
#: Up to `tool`, which says what made the release.
TEXT = """{
  "name": "danbooru2021",
  "year": 2021,
  "version": "2021.1",
  "cutoff": "2021-12-31T23:59:59.999Z",
  "last_id": 7,
  "sfw_ratings": [
    "s"
  ],
  "counts": {
    "posts": 2,
    "originals": 1,
    "px512": 1,
    "tags": 3,
    "tag_instances": 4,
    "pending": 0,
    "rejected": 1
  },
  "bytes": {
    "originals": 100,
    "px512": 50,
    "saved": 10
  },
  "reasons": {
    "original": {
      "gone": 1
    },
    "px512": {}
  },
  "sources": [
    {
      "name": "api",
      "of_tomorrow": 1.5
    }
  ],
  "image_settings": {
    "px512_quality": 90
  },
  "inputs": {
    "manifest": "m",
    "posts": "p",
    "side_tables": {
      "tags": "t"
    }
  },
  "previous": null,
  "replaces": {
    "name": "danbooru2021",
    "version": "2021.0",
    "sha256sums_sha256": "r"
  },
  "options": {
    "maker": "é"
  },
  "history": [
    {
      "name": "danbooru2021",
      "version": "2021.0",
      "created_at": "2022-01-21T12:00:00.000Z",
      "posts": 2,
      "originals": 1,
      "bytes": 150,
      "tags": 3,
      "tag_instances": 4,
      "last_id": 7,
      "removed": 0
    }
  ],
  "tag_statistics": {
    "posts": 2,
    "tags": 3,
    "tag_instances": 4,
    "tags_per_post": {
      "mean": 2.0
    },
    "new_tags": 1,
    "by_category": {
      "general": {
        "tags": 3,
        "new": 1,
        "instances": 4
      }
    },
    "by_rating": {}
  },
  "duplicates": {
    "identical": 2,
    "recompressed": 0,
    "cropped": 0,
    "variant": 0,
    "unlinked": 1
  },
  "taken_down": 1,
  "sha256sums_sha256": "s",
  "created_at": "2022-01-22T12:00:00.000Z",
  "tool": {
"""


def test_release_json_keeps_its_bytes(tmp_path: Path) -> None:
    """The file has the keys, their order and the formatting of every version so far, is read-only, and comes back."""
    write_release(tmp_path, RELEASE)
    path = tmp_path / RELEASE_JSON
    text = path.read_text()
    assert text.startswith(TEXT)
    assert text.endswith("\n  }\n}\n")
    assert path.stat().st_mode & 0o777 == 0o444
    assert read_release(tmp_path) == RELEASE
    assert version_after(RELEASE.version) == "2021.2"


def test_keys_of_other_versions_are_no_error(tmp_path: Path) -> None:
    """Keys that a later version adds are skipped, and keys that an earlier one did not write have their defaults."""
    lines = [line for line in TEXT.splitlines() if '"taken_down"' not in line]
    (tmp_path / RELEASE_JSON).write_text("\n".join(lines) + '"name": "x", "version": "1", "new": {}}, "newer": []}')
    release = read_release(tmp_path)
    assert (release.taken_down, release.counts, release.sources) == (0, RELEASE.counts, RELEASE.sources)


def test_folder_without_or_with_a_damaged_release_json_says_so(tmp_path: Path) -> None:
    """A folder without the file is not a release; with a damaged one it is a release that cannot be read."""
    with pytest.raises(NotARelease, match="finished release"):
        read_release(tmp_path)
    for data in (b"{", b"[]", b'{"name": "danbooru2021"}'):
        (tmp_path / RELEASE_JSON).write_bytes(data)
        with pytest.raises(ReleaseError, match="cannot be read"):
            read_release(tmp_path)


def test_text_follows_from_its_content_and_its_sums(tmp_path: Path) -> None:
    """With the line that names SHA256SUMS in its place, the content is RELEASE.json again; of others there is none."""
    write_release(tmp_path, RELEASE)
    text = (tmp_path / RELEASE_JSON).read_bytes()
    assert text_of(content_of(text), RELEASE.sha256sums_sha256) == text
    assert text_of(b'{\n  "name": "danbooru2021"\n}\n', "") is None
