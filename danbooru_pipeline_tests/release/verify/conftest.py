"""Danbooru2022 as an attacker gets it: signed, with a year before it, made once and copied for each test."""

from pathlib import Path

import pytest

from danbooru_pipeline.release import DocumentOptions, apply_snapshot, apply_takedown, plan_snapshot, plan_takedown
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline_tests.support.damage import linked_copy
from danbooru_pipeline_tests.support.keys import make_key
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard, next_year, small_yard

TABLES = {
    "tags": b"".join(
        b'{"id":"%d","name":"tag_%d","post_count":"12","created_at":"2021-01-02 03:04:05.6 UTC","is_used":false}\n'
        % (number, number)
        for number in range(7)
    ),
    "notes": b'{"id":"1","post_id":"1002","x":"5","body":"a & b","is_active":true}\n',
}


@pytest.fixture(scope="session")
def _signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both releases and the key that signed them. One post was taken down."""
    root = tmp_path_factory.mktemp("signed")
    key = make_key(root / "key")
    yard = small_yard(root / "root")
    yard.tables |= TABLES
    for number in range(20, 26):
        yard.post(
            number * 1000 + 2,
            rating="sqe"[number % 3],
            tag_string=f"1girl artist_{number % 3}",
            tag_string_general="1girl",
            tag_string_artist=f"artist_{number % 3}",
            tag_string_meta="",
        )
    _snapshot(yard, DocumentOptions(signer=public_key(key)), key)
    later = next_year(yard)  # changes files of the store
    _snapshot(later, DocumentOptions(signer=public_key(key), dialect_2017=True), key)
    apply_takedown(plan_takedown(later.layout, [2003]), created_at=NOW, threads=1, signing_key=key)
    (root / "signers").write_bytes((later.layout.release(2022) / "allowed_signers").read_bytes())
    return root


def _snapshot(yard: Yard, options: DocumentOptions, key: Path) -> None:
    yard.manifest()
    plan = plan_snapshot(yard.layout, yard.year, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=2, signing_key=key)


@pytest.fixture
def later(_signed: Path, tmp_path: Path) -> Path:
    """Danbooru2022, to be damaged through `support.damage`."""
    return linked_copy(_signed / "root/releases/danbooru2022", tmp_path / "danbooru2022")


@pytest.fixture
def earlier(_signed: Path, tmp_path: Path) -> Path:
    """Danbooru2021, likewise."""
    return linked_copy(_signed / "root/releases/danbooru2021", tmp_path / "danbooru2021")


@pytest.fixture
def signers(_signed: Path) -> Path:
    """The key that its user trusts."""
    return _signed / "signers"
