"""Keys that sign releases."""

import subprocess
from pathlib import Path

from danbooru_pipeline.release import DocumentOptions, Release, apply_snapshot, plan_snapshot
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard


def make_key(path: Path, *, passphrase: str = "") -> Path:
    """A private key, and its public half beside it."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def signed_snapshot(yard: Yard, key: Path | None) -> Release:
    """The release of a yard as a build makes it with this key, or without any."""
    options = DocumentOptions(signer=public_key(key) if key else "")
    plan = plan_snapshot(yard.layout, yard.year, image_settings=IMAGE_SETTINGS, options=options)
    return apply_snapshot(plan, created_at=NOW, threads=2, signing_key=key)
