"""January after a followed year: hardly a file is asked for, and the release has the same bytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from danbooru_pipeline.demo.process import BooruProcess
from danbooru_pipeline.release import apply_takedown, plan_takedown, verify_release
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.follow import compare_with_sweep
from danbooru_pipeline.store.follow.seen import read_seen
from danbooru_pipeline_tests.support.followed import (
    JANUARY,
    SPRING,
    SUMMER,
    Follower,
    content_of,
    current,
    following,
    new_post,
    old_jpg,
)


@pytest.fixture(scope="session")
def _first_year(running_booru: BooruProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the release of 2021, built once."""
    booru = running_booru
    booru.clear_faults()
    booru.forget_changes()
    root = tmp_path_factory.mktemp("followed") / "root"
    with following(booru, settings_for(booru, root)) as follower:
        follower.release(2021)
    return root


def settings_for(booru: BooruProcess, root: Path) -> Settings:
    """Settings of a root."""
    return Settings(
        root=root,
        api_url=booru.api_url,
        cdn_url=booru.cdn_url,
        workers=2,
        png_level=0,
        retry_seconds=3,
    )


@pytest.fixture
def follower(booru: BooruProcess, _first_year: Path, tmp_path: Path) -> Iterator[Follower]:
    """A copy of that root."""
    shutil.copytree(_first_year, tmp_path / "root", symlinks=True)
    with following(booru, settings_for(booru, tmp_path / "root")) as follower:
        yield follower


@pytest.fixture
def plain(booru: BooruProcess, _first_year: Path, tmp_path: Path) -> Iterator[Follower]:
    """Another copy, which does not follow."""
    shutil.copytree(_first_year, tmp_path / "plain", symlinks=True)
    with following(booru, settings_for(booru, tmp_path / "plain")) as follower:
        yield follower


def asked(follower: Follower) -> int:
    """Build Danbooru2022; the requests for files that it took."""
    follower.go_to(JANUARY[2022])
    follower.release(2022)
    return follower.files_asked


@pytest.mark.slow(20)
def test_january_after_a_followed_year(follower: Follower, plain: Follower, booru: BooruProcess) -> None:
    """January asks for at most a twentieth of the files, and the release is the same, byte for byte."""
    before = content_of(follower.layout.release(2021))
    follower.go_to(SPRING)
    for post, kind in ((old_jpg(booru), "replaced"), (new_post(booru), "replaced"), (new_post(booru), "deleted")):
        booru.change(post["id"], kind)
    follower.follow_year(days=14)
    for post in booru.truth(2022)[-9:-2]:  # edited when they were followed already: others get a 512px image now
        booru.change(post["id"], "rerated")
    assert content_of(follower.layout.release(2021)) == before
    with_following, without = asked(follower), asked(plain)
    assert without >= 8
    assert with_following <= 0.05 * without
    assert content_of(follower.layout.release(2022)) == content_of(plain.layout.release(2022))
    missed = compare_with_sweep(follower.layout, 2022)
    assert missed is not None
    assert (missed.posts, missed.files, missed.hidden, missed.expunged) == (0, 0, 0, 0)
    assert compare_with_sweep(plain.layout, 2022) is None


def test_nothing_is_published_early(follower: Follower, booru: BooruProcess) -> None:
    """The release of the year before, made again while the year is followed, is the same and names no new file."""
    before, post = content_of(follower.layout.release(2021)), old_jpg(booru)
    follower.go_to(SPRING)
    booru.change(post["id"], "replaced")
    follower.follow(SUMMER)
    new = current(booru, post)
    assert follower.layout.replaced(post["id"], new["md5"], new["file_ext"]).exists()
    follower.release(2021)
    after = content_of(follower.layout.release(2021))
    assert after == before
    assert not any(new["md5"] in name for name in after)
    assert verify_release(follower.layout.release(2021), full=True).ok


def test_takedown_takes_what_was_followed(follower: Follower, booru: BooruProcess) -> None:
    """Files, kept files and rows of a post that is taken down go, and following does not bring them back."""
    old, new = old_jpg(booru), new_post(booru)
    follower.follow(SPRING)
    follower.go_to(SUMMER)
    for post in (old, new):
        booru.change(post["id"], "replaced")
    follower.follow()
    ids = {old["id"], new["id"]}
    assert names_of(follower, ids) >= {"original", "replaced", "512px"}
    damaged = follower.layout.follow_parts[0]
    damaged.write_bytes(b"PAR1")  # nobody can tell whether it names one of them
    apply_takedown(plan_takedown(follower.layout, ids), created_at=follower.clock[0], threads=1)
    assert not damaged.exists()
    for _ in range(2):
        assert names_of(follower, ids) == set()
        assert ids.isdisjoint(read_seen(follower.layout)["id"].to_pylist())
        assert all(follower.row_of(post) is None for post in (old, new))
        booru.change(old["id"], "replaced")
        follower.follow()


def names_of(follower: Follower, ids: set[int]) -> set[str]:
    """The folders of the store that have a file of these posts."""
    found = (path for path in follower.layout.store.rglob("*") if path.is_file())
    return {
        path.relative_to(follower.layout.store).parts[0]
        for path in found
        if path.name.partition(".")[0] in map(str, ids)
    }
