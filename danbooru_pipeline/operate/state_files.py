"""Every file of ours in the root: what it is made from, how its damage shows, and what makes it again.

Declared here once; docs/runbook.md has the table, and ``doctor --repair`` walks it. What can be made again is set aside
first (see `io.damage`); what cannot stops the work with its name.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from danbooru_pipeline.errors import DamagedFile, NewerFile, StoreError
from danbooru_pipeline.io.damage import DAMAGED
from danbooru_pipeline.io.formats import require_known_format
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.repairs import (
    Repair,
    leave_to_build,
    repair_ledger,
    repair_manifest,
    repair_posts,
    repair_posts_report,
    repair_slices,
    repair_version,
    year_of,
)
from danbooru_pipeline.operate.state_checks import (
    Check,
    check_database,
    check_earlier_tables,
    check_parquet,
    check_posts_report,
    check_table,
    check_tables,
)
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.release.manifest.write import read_summary
from danbooru_pipeline.release.mentions import removed_ids
from danbooru_pipeline.release.release_json import published, read_release
from danbooru_pipeline.release.tree.versions import read_published
from danbooru_pipeline.store.follow import read_state
from danbooru_pipeline.store.ledger import read_ledger_table
from danbooru_pipeline.store.root import require_known_root

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFile:
    """One kind of file.

    Attributes:
        name: of the kind.
        pattern: of its paths below the root.
        made_from: what it is made from; for what is not made again, where to get it.
        by: who makes it again, for people.
        check: None where damage does no harm: such a file is read line by line, or begins anew.
        repair: None where only people can.
    """

    name: str
    pattern: str
    made_from: str
    by: str
    check: Check | None = None
    repair: Repair | None = None


_BUILD: Final = "the next `build YEAR`"
_REPAIR: Final = "`build`, or `doctor --repair`"
STATE_FILES: Final[tuple[StateFile, ...]] = (
    StateFile(
        name="list of takedowns",
        pattern="store/takedowns.json",
        made_from="nothing; a backup has it, and `removed.txt` of the releases has the ids",
        by="you: everything stops until it is restored",
        check=lambda layout, _path: require_takedowns(layout),
    ),
    StateFile(
        name="ledger of a bucket",
        pattern="store/ledger/[0-9][0-9][0-9][0-9].parquet",
        made_from="the manifests in `metadata/YEAR` and the files of the store; what neither knows is fetched again",
        by=_REPAIR,
        check=lambda _layout, path: read_ledger_table(path),
        repair=repair_ledger,
    ),
    StateFile(
        name="journal of a bucket",
        pattern="store/ledger/.[0-9][0-9][0-9][0-9].journal",
        made_from="the files of the store; lines that cannot be read are passed over",
        by="nobody needs to",
    ),
    StateFile(
        name="slice of the posts",
        pattern="metadata/[0-9][0-9][0-9][0-9]/posts_by_bucket/[0-9][0-9][0-9][0-9].parquet",
        made_from="`posts.parquet` of the year",
        by=_REPAIR,
        check=check_parquet(("id", "md5", "file_ext", "tag_string", "is_banned")),
        repair=repair_slices,
    ),
    StateFile(
        name="updates since the sweep",
        pattern="metadata/[0-9][0-9][0-9][0-9]/refreshed/[0-9][0-9][0-9][0-9].parquet",
        made_from="the source, which is asked again",
        by=_REPAIR,
        check=check_parquet(("id", "is_expunged")),
        repair=leave_to_build,
    ),
    StateFile(
        name="posts",
        pattern="metadata/[0-9][0-9][0-9][0-9]/posts.parquet",
        made_from="the source; for a year that is released, `parquet/posts-*` of its release",
        by=_REPAIR,
        check=check_parquet(("id", "md5", "created_at")),
        repair=repair_posts,
    ),
    StateFile(
        name="posts of an earlier read",
        pattern="metadata/[0-9][0-9][0-9][0-9]/posts-before.parquet",
        made_from="the release of the year, or `posts.parquet`; a read that loses posts is held against it",
        by=_BUILD,
        check=check_parquet(("id", "has_md5", "rating", "is_deleted")),
        repair=leave_to_build,
    ),
    StateFile(
        name="report of the posts",
        pattern="metadata/[0-9][0-9][0-9][0-9]/posts.json",
        made_from="the source; for a year that is released, `RELEASE.json`",
        by=_REPAIR,
        check=check_posts_report,
        repair=repair_posts_report,
    ),
    StateFile(
        name="report of the side tables",
        pattern="metadata/[0-9][0-9][0-9][0-9]/tables.json",
        made_from="the source",
        by=f"{_BUILD}; no release is made without it",
        check=check_tables,
        repair=leave_to_build,
    ),
    StateFile(
        name="side tables of an earlier read",
        pattern="metadata/[0-9][0-9][0-9][0-9]/tables-before.json",
        made_from="`tables.json`; a read that loses tables is held against it",
        by=_BUILD,
        check=check_earlier_tables,
        repair=leave_to_build,
    ),
    StateFile(
        name="side table",
        pattern="metadata/[0-9][0-9][0-9][0-9]/tables/*.json",
        made_from="the source; its SHA-256 is in `tables.json`",
        by=f"{_BUILD}; no release is made without it",
        check=check_table,
        repair=leave_to_build,
    ),
    StateFile(
        name="part of an unfinished sweep",
        pattern="metadata/[0-9][0-9][0-9][0-9]/sweep/**/[0-9]*-[0-9]*.*",
        made_from="the source; its SHA-256 is in `state.json` beside it, and the sweep goes on before the damaged part",
        by=_BUILD,
    ),
    StateFile(
        name="manifest",
        pattern="metadata/[0-9][0-9][0-9][0-9]/manifest.parquet",
        made_from="the ledgers; for a year that is closed, `manifest/` of its release",
        by=_REPAIR,
        check=lambda layout, path: read_summary(layout, year_of(layout, path)),
        repair=repair_manifest,
    ),
    StateFile(
        name="compressed segment",
        pattern="metadata/segments/*.xz",
        made_from="the metadata; its name has its SHA-256, and one that differs is made again",
        by="nobody needs to",
    ),
    StateFile(
        name="state of following",
        pattern="store/follow/state.json",
        made_from="nothing; following begins anew after the newest sweep, and finds its files there",
        by="the next `follow`",
        check=lambda layout, _path: read_state(layout),
        repair=leave_to_build,
    ),
    StateFile(
        name="what following saw",
        pattern="store/follow/seen/[0-9]*.parquet",
        made_from="nothing; it only counts what following missed, and one that cannot be read is passed over",
        by="nobody needs to",
        check=check_parquet(("id", "md5", "seen_at")),
        repair=leave_to_build,
    ),
    StateFile(
        name="file kept by following",
        pattern="store/replaced/[0-9][0-9][0-9][0-9]/[0-9]*",
        made_from="the source; its MD5 is in its name, and the weekly scrub compares them",
        by="the next `follow`, or the build of the year",
    ),
    StateFile(
        name="record of the request rate",
        pattern="store/.pace",
        made_from="nothing; one that cannot be read begins anew, and no pause in it lasts longer than five minutes",
        by="nobody needs to",
    ),
    StateFile(
        name="lock",
        pattern="**/.*lock",
        made_from="nothing; the kernel knows who holds it, and the lock of a bucket has the mark of its holder",
        by="nobody needs to",
    ),
    StateFile(
        name="release",
        pattern="releases/danbooru[0-9][0-9][0-9][0-9]/RELEASE.json",
        made_from="nothing; another copy of the release has it",
        by="you: take the release from a mirror, or move it away and build the year again",
        check=lambda _layout, path: read_release(path.parent),
    ),
    StateFile(
        name="replaced version of a release",
        pattern="releases/danbooru[0-9][0-9][0-9][0-9].[0-9]*/RELEASE.json",
        made_from="nothing; its successor has what it had, and says when its grace period ends",
        by="nobody needs to; remove its folder",
    ),
    StateFile(
        name="what mirrors hold",
        pattern="releases/mirrors.*",
        made_from="the traces that the mirrors serve",
        by="`mirrors`, each day",
    ),
    StateFile(
        name="record of a publication",
        pattern="publications/*/danbooru[0-9][0-9][0-9][0-9]/*.jsonl",
        made_from="what the place has, which is read where one is lost or has a line that cannot be read",
        by="the next `publish`",
    ),
    StateFile(
        name="record of published versions",
        pattern="published.json",
        made_from="nothing; a backup has it, and without it the versions that releases name count alone",
        by="you: nothing is published until it is restored",
        check=lambda layout, _path: read_published(layout),
    ),
    StateFile(
        name="version of the root",
        pattern="version.json",
        made_from="nothing; without it the root counts as one of the earliest version that wrote none",
        by=_REPAIR,
        check=lambda layout, _path: require_known_root(layout),
        repair=repair_version,
    ),
    StateFile(
        name="runs of Dagster",
        pattern="dagster/**/*.db",
        made_from="nothing; it is history, and losing it costs no work",
        by="`doctor --repair` moves it away, and a build begins a new one",
        check=check_database,
        repair=leave_to_build,
    ),
)


#: Those whose damage matters. The others are not even looked for: locks alone would be a walk over all images.
CHECKED: Final = tuple(kind for kind in STATE_FILES if kind.check is not None)


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that cannot be used: where, of what kind, and why; `newer` where it is whole, but of a later version."""

    path: Path
    kind: StateFile
    why: str
    newer: NewerFile | None = None

    @property
    def line(self) -> str:
        """What is wrong, for people."""
        return f"{self.path} is damaged ({self.why})" if self.newer is None else str(self.newer)


