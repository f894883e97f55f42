"""What earlier releases say of posts that are gone: ``removals.jsonl`` keeps the version that was named first."""

from collections.abc import Iterable
from pathlib import Path

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.untrusted import is_plain, read_bytes
from danbooru_pipeline.release.mentions import removed_ids
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.removal_feed import LONGEST, parse_feed
from danbooru_pipeline.release_paths import REMOVALS


def known_removals(folders: Iterable[Path]) -> dict[int, str]:
    """Id -> version by some releases; later folders overrule earlier ones.

    Raises:
        ReleaseError: a feed cannot be read.
    """
    found: dict[int, str] = {}
    for folder in folders:
        found |= _feed_of(folder)
    return found


def _feed_of(folder: Path) -> dict[int, str]:
    if not is_plain(folder, REMOVALS):  # of before 0.3: gone by then, and nobody knows since when
        return dict.fromkeys(removed_ids(folder), read_release(folder).version)
    try:
        return parse_feed(read_bytes(folder, REMOVALS, limit=LONGEST))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{folder / REMOVALS} cannot be read ({error}); verify the release") from error
