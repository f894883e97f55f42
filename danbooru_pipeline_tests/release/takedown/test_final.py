"""Takedowns are final: no order of builds, backups and crashes brings a post back, and what is left is named."""

import json
import lzma
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from danbooru_pipeline.errors import LeaseLost, ReleaseError, ReleaseRefused, StoreError
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.operate.removal import clear_what_came_back
from danbooru_pipeline.posts.takedowns import Takedowns, read_takedowns, write_takedowns
from danbooru_pipeline.release import (
    apply_snapshot,
    apply_takedown,
    flip_current,
    plan_snapshot,
    plan_takedown,
    published,
    read_release,
    verify_release,
)
from danbooru_pipeline.release.documents.options import DocumentOptions, options_from
from danbooru_pipeline.store.journal import Journal
from danbooru_pipeline.store.open_ledger import open_ledger
from danbooru_pipeline.store.planning import read_bucket_posts
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

VICTIM = 1002


def take_down(layout: Layout, *ids: int) -> list[str]:
    """Take posts down, or finish what was begun. Returns the versions that were made."""
    return [made.version for made in apply_takedown(plan_takedown(layout, ids), created_at=NOW, threads=1)]


def without(yard: Yard, *ids: int) -> Yard:
    """The same yard as a source shows it that leaves these posts out."""
    for id_ in ids:
        yard.rows.pop(id_)
        yard.ledger.pop(id_)
    yard.tables.pop("notes", None)
    return yard


@pytest.mark.parametrize("stage", ["metadata", "links", "archive"])
@pytest.mark.parametrize("standing", [True, False])
def test_race_build_takedown(two_years: Yard, stage: str, *, standing: bool) -> None:
    """A post that is taken down while a release is made is in no release, whether or not the year had one before."""
    layout = two_years.layout
    if standing:
        two_years.post(9009, rating="g")
        two_years.manifest()
    else:
        shutil.rmtree(layout.release(2022))
    said: list[str] = []

    def progress(what: str, _done: int, _total: int) -> None:
        if what == stage and not said:
            with pytest.raises(ReleaseRefused) as caught:
                take_down(layout, VICTIM)
            said.append(str(caught.value))

    plan = plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    with pytest.raises(ReleaseRefused, match="taken down while danbooru2022 was made"):
        apply_snapshot(plan, created_at=NOW, threads=1, progress=progress)
    assert "danbooru2022 is being made; that build will publish nothing" in said[0]
    assert not layout.staging(2022).exists()
    with pytest.raises(ReleaseRefused, match="takedown --resume"):
        plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    take_down(layout)
    assert traces(layout.root, [VICTIM]) == []
    without(two_years, VICTIM).release()
    assert traces(layout.root, [VICTIM]) == []
    assert all(verify_release(folder, full=True).ok for folder in published(layout).values())


def test_takedown_between_the_last_look_and_the_rename_waits(two_years: Yard) -> None:
    """Whoever publishes holds the lock under which the list of takedowns grows, and the other way round."""
    layout = two_years.layout
    two_years.post(9009, rating="g")
    two_years.manifest()
    plan = plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    known = read_takedowns(layout)
    write_takedowns(layout, Takedowns(posts={**known.posts, **plan_takedown(layout, [VICTIM]).posts}))
    with pytest.raises(ReleaseRefused, match="taken down while"):
        apply_snapshot(plan, created_at=NOW, threads=1)
    assert read_release(layout.release(2022)).version == "2022.0"


def carried_lines(folder: Path) -> list[list[str]]:
    """Ids of the lines of 2020 in a release, as files and in the archive."""
    path = folder / "metadata/2020/posts000000000000.json"
    archive = lzma.decompress((folder / "metadata.json.tar.xz").read_bytes())
    packed = [line[line.index(b"{") :] for line in archive.splitlines() if b"secret_tag" in line]
    return [[json.loads(line)["id"] for line in lines] for lines in (path.read_bytes().splitlines(), packed)]


def carry(layout: Layout, *ids: int) -> None:
    """Put posts of 2020 where an archive's metadata of earlier years is kept for the release of 2022."""
    path = layout.carried(2022) / "2020/posts000000000000.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"id": str(id_), "tag_string": "secret_tag"}) + "\n" for id_ in ids))


