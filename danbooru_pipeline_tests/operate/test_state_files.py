"""Files of the root on bad days: every kind × every damage is found, named, and made again where that can be."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DamagedFile, NewerFile, ReleaseRefused, StoreError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.preflight import check_history
from danbooru_pipeline.operate.repairs import require_swept
from danbooru_pipeline.operate.state_files import (
    STATE_FILES,
    find_damage,
    read_repairing,
    repair,
    repair_history,
    require_takedowns,
)
from danbooru_pipeline.posts.takedowns import Takedowns, TakenDown, write_takedowns
from danbooru_pipeline.release import plan_snapshot, write_manifest
from danbooru_pipeline.release.tree.plan import Action
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.sources.completeness import require_side_tables
from danbooru_pipeline.store.follow.seen import write_seen
from danbooru_pipeline.store.follow.state import FollowState, write_state
from danbooru_pipeline.store.open_ledger import open_ledger
from danbooru_pipeline.store.planning import plan_year
from danbooru_pipeline.store.px512 import build_px512
from danbooru_pipeline.store.root import bring_up_to_date
from danbooru_pipeline_tests.support.bad_days import DAMAGES, copy_root, flip_a_byte, of_a_later_version
from danbooru_pipeline_tests.support.small_world import OPTIONS

NEWEST = 2022
#: Kinds that are read as lines, or by SQLite.
WITHOUT_FORMAT = {"side table", "runs of Dagster"}


@pytest.fixture
def root(tiny_releases: Layout, tmp_path: Path) -> Layout:
    """A root with two releases, to be damaged."""
    return copy_root(tiny_releases, tmp_path / "root")


def busiest(layout: Layout) -> str:
    """The bucket with the longest ledger, so that its files have something to lose."""
    ledgers = sorted(layout.ledger("0000").parent.glob("[0-9]*.parquet"))
    return max(ledgers, key=lambda path: path.stat().st_size).stem


def is_as_released(layout: Layout, bucket: str) -> bool:
    """Whether a release made of what is on disk is the one that is published, after the 512px stage of a bucket."""
    nowhere = "http://127.0.0.1:9"
    settings = Settings(root=layout.root, api_url=nowhere, cdn_url=nowhere, workers=1, png_level=0)
    with RunContext(settings) as context:
        build_px512(context, bucket, NEWEST)
        write_manifest(layout, NEWEST, px512_settings=context.image_settings.fingerprint())
        image_settings = context.image_settings.as_dict()
    return plan_snapshot(layout, NEWEST, image_settings=image_settings, options=OPTIONS).action is Action.UNCHANGED


#: Files that come back from what the root has, so that the next release is the same.
MADE_AGAIN: dict[str, Callable[[Layout], Path]] = {
    "ledger": lambda layout: layout.ledger(busiest(layout)),
    "slice": lambda layout: layout.posts_bucket(NEWEST, busiest(layout)),
    "posts.json of this year": lambda layout: layout.posts_report(NEWEST),
    "posts of this year": lambda layout: layout.posts(NEWEST),
    "manifest of this year": lambda layout: layout.manifest(NEWEST),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", MADE_AGAIN)
def test_damaged_file_is_found_and_made_again(root: Layout, name: str, damage: str) -> None:
    """`doctor --repair` makes it again, keeps the old one aside, and the next release is the same, byte for byte."""
    path = MADE_AGAIN[name](root)
    bucket = busiest(root)
    DAMAGES[damage](path)
    found = list(find_damage(root))
    if damage != "missing" or name not in {"ledger", "slice"}:  # nothing but the posts says that there was one
        assert [each.path for each in found] == [path]
        assert str(path) in repair(root, found[0])
    else:
        read_repairing(root, lambda: build_of(root, bucket))
        require_swept(root, NEWEST)
    assert not list(find_damage(root))
    aside = list(root.root.rglob(f"{path.name}.damaged-*"))
    assert bool(aside) == (damage != "missing")
    if damage == "truncated" or (name, damage) == ("ledger", "missing"):  # the others are made again in the same way
        assert is_as_released(root, bucket)


def build_of(layout: Layout, bucket: str) -> None:
    """Read a bucket as a build does, under its lock."""
    with open_ledger(layout, bucket):
        pass


@pytest.mark.parametrize("damage", DAMAGES)
def test_build_repairs_what_it_reads_of_earlier_years(root: Layout, damage: str) -> None:
    """posts.json, posts and manifest of a closed year come back from its release."""
    paths = (root.posts_report(2021), root.manifest(2021), root.posts(2021))
    for path in paths:
        DAMAGES[damage](path)
    repair_history(root, NEWEST)
    assert all(path.exists() for path in paths)
    assert not list(find_damage(root))
    check_history(root, NEWEST)


@pytest.mark.parametrize("name", ["slice", "posts of this year"])
def test_a_flipped_byte_is_found_and_mended(root: Layout, name: str) -> None:
    """Pages have checksums, so damage that the frame of Parquet does not show is found, whatever column it is in."""
    path = MADE_AGAIN[name](root)
    flip_a_byte(path)
    (found,) = find_damage(root)
    assert found.path == path
    repair(root, found)
    assert not list(find_damage(root))


def test_a_flipped_byte_of_a_ledger_is_noticed_when_it_is_read(root: Layout) -> None:
    """Planning names the ledger, and a build makes it again while it plans; nothing of it is fetched again."""
    flip_a_byte(MADE_AGAIN["ledger"](root))
    with pytest.raises(DamagedFile, match="doctor --repair"):
        plan_year(root, NEWEST, exclude_tags=frozenset())
    plan = read_repairing(root, lambda: plan_year(root, NEWEST, exclude_tags=frozenset()))
    assert not any(bucket.fetch for bucket in plan.buckets)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["tables.json", "tables/tags.json"])
def test_no_release_is_made_of_damaged_side_tables(root: Layout, file: str, damage: str) -> None:
    """tables.json or a table that is gone or not what came: refused by its name, with the decision that is possible."""
    assert require_side_tables(root, NEWEST) == {}
    path = root.metadata(NEWEST) / file
    DAMAGES[damage](path)
    with pytest.raises(ReleaseRefused, match="--without-tables") as refused:
        require_side_tables(root, NEWEST)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_takedowns_are_never_made_again(root: Layout, damage: str) -> None:
    """A list of takedowns that is damaged, or lost though a release names such posts, stops everything by its name."""
    write_takedowns(root, Takedowns(posts={4: TakenDown()}))
    (root.release(NEWEST) / "removed.txt").unlink(missing_ok=True)
    root.release(NEWEST).chmod(0o755)
    (root.release(NEWEST) / "removed.txt").write_bytes(b"4\n")
    DAMAGES[damage](root.takedowns)
    with pytest.raises(StoreError, match=r"takedowns\.json"):
        require_takedowns(root)
    (found,) = find_damage(root)
    with pytest.raises(StoreError, match="backup"):
        repair(root, found)


def test_retry_names_posts_that_only_a_sweep_brings(root: Layout) -> None:
    """A retry takes the posts of the last sweep, and refuses damaged ones by name."""
    DAMAGES["truncated"](root.posts(NEWEST))
    with pytest.raises(StoreError, match=r"posts\.parquet is damaged .* build 2022"):
        require_swept(root, NEWEST)


def with_all_kinds(layout: Layout) -> dict[str, Path]:
    """A file of each kind that says its format, by kind; what a build of the small world lacks is added."""
    begun = datetime(2022, 5, 1, tzinfo=UTC)
    write_state(layout, FollowState(site="http://127.0.0.1:9", start_id=0, last_id=0, changes_until=begun))
    write_seen(layout, [], expunged=[1], now=begun)
    write_takedowns(layout, Takedowns(posts={4: TakenDown()}))
    bring_up_to_date(layout)
    slice_ = layout.posts_bucket(NEWEST, busiest(layout))
    layout.refreshed_folder(NEWEST).mkdir(exist_ok=True)
    table = pq.read_table(slice_).slice(0, 1)
    expunged = table.append_column("is_expunged", pa.array([False]))
    pq.write_table(expunged, layout.refreshed(NEWEST, slice_.stem))
    kinds = [kind for kind in STATE_FILES if kind.check and kind.name not in WITHOUT_FORMAT]
    return {kind.name: next(layout.root.glob(kind.pattern)) for kind in kinds}


def test_a_file_of_a_later_version_is_refused_by_its_name(root: Layout) -> None:
    """Each kind: `doctor` tells it from damage, nothing sets it aside, and what reads it says which version to run."""
    kinds = with_all_kinds(root)
    for path in kinds.values():
        of_a_later_version(path)
    found = {damage.kind.name: damage for damage in find_damage(root)}
    assert {name: damage.path for name, damage in found.items()} == kinds
    for name, damage in found.items():
        with pytest.raises(StoreError, match=r"later version|was written by") as refused:
            repair(root, damage)
        assert str(damage.path if name != "version of the root" else root.root) in str(refused.value)
        assert damage.path.exists()
    assert not list(root.root.rglob("*.damaged-*"))


@pytest.mark.parametrize("kind", ["format", "column", "reason"])
def test_a_ledger_of_a_later_version_is_never_rewritten(root: Layout, kind: str) -> None:
    """A column or a reason that this version does not know would be lost: a build refuses, and the file stays."""
    path = root.ledger(busiest(root))
    table = pq.read_table(path)
    path.unlink()
    if kind == "column":
        table = table.append_column("mood", pa.array(["good"] * table.num_rows))
    elif kind == "reason":
        place = table.schema.get_field_index("reason")
        table = table.set_column(place, table.schema.field(place), pa.array(["eaten"] * table.num_rows))
    pq.write_table(table, path)
    if kind == "format":
        of_a_later_version(path)
    before = path.read_bytes()
    with pytest.raises(NewerFile, match=re.escape(str(path))):
        read_repairing(root, lambda: build_of(root, path.stem))
    assert path.read_bytes() == before


def test_a_field_of_a_takedown_is_never_dropped(root: Layout) -> None:
    """Case takedowns-unknown: a list with a field of a later version is refused, since a takedown rewrites it."""
    root.takedowns.write_text('{"posts": {"4": {"paths": [], "why": "asked"}}}')
    with pytest.raises(NewerFile, match=r"takedowns\.json .* field why"):
        require_takedowns(root)


def test_every_kind_is_told_in_the_runbook() -> None:
    """The table says of each kind what it is made from and who makes it again."""
    assert all(kind.made_from and kind.by for kind in STATE_FILES)
    assert len({kind.name for kind in STATE_FILES}) == len(STATE_FILES)
