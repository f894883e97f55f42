"""Reads a feed of removals: ``removals.jsonl`` or ``removed.txt`` of a release, or a copy of either.

A feed that lies in a release must be the one that its SHA256SUMS lists, so the release's signature covers it.
"""

import hashlib
from pathlib import Path

from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.posts.takedowns import read_ids
from danbooru_pipeline.release.checksums import read_sums
from danbooru_pipeline.release.removal_feed import LONGEST, parse_feed
from danbooru_pipeline.release.signing import Signature, check_signature
from danbooru_pipeline.release_paths import SHA256SUMS


def read_feed(path: Path, *, signers: Path | None = None) -> frozenset[int]:
    """The ids that a feed names.

    Args:
        path: of the feed.
        signers: keys that may have signed the release that it lies in, as ``ssh-keygen -Y`` reads them.

    Raises:
        SettingsError: there is no such file, or a line of it is no removal; nothing of it is believed then.
        ReleaseError: it is not the feed of the release that it lies in, or that is not signed by one of these keys.
    """
    folder = path.resolve().parent
    try:
        data = read_bytes(folder, path.resolve().name, limit=LONGEST)
        ids = frozenset(parse_feed(data) if data.lstrip().startswith(b"{") else read_ids(data))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is not a feed of removals ({error}); give removals.jsonl of a release") from error
    if is_plain(folder, SHA256SUMS) or signers is not None:
        _require_listed(path, folder, data, signers=signers)
    return ids


def _require_listed(path: Path, folder: Path, data: bytes, *, signers: Path | None) -> None:
    if check_signature(folder, signers) is not Signature.GOOD and signers is not None:
        raise ReleaseError(f"{folder} is not signed by a key of {signers}; fetch the feed again from its publisher")
    if read_sums(folder).get(path.name) != hashlib.sha256(data).hexdigest():
        raise ReleaseError(f"{path} is not the file that {SHA256SUMS} beside it lists; fetch both again")