def snapshot(layout: Layout, maker: str) -> None:
    """A new version of 2022."""
    plan = plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS, options=DocumentOptions(maker=maker))
    apply_snapshot(plan, created_at=NOW, threads=1)


def test_carried_metadata_takedown(two_years: Yard) -> None:
    """Lines of carried metadata go with their post, those of posts that no release has too, and do not come back."""
    layout = two_years.layout
    carry(layout, VICTIM, 1003, 9999)
    snapshot(layout, "A")
    assert carried_lines(layout.release(2022)) == [["1002", "1003", "9999"]] * 2
    assert plan_takedown(layout, [9999]).lines()[1:] == ["would make danbooru2022 2022.2 in place of 2022.1"]
    assert take_down(layout, VICTIM, 9999) == ["2021.1", "2022.2"]
    assert carried_lines(layout.release(2022)) == [["1003"]] * 2
    snapshot(layout, "B")
    assert carried_lines(layout.release(2022)) == [["1003"]] * 2
    assert traces(layout.root, [VICTIM, 9999]) == []


def test_line_that_says_its_id_in_another_way_goes_too(two_years: Yard) -> None:
    """A line that names two posts is one of both, and an id may be written with escapes or as a fraction."""
    layout = two_years.layout
    carry(layout, 1003)
    path = layout.carried(2022) / "2020/posts000000000000.json"
    hidden = b'{"id":"1002","id":"9999"}\n{"id":"9999","id":"1002"}\n{"\\u0069d":1002}\n{"id":1002.0}\n'
    path.write_bytes(hidden + path.read_bytes())
    snapshot(layout, "A")
    take_down(layout, VICTIM)
    assert carried_lines(layout.release(2022)) == [["1003"]] * 2


def test_archive_that_brings_lines_back_is_refused_and_cleared(two_years: Yard) -> None:
    """A read of an archive that began before the takedown ends after it: nothing is made from what it brought."""
    layout = two_years.layout
    take_down(layout, VICTIM)
    carry(layout, VICTIM, 1003)
    with pytest.raises(ReleaseRefused, match=r"are here again \(1002\)"):
        plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    clear_what_came_back(layout, 2022)
    snapshot(layout, "A")
    assert carried_lines(layout.release(2022)) == [["1003"]] * 2


def test_sweep_and_export_that_began_before_bring_nothing_back(two_years: Yard) -> None:
    """Posts, rows, files and notes of a post that come back are cleared before a manifest is written."""
    layout = two_years.layout
    take_down(layout, VICTIM)
    two_years.post(VICTIM)
    two_years.save()
    assert VICTIM not in [post.id for post in read_bucket_posts(layout, "0002", 2022)]
    clear_what_came_back(layout, 2022)
    assert traces(layout.root, [VICTIM]) == []


def test_journal_of_a_killed_build_brings_no_row_back(two_years: Yard) -> None:
    """Rows that a killed build left are cleared, and one that comes later is not read."""
    layout, row = two_years.layout, two_years.ledger[VICTIM]
    journal = Journal(layout.ledger_journal("0002"))
    for each in (row, two_years.ledger[5002]):
        journal.add(each)
    take_down(layout, VICTIM)
    assert [each.id for each in journal.read()] == [5002]
    journal.add(row)
    journal.close()
    with open_ledger(layout, "0002") as ledger:
        assert VICTIM not in ledger.rows
        ledger.write()
    assert traces(layout.root, [VICTIM]) == []


def test_worker_that_stood_still_through_a_takedown_leaves_nothing(two_years: Yard) -> None:
    """A bucket that another process took over: what was in flight goes with its post, and no row is written."""
    layout, row = two_years.layout, two_years.ledger[VICTIM]
    with pytest.raises(LeaseLost), open_ledger(layout, "0002") as ledger:
        layout.bucket_lock("0002").unlink()  # the other process has its own file there
        takedown = threading.Thread(target=take_down, args=(layout, VICTIM))
        takedown.start()
        takedown.join(timeout=60)
        written = layout.ledger("0002").read_bytes()
        layout.original(VICTIM, "jpg").write_bytes(b"its download ends now")
        ledger.record(row)
    assert layout.ledger("0002").read_bytes() == written
    assert traces(layout.root, [VICTIM]) == []