def find_damage(layout: Layout) -> Iterator[Damage]:
    """Every damaged file of the root, and those that a released year lacks; reads all of them."""
    for kind in CHECKED:
        paths = {path for path in layout.root.glob(kind.pattern) if DAMAGED not in path.name}
        for path in sorted(paths | lacking(layout, kind.name)):
            if (damage := _look(layout, kind, path)) is not None:
                yield damage


def _look(layout: Layout, kind: StateFile, path: Path) -> Damage | None:
    if kind.check is None:
        return None
    try:
        kind.check(layout, path)
        if path.suffix != ".parquet":  # whose check has read its schema
            require_known_format(path)
    except NewerFile as error:
        return Damage(path, kind, str(error).removeprefix(f"{path} "), newer=error)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file does to its reader
        why = error.why if isinstance(error, DamagedFile) else " ".join(str(error).split())
        return Damage(path, kind, why if path.exists() else "it is missing")
    return None


def lacking(layout: Layout, kind: str) -> set[Path]:
    """Files of a kind that should be there: what is kept of released years, and the takedowns that releases name."""
    if kind == "list of takedowns":
        return {layout.takedowns} if _named_in_releases(layout) else set()
    path_of = {"manifest": layout.manifest, "report of the posts": layout.posts_report, "posts": layout.posts}.get(kind)
    if path_of is None:
        return set()
    years = [year for year in published(layout) if layout.metadata(year).is_dir()]
    return {path_of(year) for year in years if not path_of(year).exists()}


