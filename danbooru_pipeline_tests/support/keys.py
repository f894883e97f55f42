"""Keys that sign releases."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from danbooru_pipeline.release import DocumentOptions, Release, apply_snapshot, plan_snapshot
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

#: Files that bear a signature, and are more than it, or it in another form.
SIGNATURES_WITH_MORE: dict[str, Callable[[bytes], bytes]] = {
    "text behind": lambda data: data + b"trust me\n",
    "a newline behind": lambda data: data + b"\n",
    "a zero behind": lambda data: data + b"\0",
    "text before": lambda data: b"trust me\n" + data,
    "two": lambda data: data + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "no last newline": lambda data: data[:-1],
    "a space in it": lambda data: data.replace(b"\nU1NI", b"\n U1NI"),
    "one line": lambda data: (
        data.replace(b"\n", b"").replace(b"-----U", b"-----\nU").replace(b"-----END", b"\n-----END") + b"\n"
    ),
}


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