def test_every_file_of_the_post_in_the_store_goes(two_years: Yard) -> None:
    """Also those in the quarantine, unfinished, set aside, or of a name that no build gives."""
    layout = two_years.layout
    bucket = layout.original_bucket("0002")
    left = [
        layout.quarantine_bucket("original", "0002") / f"{VICTIM}.jpg.0123abcd",
        bucket / f".{VICTIM}.jpg.1234.part",
        bucket / f"{VICTIM}.png",
        layout.store / "replaced/original/0002" / f"{VICTIM}.jpg",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    take_down(layout, VICTIM)
    assert not [path for path in left if path.exists()]
    assert layout.original(5002, "jpg").exists()


def test_tree_of_a_killed_build_is_removed(two_years: Yard) -> None:
    """A staging tree that waits to be finished goes, with the compressed metadata that it left."""
    layout = two_years.layout
    shutil.copytree(layout.release(2022), layout.staging(2022))
    layout.segments.mkdir(exist_ok=True)
    (layout.segments / "0-6.0.xz").write_bytes(b"x")
    take_down(layout, 77)
    assert not layout.staging(2022).exists()
    assert not list(layout.segments.glob("*"))


def rewritten(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change a JSON file."""
    value = json.loads(path.read_bytes())
    change(value)
    path.unlink()
    path.write_text(json.dumps(value))


def no_release_json(layout: Layout) -> Path:
    """A copy of a release that has no RELEASE.json."""
    copy = layout.releases / "danbooru2019"
    shutil.copytree(layout.release(2021), copy)
    (copy / "RELEASE.json").unlink()
    return copy


def unknown_option(layout: Layout) -> Path:
    """A release that a newer version made."""
    folder = layout.release(2022)
    rewritten(folder / "RELEASE.json", lambda release: release["options"].update(hologram=True))  # type: ignore[attr-defined]
    return folder


def broken_release_json(layout: Layout) -> Path:
    """A release whose RELEASE.json is cut off."""
    path = layout.release_json(2022)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:100])
    return path.parent


def lone_image(layout: Layout) -> Path:
    """A folder with the image and nothing else."""
    path = layout.releases / "export/some/1002.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return layout.releases / "export"


def damaged_table(layout: Layout) -> Path:
    """A table in a folder of unknown making that nobody can read."""
    path = layout.releases / "parts/posts-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PAR1")
    return layout.releases / "parts"


@pytest.mark.parametrize(
    "leave", [no_release_json, unknown_option, broken_release_json, lone_image, damaged_table], ids=lambda f: f.__name__
)
def test_what_cannot_be_treated_stops_the_takedown_before_it_is_done(
    two_years: Yard, leave: Callable[[Layout], Path]
) -> None:
    """All else is removed, the folder is named in one line, builds wait, and after it is mended the takedown ends."""
    layout = two_years.layout
    spare = shutil.copytree(layout.release(2022), layout.root / "spare")
    folder = leave(layout)
    with pytest.raises(ReleaseRefused, match="takedown --resume") as caught:
        take_down(layout, VICTIM)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert traces(layout.release(2021), [VICTIM]) == []
    assert not layout.original(VICTIM, "jpg").exists()
    with pytest.raises(ReleaseRefused, match="takedown --resume"):
        plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)
    shutil.rmtree(folder)
    if folder == layout.release(2022):
        shutil.copytree(spare, folder)
    shutil.rmtree(spare)
    take_down(layout)
    assert traces(layout.root, [VICTIM]) == []
    assert not read_takedowns(layout).unfinished


def test_folder_that_names_other_posts_only_stops_nothing(two_years: Yard) -> None:
    """Its archive, which is several streams of xz, is read to its end: the folder is no reason to wait."""
    layout = two_years.layout
    folder = no_release_json(layout)
    take_down(layout, 30_001)
    assert not read_takedowns(layout).unfinished
    assert (folder / "metadata.json.tar.xz").exists()


def test_dry_run_names_what_would_stop_it(two_years: Yard) -> None:
    """The plan has a line for what could not be treated."""
    no_release_json(two_years.layout)
    said = plan_takedown(two_years.layout, [VICTIM]).lines()
    assert [line for line in said if line.startswith("would stop: ") and "danbooru2019" in line]


def test_release_restored_from_a_backup_is_noticed(two_years: Yard) -> None:
    """Nothing is built or published beside a release that has a removed post again; --resume removes it."""
    layout = two_years.layout
    backup = shutil.copytree(layout.release(2022), layout.root.parent / "backup")
    take_down(layout, VICTIM)
    shutil.rmtree(layout.release(2022))
    shutil.copytree(backup, layout.release(2022))
    for refused in (lambda: plan_snapshot(layout, 2021, image_settings=IMAGE_SETTINGS), lambda: flip_current(layout)):
        with pytest.raises(ReleaseRefused, match="takedown --resume"):
            refused()
    assert take_down(layout) == ["2022.2"]
    assert traces(layout.root, [VICTIM]) == []


def test_list_restored_from_a_backup_forgets_nothing(two_years: Yard) -> None:
    """What a release names in removed.txt counts, whether the list of takedowns is old or gone."""
    layout = two_years.layout
    take_down(layout, VICTIM)
    layout.takedowns.unlink()
    assert read_takedowns(layout).ids == {VICTIM}
    two_years.save()
    with pytest.raises(ReleaseRefused, match=r"\(1002\)"):
        plan_snapshot(layout, 2022, image_settings=IMAGE_SETTINGS)


@pytest.mark.parametrize("text", [b"seventeen\n", b"-4\n", b"99999999999999999999\n"])
def test_damaged_tombstones_stop_everything(two_years: Yard, text: bytes) -> None:
    """A line that is no id is never passed over, since nobody knows which post it meant."""
    path = two_years.layout.release(2021) / "removed.txt"
    path.unlink()
    path.write_bytes(text)
    with pytest.raises(StoreError, match=r"removed\.txt"):
        plan_snapshot(two_years.layout, 2022, image_settings=IMAGE_SETTINGS)


def test_lines_that_nobody_can_parse_count_by_the_ids_that_they_show(two_years: Yard) -> None:
    """A line that is cut off, or whose id is written in another way, goes too; others of its kind stay."""
    layout = two_years.layout
    path = layout.carried(2022) / "2020/posts000000000000.json"
    path.parent.mkdir(parents=True)
    kept = [b'{"id":"10021","tag_string":"a"}\n', b'{"id":"77","parent_id":"1002"}\n', b'{"tag_string":"no id"}\n']
    gone = [b'{ "id" : 1002, "tag_string" : "a" }\n', b'{"id":1002.0}\n', b'{"id":"1002","tag_string":"cut o\n']
    path.write_bytes(b"".join(line for pair in zip(kept, gone, strict=True) for line in pair))
    take_down(layout, VICTIM)
    assert path.read_bytes() == b"".join(kept)


def test_two_takedowns_at_once_are_refused(two_years: Yard) -> None:
    """The second one says so at once."""
    with exclusive(two_years.layout.takedowns_lock), pytest.raises(StoreError, match="another takedown is running"):
        take_down(two_years.layout, VICTIM)


def test_options_of_a_newer_version_are_an_error_of_one_line() -> None:
    """They are named, and nothing is made from a guess."""
    assert options_from({"maker": "A"}).maker == "A"
    with pytest.raises(ReleaseError, match="hologram"):
        options_from({"hologram": True})
    with pytest.raises(ReleaseError, match="use the version that made it"):
        options_from({"maker": 5})


@pytest.mark.parametrize("swapping", [True, False])
def test_part_of_apply_removals_holds_up_no_takedown(two_years: Yard, *, swapping: bool) -> None:
    """What an earlier version of it left beside a release goes; a release that lies there alone is put back first."""
    layout = two_years.layout
    take_down(layout, 4001)
    part = layout.releases / ".danbooru2022.removals.part"
    shutil.copytree(layout.release(2022), part / "releases/danbooru2022")
    if swapping:
        layout.release(2022).rename(part / "before")
    assert not plan_takedown(layout, ()).is_idle(signs=False)
    assert not [line for line in plan_takedown(layout, [VICTIM]).lines() if "would stop" in line]
    assert take_down(layout, VICTIM) == ["2021.2", "2022.2"]
    assert not part.exists()
    assert traces(layout.root, [VICTIM]) == []
