"""What `verify` says of a statement of provenance that is not this release's."""

import json
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.io.sha256 import sha256_of
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.provenance import PROVENANCE


def altered(copy: Path, **changes: Any) -> list[str]:
    """The findings about the statement after it was changed, and listed so by SHA256SUMS."""
    path, sums = copy / PROVENANCE, copy / "SHA256SUMS"
    before, said = sha256_of(path), json.loads(path.read_bytes())
    path.write_text(json.dumps(said | changes) + "\n")
    sums.write_text(sums.read_text().replace(before, sha256_of(path)))
    return [str(each) for each in verify_release(copy).findings if each.kind == "provenance_differs"]


def test_statement_of_a_release_verifies(copy: Path) -> None:
    """Every new release has one, and nothing is found."""
    assert (copy / PROVENANCE).is_file()
    assert verify_release(copy).ok


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"_type": "https://example.org/Statement"}, "no statement"),
        ({"subject": []}, "is not in its subjects"),
        ({"subject": [{"name": "README.md", "digest": {"sha256": "0" * 64}}]}, "the digest of README.md"),
        ({"subject": [{"name": "nothing", "digest": {"sha256": "0" * 64}}]}, "nothing is not in SHA256SUMS"),
        ({"predicate": {}}, "cannot be read"),
        ({"subject": 7}, "cannot be read"),
    ],
)
def test_wrong_statement_is_found(copy: Path, changes: dict[str, Any], said: str) -> None:
    """Other subjects, digests or forms are findings, whatever SHA256SUMS says of the file."""
    assert any(said in line for line in altered(copy, **changes))


def test_statement_of_another_version_is_found(copy: Path) -> None:
    """It names the release, its version, inputs and settings."""
    said = json.loads((copy / PROVENANCE).read_bytes())
    said["predicate"]["buildDefinition"]["externalParameters"]["version"] = "2021.7"
    assert any("version is not what RELEASE.json says" in line for line in altered(copy, **said))
