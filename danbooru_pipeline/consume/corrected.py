"""Posts of a release with what people decided about their tags: whether it has them, where, and how they differ.

They lie beside the untouched posts in ``parquet-corrected/``, where the maker of the release has switched that on.
Nothing reads them unless it is asked to.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.io.bounded_parquet import read_untrusted
from danbooru_pipeline.io.untrusted import is_plain, plain_names
from danbooru_pipeline.release_paths import CORRECTED, CORRECTIONS
from danbooru_pipeline.search.bitmaps import Kind, largest_id
from danbooru_pipeline.search.corrected import Changes

if TYPE_CHECKING:
    from pyroaring import BitMap

_COLUMNS: Final = ("post_id", "tag", "sign", "state")


def require_corrected(release: Path) -> None:
    """Check that a release has corrected posts.

    Raises:
        ReleaseError: it has none.
    """
    if not is_plain(release, CORRECTIONS) or not plain_names(release, CORRECTED):
        raise ReleaseError(
            f"{release} has no corrected posts ({CORRECTED}/, and corrections/ beside it), which its maker switches on "
            "with DANBOORU_CORRECTED=on; leave --corrected out, or get a release that has them"
        )


def posts_folder(release: Path, *, corrected: bool) -> str:
    """Where the posts of a release are, relative to it.

    Raises:
        ReleaseError: corrected ones are wanted, and there are none.
    """
    if corrected:
        require_corrected(release)
    return CORRECTED if corrected else "parquet"


def table_patterns(release: Path, *, corrected: bool) -> dict[str, str]:
    """The tables that a selection reads, and the names of their files.

    Raises:
        As `posts_folder`.
    """
    posts = posts_folder(release, corrected=corrected)
    return {"posts": f"{posts}/posts-*.parquet", "files": "manifest/files-*.parquet"}


def changes_of(release: Path, kind: Kind) -> tuple[Changes, Changes]:
    """Tag -> posts that it was added to, and tag -> posts that it was taken off, of the corrections in force."""
    from danbooru_pipeline.release.tables.corrections import State  # noqa: PLC0415 - few searches look at them

    found: dict[str, dict[str, BitMap]] = {"+": {}, "-": {}}
    for table in read_untrusted(release, CORRECTIONS, columns=_COLUMNS):
        post = table["post_id"]
        in_force = pc.and_(pc.equal(table["state"], State.OPEN.value), pc.less_equal(post, largest_id(kind)))
        held = table.filter(pc.and_(in_force, pc.greater(post, 0)))
        for row in held.group_by(["sign", "tag"]).aggregate([("post_id", "list")]).to_pylist():
            found[row["sign"]].setdefault(row["tag"], kind()).update(row["post_id_list"])
    return found["+"], found["-"]
