"""Where a release is brought to: files of others are safe, and nothing of another version stays."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from danbooru_pipeline.consume.removals.feed import read_feed
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_snapshot, apply_takedown, plan_snapshot, plan_takedown, verify_release
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline_tests.support.damage import digest, linked_copy, put, resum
from danbooru_pipeline_tests.support.keys import make_key, signed_snapshot
from danbooru_pipeline_tests.support.trees import contents
from danbooru_pipeline_tests.support.web import Ranged, serving, web
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

Run = Callable[..., Result]
MINE = {"README.md": b"mine", "parquet/mine-00000-of-00001.parquet": b"mine", "512px/0001/1.jpg": b"mine"}


def write(folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """Write some files."""
    for name, data in files.items():
        put(folder / name, data)
    return files


def is_refused(done: Result, text: str) -> bool:
    """Whether a command ended with one line that has a text."""
    return (done.exit_code, len(done.output.strip().splitlines()), text in done.output) == (2, 1, True)


@pytest.mark.parametrize("name", MINE)
def test_folder_of_others_is_left_alone(released: Yard, tmp_path: Path, run: Run, name: str) -> None:
    """A folder with files that is no release is refused, also by a second run, and has what it had."""
    mine = write(tmp_path / "mine", {name: MINE[name]})
    for option in ((), ("--metadata-only",), ("--update",)):
        done = run("get", str(released.layout.release(2021)), tmp_path / "mine", *option)
        assert is_refused(done, "is neither a release nor what an unfinished get left; give a new folder"), done.output
    assert contents(tmp_path / "mine") == mine
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_files_of_others_in_a_release_stay(root: Layout, tmp_path: Path, run: Run) -> None:
    """What a user keeps in a copy, and no list names, outlives an update, whatever it is called."""
    source, target = root.release(2021), tmp_path / "got"
    assert run("get", str(source), target, "--metadata-only").exit_code == 0
    mine = write(target, {"parquet/mine-00000-of-00001.parquet": b"mine", "notes.txt": b"mine"})
    apply_takedown(plan_takedown(root, [4001]), created_at=NOW, threads=1)
    done = run("get", str(source), target, "--metadata-only", "--update")
    assert done.exit_code == 0, done.output
    assert {name: data for name, data in contents(target).items() if name in mine} == mine


def test_releases_are_no_place_for_a_copy(root: Layout, tmp_path: Path, run: Run) -> None:
    """Neither a folder inside a release nor one among those that a root publishes, also by a link, is written to."""
    source = linked_copy(root.release(2021), tmp_path / "source")
    (tmp_path / "link").symlink_to(root.releases)
    before = contents(root.root)
    places = (root.release(2021) / "got", root.release(2021) / "512px", root.releases / "danbooru2030", root.releases)
    for place in (*places, root.release(2021), tmp_path / "link/danbooru2030"):
        done = run("get", str(source), place, "--metadata-only")
        assert is_refused(done, "give a path outside of"), (place, done.output)
    assert contents(root.root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "root", "source"]


def test_what_is_no_folder_is_refused(released: Yard, tmp_path: Path, run: Run) -> None:
    """A file, and a link to nothing, are one line; a link to an empty folder is the folder."""
    put(tmp_path / "file", b"mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    for name in ("file", "nowhere"):
        assert is_refused(run("get", str(released.layout.release(2021)), tmp_path / name), "is no folder")
    (tmp_path / "empty").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "empty")
    assert run("get", str(released.layout.release(2021)), tmp_path / "here", "--metadata-only").exit_code == 0
    assert read_release(tmp_path / "empty").year == 2021


def test_unfinished_get_goes_on_with_another_version(root: Layout, tmp_path: Path, run: Run) -> None:
    """A run that ended among the tables is continued, and what only the version of that time had goes."""
    source, target = root.release(2021), tmp_path / "got"
    other = shutil.copytree(source, tmp_path / "other")
    posts = other / "parquet/posts-00000-of-00001.parquet"
    put(other / "parquet/odd-00000-of-00001.parquet", posts.read_bytes())
    for number in (0, 1):
        put(other / f"parquet/posts-{number:05d}-of-00002.parquet", posts.read_bytes())
    posts.unlink()
    resum(other)
    put(other / "removed.txt", b"damaged")
    assert "removed.txt" in run("get", str(other), target).output
    assert not (target / "RELEASE.json").exists()
    assert (target / "parquet/odd-00000-of-00001.parquet").exists()
    done = run("get", str(source), target, "--metadata-only")
    assert done.exit_code == 0, done.output
    left = contents(target)
    assert {name: (source / name).read_bytes() for name in left} == left
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.needs("ssh-keygen")
def test_update_leaves_nothing_of_the_version_before(yard: Yard, tmp_path: Path, run: Run) -> None:
    """Of a whole signed copy every document that the unsigned version lacks, or has otherwise, goes: it verifies."""
    make_key(tmp_path / "key")
    yard.manifest()
    options = DocumentOptions(signer=public_key(tmp_path / "key"))
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=1, signing_key=tmp_path / "key")
    release = yard.layout.release(2021)
    target = shutil.copytree(release, tmp_path / "copy/danbooru2021")
    write(target, {"notes/mine.txt": b"mine"})
    release.rename(tmp_path / "lost")  # what is signed is not replaced by what is not
    yard.post(9001)
    yard.manifest()
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=DocumentOptions())
    apply_snapshot(plan, created_at=NOW + timedelta(days=1), threads=1)
    assert not (release / "allowed_signers").exists()
    done = run("get", str(release), target, "--update")
    assert done.exit_code == 0, done.output
    for name in ("SHA256SUMS.sig", "allowed_signers"):
        assert not (target / name).exists()
    there = contents(release)
    assert {name: data for name, data in contents(target).items() if there.get(name) != data} == {
        "notes/mine.txt": b"mine"
    }
    assert verify_release(target).signature == "none"


@pytest.mark.needs("ssh-keygen")
def test_signature_with_more_than_itself_is_not_brought(yard: Yard, tmp_path: Path, run: Run) -> None:
    """With signers or without, such a file is refused before anything is at the target; the signature itself comes."""
    key = make_key(tmp_path / "key")
    signers = tmp_path / "signers"
    signers.write_text(f"danbooru-release {public_key(key)}\n")
    yard.manifest()
    signed_snapshot(yard, key)
    release = yard.layout.release(2021)
    whole = (release / "SHA256SUMS.sig").read_bytes()
    put(release / "SHA256SUMS.sig", whole + b"trust me\n")
    for more, said in (
        ((), "is not one signature and nothing else"),
        (("--signers", signers), "is not signed by a key"),
    ):
        done = run("get", str(release), tmp_path / "got", "--metadata-only", *map(str, more))
        assert is_refused(done, said), done.output
        assert not (tmp_path / "got/SHA256SUMS.sig").exists()
        with pytest.raises(ReleaseError, match="is not signed by a key"):
            read_feed(release / "removals.jsonl", signers=signers)
    put(release / "SHA256SUMS.sig", whole)
    assert run("get", str(release), tmp_path / "got", "--metadata-only", "--signers", signers).exit_code == 0
    assert (tmp_path / "got/SHA256SUMS.sig").read_bytes() == whole
    assert read_feed(release / "removals.jsonl", signers=signers) == frozenset()


def test_signature_stays_where_the_same_version_is_brought(root: Layout, tmp_path: Path, run: Run) -> None:
    """A mirror that lacks the signature does not take it from a copy of the same bytes."""
    source, target = root.release(2021), tmp_path / "got"
    assert run("get", str(source), target, "--metadata-only").exit_code == 0
    put(target / "SHA256SUMS.sig", b"signature")
    assert run("get", str(source), target, "--metadata-only").exit_code == 0
    assert (target / "SHA256SUMS.sig").read_bytes() == b"signature"


class Flipping(Ranged):
    """Two versions of a release: the second one takes the place of the first at the n-th request."""

    old: Path
    new: Path
    left: int

    def translate_path(self, path: str) -> str:
        """Where a file lies by now."""
        type(self).left -= 1
        return str((self.old if self.left >= 0 else self.new) / path.lstrip("/"))


def flipping(old: Path, new: Path, requests: int) -> type[Flipping]:
    """A handler that has the old version for so many requests."""

    class Handler(Flipping):
        """With a count of its own."""

    Handler.old, Handler.new, Handler.left = old, new, requests
    return Handler


@pytest.fixture
def versions(root: Layout, tmp_path: Path) -> tuple[Path, Path]:
    """Danbooru2021 before and after a takedown."""
    old = linked_copy(root.release(2021), tmp_path / "old")
    apply_takedown(plan_takedown(root, [4001]), created_at=NOW, threads=1)
    return old, root.release(2021)


@pytest.mark.parametrize("requests", range(1, 40, 3))
def test_release_that_is_replaced_meanwhile_is_told_as_that(
    versions: tuple[Path, Path], tmp_path: Path, run: Run, requests: int
) -> None:
    """Whenever it is replaced, a run brings one version or ends with 75; the next one brings the new version."""
    old, new = versions
    handler = flipping(old, new, requests)
    target = tmp_path / "got"
    with serving(partial(handler, directory=str(new))) as address:
        done = run("get", address, target, "--tree", "original")
        assert done.exit_code in {0, 75}, done.output
        if done.exit_code:
            assert "was replaced while it was read; run again" in done.output
            assert len(done.output.strip().splitlines()) == 1
        handler.left = 0
        again = run("get", address, target, "--tree", "original", "--update")
    assert again.exit_code == 0, again.output
    left = contents(target)
    assert {name: (new / name).read_bytes() for name in left} == left
    assert read_release(target).version == read_release(new).version


def test_release_that_goes_while_it_is_read_is_told_as_that(released: Yard, tmp_path: Path, run: Run) -> None:
    """A mirror takes RELEASE.json away before it moves a file: what is missing then is so for a while."""
    release = released.layout.release(2021)
    (tmp_path / "nothing").mkdir()
    handler = flipping(release, tmp_path / "nothing", 10)
    with serving(partial(handler, directory=str(release))) as address:
        done = run("get", address, tmp_path / "got")
    assert (done.exit_code, "was replaced while it was read; run again" in done.output) == (75, True)


def test_head_of_two_versions_is_one_to_try_again(versions: tuple[Path, Path], tmp_path: Path, run: Run) -> None:
    """RELEASE.json and SHA256SUMS that never fit are as those of a release that is replaced: 75, and no folder."""
    old, new = versions
    mixed = linked_copy(old, tmp_path / "mixed")
    put(mixed / "SHA256SUMS", (new / "SHA256SUMS").read_bytes())
    with web(mixed) as address:
        done = run("get", address, tmp_path / "got")
    assert (done.exit_code, "do not belong together" in done.output) == (75, True)
    assert not (tmp_path / "got").exists()


def test_damage_is_not_told_as_a_release_that_was_replaced(root: Layout, tmp_path: Path, run: Run) -> None:
    """A table that is missing from the same version is 2, and an image 1, as before."""
    image = next(root.release(2021).glob("original/*/*"))
    image.unlink()
    assert run("get", str(root.release(2021)), tmp_path / "got", "--tree", "original").exit_code == 1
    before = digest(root.release(2021) / "RELEASE.json")
    next(root.release(2021).glob("parquet/posts-*")).unlink()
    assert run("get", str(root.release(2021)), tmp_path / "other").exit_code == 2
    assert digest(root.release(2021) / "RELEASE.json") == before
