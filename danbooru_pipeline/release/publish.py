"""Publishing a release: ``releases/current``, and the decision that must come before it."""

from pathlib import Path
from typing import TYPE_CHECKING

from danbooru_pipeline.errors import ReleaseError, ReleaseRefused
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.posts.takedowns import removed_posts
from danbooru_pipeline.release.mentions import ids_present, removed_ids
from danbooru_pipeline.release.pointer import point_at
from danbooru_pipeline.release.release_json import published

if TYPE_CHECKING:
    from danbooru_pipeline.settings import Settings


def require_decision(layout: Layout, settings: "Settings") -> None:
    """Refuse to publish data of public hosts before the operator has decided what must not be hosted.

    Raises:
        ReleaseRefused: DANBOORU_EXCLUDE_TAGS is not set.
    """
    if settings.exclude_tags is None and not settings.on_loopback:
        raise ReleaseRefused(
            f"the release is made in {layout.releases} and not published: DANBOORU_EXCLUDE_TAGS is not set; set it to "
            "the tags that must not be hosted where you are, or to none, and build again"
        )


def flip_current(layout: Layout) -> Path:
    """Point ``releases/current`` at the newest published year. Returns that release's folder.

    The link is relative, so the whole folder may be moved; a running transfer keeps the tree it started with. Where
    there are no links it is a file; see `pointer`.

    Raises:
        ReleaseError: nothing is published yet.
        ReleaseRefused: the newest release names a post that was taken down.
    """
    releases = published(layout)
    if not releases:
        raise ReleaseError(f"{layout.releases} has no release yet; build one first")
    newest = releases[max(releases)]
    with exclusive(layout.publication_lock):
        _require_cleared(newest, removed_posts(layout) - removed_ids(newest))
        point_at(layout, newest)
    return newest


def _require_cleared(folder: Path, gone: frozenset[int]) -> None:
    if gone and (found := ids_present(sorted((folder / "manifest").glob("files-*.parquet")), gone)):
        named = ", ".join(map(str, sorted(found)))
        raise ReleaseRefused(
            f"{folder} names posts that were taken down ({named}); run danbooru-pipeline takedown --resume first"
        )
