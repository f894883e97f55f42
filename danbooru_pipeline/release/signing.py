"""Signatures over SHA256SUMS by ``ssh-keygen -Y``: neither side has to install anything.

SHA256SUMS covers every file of a release, and with `release_json.CONTENT` what RELEASE.json says, so its signature does
too. ``allowed_signers`` in the release says which key
signed it; to prove more than integrity, compare that key with one from another place.
"""

import re
import subprocess
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from danbooru_pipeline.errors import SettingsError, StoreError
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.release_paths import ALLOWED_SIGNERS, SHA256SUMS, SIGNATURE

NAMESPACE = "danbooru-release"
IDENTITY = "danbooru-release"
_SECONDS = 60
#: The most bytes that are read of a signature, or of a list of keys.
LONGEST_SIGNATURE = 2**20
_LONGEST = 64 * 2**20
#: What ssh-keygen writes, to the last byte. What stands before or behind it, it passes over as it reads.
_ARMORED: Final = re.compile(
    rb"-----BEGIN SSH SIGNATURE-----\n"
    rb"(?:[A-Za-z0-9+/]{70}\n)*(?=[^\n]{1,70}\n)[A-Za-z0-9+/]+={0,2}\n"
    rb"-----END SSH SIGNATURE-----\n"
)


class Signature(StrEnum):
    """What is known about a release's signature."""

    NONE = "none"
    GOOD = "good"
    BAD = "bad"
    UNTRUSTED = "untrusted"  # good, and by a key that may not sign: another one, not for releases, or out of its time
    UNCHECKED = "unchecked"


def public_key(key: Path) -> str:
    """The public half of a private key, as ``ssh-ed25519 AAAA…``.

    Raises:
        SettingsError: ssh-keygen cannot read the key, which may have a passphrase or another form, or is not installed.
    """
    try:
        command = ["ssh-keygen", "-y", "-P", "", "-f", str(key)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603
    except FileNotFoundError:
        raise SettingsError(
            "ssh-keygen is not installed; install the OpenSSH client, or unset DANBOORU_SIGNING_KEY"
        ) from None
    if done.returncode:
        said = re.sub(r'^Load key ".*": ', "", (done.stderr.splitlines() or ["it says nothing"])[-1])
        raise SettingsError(
            f"ssh-keygen cannot read DANBOORU_SIGNING_KEY {key} ({said}); give it a private key of its own form "
            "without passphrase, that only you may read: ssh-keygen -t ed25519 -N '' -f FILE makes one"
        )
    return " ".join(done.stdout.split()[:2])


def allowed_signers(signer: str) -> bytes:
    """The content of ``allowed_signers``: the one key that may sign."""
    return f'{IDENTITY} namespaces="{NAMESPACE}" {signer}\n'.encode()


def sign_sums(folder: Path, key: Path) -> None:
    """Write SHA256SUMS.sig, read-only.

    Raises:
        StoreError: ssh-keygen cannot sign.
    """
    # `-q` and no terminal: a key with a passphrase fails instead of prompting.
    data = (folder / SHA256SUMS).read_bytes()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=_SECONDS)  # noqa: S603
    if done.returncode:
        raise StoreError(
            f"ssh-keygen cannot sign ({done.stderr.decode(errors='replace').strip()}); see DANBOORU_SIGNING_KEY"
        )
    write_atomic(folder / SIGNATURE, done.stdout)
    (folder / SIGNATURE).chmod(0o444)


def has_signature(folder: Path) -> bool:
    """Whether a folder has a signature, or names a key that should have signed."""
    return is_plain(folder, SIGNATURE) or is_plain(folder, ALLOWED_SIGNERS)


def is_one_signature(folder: Path) -> bool:
    """Whether SHA256SUMS.sig has the form of one signature and nothing else, by whomever."""
    try:
        return bool(_ARMORED.fullmatch(read_bytes(folder, SIGNATURE, limit=LONGEST_SIGNATURE)))
    except (OSError, ValueError):
        return False


def is_signed_by(folder: Path, signer: str) -> bool:
    """Whether a tree names this key and is signed by it; for an empty one, whether it has neither key nor signature."""
    if not signer:
        return not has_signature(folder)
    try:
        named = read_bytes(folder, ALLOWED_SIGNERS, limit=LONGEST_SIGNATURE)
    except (OSError, ValueError):
        return False
    return named == allowed_signers(signer) and check_signature(folder) is Signature.GOOD


def check_signature(folder: Path, signers: Path | None = None) -> Signature:
    """Check SHA256SUMS.sig against the keys in `signers`; by default against those that the release itself names."""
    if not is_plain(folder, SIGNATURE):
        return Signature.BAD if is_plain(folder, ALLOWED_SIGNERS) else Signature.NONE
    if not is_one_signature(folder):
        return Signature.BAD
    try:
        data = read_bytes(folder, SHA256SUMS, limit=_LONGEST)
        with TemporaryDirectory(prefix="danbooru-signature-") as work:
            # ssh-keygen reads what it is given to its end, so it gets copies that have one.
            for name in (SIGNATURE, ALLOWED_SIGNERS) if signers is None else (SIGNATURE,):
                Path(work, name).write_bytes(read_bytes(folder, name, limit=LONGEST_SIGNATURE))
            allowed = signers or Path(work, ALLOWED_SIGNERS)
            signature = ["-n", NAMESPACE, "-s", str(Path(work, SIGNATURE))]
            if _is_good(["verify", "-f", str(allowed), "-I", IDENTITY, *signature], data):
                return Signature.GOOD
            return Signature.UNTRUSTED if _is_good(["check-novalidate", *signature], data) else Signature.BAD
    except FileNotFoundError as error:
        return Signature.UNCHECKED if error.filename == "ssh-keygen" else Signature.BAD
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return Signature.BAD


def _is_good(action: list[str], data: bytes) -> bool:
    """Whether ``ssh-keygen -Y`` says yes."""
    command = ["ssh-keygen", "-q", "-Y", *action]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=_SECONDS)  # noqa: S603
    return done.returncode == 0