def _named_in_releases(layout: Layout) -> bool:
    return any(removed_ids(folder) for folder in published(layout).values())


def require_takedowns(layout: Layout) -> None:
    """Refuse a root whose list of takedowns is damaged, or lost though releases name such posts.

    Raises:
        StoreError: what was removed might come back.
    """
    read_takedowns(layout)
    if not layout.takedowns.exists() and _named_in_releases(layout):
        raise StoreError(
            f"{layout.takedowns} is missing, and removed.txt of a release names posts that were taken down; restore it "
            "from a backup before anything else"
        )


def repair_history(layout: Layout, year: int) -> None:
    """Make again what a build reads of earlier years, where it is damaged or lost.

    Raises:
        StoreError: only people can.
    """
    for name in ("report of the posts", "manifest", "posts"):
        kind = next(kind for kind in STATE_FILES if kind.name == name)
        paths = {path for path in layout.root.glob(kind.pattern) if year_of(layout, path) < year}
        for path in sorted(paths | {path for path in lacking(layout, name) if year_of(layout, path) < year}):
            if (damage := _look(layout, kind, path)) is not None:
                repair(layout, damage)


def repair(layout: Layout, damage: Damage) -> str:
    """Make a damaged file again, or set it aside for whoever does. Returns what was done.

    Raises:
        StoreError: only people can; a file of a later version is left as it is.
    """
    if damage.newer is not None:
        raise damage.newer
    if damage.kind.repair is None:
        raise StoreError(f"{damage.path} is damaged ({damage.why}); it is made from {damage.kind.made_from}")
    damage.kind.repair(layout, damage.path, damage.why)
    made = "it is made again" if damage.path.exists() else f"set aside; made again by {damage.kind.by}"
    return f"{damage.path}: {made}"


def read_repairing(layout: Layout, read: Callable[[], T]) -> T:
    """What `read` gives, after every damaged file that it meets is made again.

    Raises:
        StoreError: a file is damaged that cannot be.
    """
    met: set[Path] = set()
    while True:
        try:
            return read()
        except DamagedFile as damage:
            kind = next((kind for kind in CHECKED if damage.path in set(layout.root.glob(kind.pattern))), None)
            if kind is None or kind.repair is None or damage.path in met:
                raise
            met.add(damage.path)
            repair(layout, Damage(damage.path, kind, damage.why))
