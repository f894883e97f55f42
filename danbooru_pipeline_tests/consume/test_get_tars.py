"""Getting images out of tars: by few requests, whatever is wanted of them, and none that is not what it should be."""

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.consume.get import tars
from danbooru_pipeline.errors import PublishError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.tables.webdataset import ShardImage, index_of, write_tar
from danbooru_pipeline_tests.support.hub import Hub, serving_hub

MIB = 2**20


@dataclass
class Place:
    """An origin that is a folder, and notes what was asked for. `damage` changes an answer, once."""

    folder: Path
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    damage: Callable[[bytes], bytes] | None = None

    def fetch(self, files: Mapping[str, int], folder: Path) -> dict[str, str]:  # noqa: ARG002 - of the protocol
        """Nothing here is a file of its own."""
        return {}

    def part(self, path: str, *, offset: int, size: int) -> bytes | None:
        """A range of a file."""
        self.asked.append((path, offset, size))
        if not (self.folder / path).exists():
            return None
        data = (self.folder / path).read_bytes()[offset : offset + size]
        if self.damage is not None and path.endswith(".tar"):
            data, self.damage = self.damage(data), None
        return data

    def close(self) -> None:
        """Nothing is open."""

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What was asked of tars."""
        return [(offset, size) for path, offset, size in self.asked if path.endswith(".tar")]


@dataclass
class World:
    """A tar of some images, and the posts that they belong to."""

    place: Place
    posts: list[Any]
    images: dict[str, bytes]
    target: Path
    work: Path

    def bring(self, wanted: Sequence[int] | None = None) -> tars.Brought:
        """Fetch all images, or those with these numbers."""
        posts = self.posts if wanted is None else [self.posts[number] for number in wanted]
        (done,) = tars.bring_from_tars(self.place, posts, target=self.target, work=self.work)
        return done

    def here(self) -> dict[str, bytes]:
        """Path -> content of what came."""
        return {path.relative_to(self.target).as_posix(): path.read_bytes() for path in self.target.glob("*/*/*")}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    """Makes a tar of images of these sizes."""

    def make(*sizes: int) -> World:
        place = Place(tmp_path / "place")
        (place.folder / "files").mkdir(parents=True)
        (place.folder / "original").mkdir()
        images, posts, shards = {}, [], []
        for number, size in enumerate(sizes):
            id_ = 1000 * number + 1
            data = random.Random(number).randbytes(size)
            file = place.folder / "files" / str(number)
            file.write_bytes(data)
            path = f"original/0001/{id_}.png"
            sha256 = hashlib.sha256(data).hexdigest()
            images[path] = data
            posts.append(SimpleNamespace(id=id_, path=path, size=size, sha256=sha256))
            shards.append(ShardImage(f"{id_}.png", file))
        tar = place.folder / "original/0001.tar"
        index = index_of(tar, write_tar(tar, shards, mtime=0))
        tar.with_suffix(".json").write_text(json.dumps(index))
        (tmp_path / "work").mkdir()
        return World(place, posts, images, tmp_path / "target", tmp_path / "work")

    return make


def test_whole_tar_comes_by_one_request(make: Callable[..., World]) -> None:
    """Its index is read once, and all images by one range."""
    world = make(*[3000] * 40)
    done = world.bring()
    assert (done.posts, done.fetched, done.missing) == (40, 40, [])
    assert world.here() == world.images
    assert len(world.place.asked) == 2


def test_images_far_apart_come_by_their_own_ranges(make: Callable[..., World]) -> None:
    """What is not wanted is brought along only where it is little."""
    world = make(1000, 1000, 10 * MIB, 1000, 10 * MIB, 1000)
    world.bring([0, 1, 3, 5])
    assert world.here() == {path: data for path, data in world.images.items() if len(data) == 1000}
    assert sum(size for _, size in world.place.ranges) < 10_000
    assert len(world.place.ranges) == 3


def test_large_image_comes_in_pieces_and_is_resumed(make: Callable[..., World]) -> None:
    """No more than a range is held in memory, and what a killed run has of it is not fetched again."""
    world = make(1000, 40 * MIB, 1000)
    (path,) = (path for path, data in world.images.items() if len(data) > MIB)
    (world.work / path).parent.mkdir(parents=True)
    (world.work / path).write_bytes(world.images[path][: 30 * MIB])
    assert world.bring().fetched == 3
    assert world.here() == world.images
    assert max(size for _, size in world.place.ranges) <= tars.RANGE_BYTES
    assert sum(size for _, size in world.place.ranges) < 11 * MIB


def test_large_image_of_which_another_file_lies_here_is_fetched_anew(make: Callable[..., World]) -> None:
    """A piece with other bytes costs one more attempt, from the beginning."""
    world = make(20 * MIB)
    (world.work / "original/0001").mkdir(parents=True)
    (world.work / "original/0001/1.png").write_bytes(b"?" * MIB)
    assert world.bring().fetched == 1
    assert world.here() == world.images


@pytest.mark.parametrize("damage", [lambda data: data[:-10], lambda data: b"?" * len(data), lambda _: b""])
def test_damaged_range_is_asked_for_again(make: Callable[..., World], damage: Callable[[bytes], bytes]) -> None:
    """Images that did not arrive whole are fetched once more, each alone; those that did are not."""
    world = make(*[3000] * 5)
    world.place.damage = damage
    assert world.bring().fetched == 5
    assert world.here() == world.images


def test_image_that_is_another_one_is_missing_and_the_rest_comes(make: Callable[..., World]) -> None:
    """Where the tar or its index disagrees with the manifest, the image gets no name and is named."""
    world = make(*[3000] * 5)
    world.posts[1].sha256 = "0" * 64
    world.posts[2].size = 2999
    world.posts[3].path = "original/0001/3001.jpg"
    done = world.bring()
    assert sorted(done.missing) == [world.posts[number].path for number in (1, 2, 3)]
    assert sorted(world.here()) == [world.posts[number].path for number in (0, 4)]


@pytest.mark.parametrize(
    "place",
    [
        *(b'{"offset":-5,"size":3000}', b'{"offset":1e30,"size":3000}', b"{}", b"[]", b"null"),
        *(b'{"offset":0,"size":3},"\xff.png":{"offset":0,"size":3}', b'{"offset":0,"size":3,"more":' + b"[" * 100_000),
    ],
    ids=lambda place: str(place[:40]),
)
def test_crafted_index_brings_nothing(make: Callable[..., World], place: bytes) -> None:
    """A place that is none is an error that names the index."""
    world = make(3000)
    (world.place.folder / "original/0001.json").write_bytes(b'{"files":{"1.png":' + place + b"}}")
    with pytest.raises(PublishError, match=r"original/0001\.json is no index of a tar"):
        world.bring()
    assert world.here() == {}


def test_tar_that_is_gone_is_asked_for_by_ranges_alone(make: Callable[..., World]) -> None:
    """An index without its tar costs no request for each image."""
    world = make(*[3000] * 50)
    (world.place.folder / "original/0001.tar").unlink()
    assert len(world.bring().missing) == 50
    assert len(world.place.ranges) <= 2


def test_bucket_without_tar_is_missing(make: Callable[..., World]) -> None:
    """Its posts are named; nothing else of it is asked for."""
    world = make(3000)
    (world.place.folder / "original/0001.json").unlink()
    assert world.bring().missing == [world.posts[0].path]
    assert world.place.ranges == []


@given(st.lists(st.tuples(st.integers(0, 2**21), st.integers(1, 2**25)), max_size=30))
def test_ranges_bring_every_member_once(gaps: list[tuple[int, int]]) -> None:
    """Each member is in one range; a range has no long gap, and is short unless its only member is long."""
    members, end = [], 0
    for number, (gap, size) in enumerate(gaps):
        members.append(tars.Member(str(number), end + gap, size, ""))
        end = members[-1].end
    ranges = list(tars.ranges_of(reversed(members)))
    assert [member for each in ranges for member in each] == members
    for each in ranges:
        assert len(each) == 1 or each[-1].end - each[0].offset <= tars.RANGE_BYTES
        assert all(b.offset - a.end <= tars.GAP_BYTES for a, b in itertools.pairwise(each))


@pytest.fixture
def hub(root: Layout, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A release on a stand-in of the Hub."""
    from danbooru_pipeline.publish.hub import HubPlace  # noqa: PLC0415 - an extra

    with serving_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        files = hub.files.setdefault("example/danbooru2021", {})
        for group in HubPlace("example").groups(root.release(2021)):
            for piece in group.pieces():
                with piece.files() as held:
                    files.update({path: file.read_bytes() for path, file in held.items()})
        hub.large.update({hashlib.sha256(data).hexdigest(): data for data in files.values()})
        yield hub


def test_release_comes_from_the_hub_by_few_requests(
    hub: Hub, root: Layout, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """All originals: of each tar its index and one range; the Hub's token is not shown to the host of large files."""
    done = run("get", "hf://datasets/example/danbooru2021", tmp_path / "got", "--tree", "original")
    assert done.exit_code == 0, done.output
    release = root.release(2021)
    wanted = {path.relative_to(release).as_posix(): path.read_bytes() for path in release.glob("original/*/*")}
    got = tmp_path / "got"
    assert {path.relative_to(got).as_posix(): path.read_bytes() for path in got.glob("original/*/*")} == wanted
    tars_there = [path for path in hub.files["example/danbooru2021"] if path.startswith("original/") and ".tar" in path]
    asked = [path.partition("/resolve/main/")[2] for _, path in hub.requests]
    asked = [path for path in asked if path.startswith("original/")]
    assert len(asked) == 2 * len(tars_there) + 1  # one looks whether there are tars


def test_private_data_set_needs_the_token(
    hub: Hub, tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With HF_TOKEN all comes; with another one, or none, one line says what to check, and shows neither."""
    hub.token = "hf_secret"
    for token in ("hf_other", ""):
        monkeypatch.setenv("HF_TOKEN", token)
        done = run("get", "hf://datasets/example/danbooru2021", tmp_path / "got")
        assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1), done.output
        assert "HTTP 401" in done.output
        assert "HF_TOKEN" in done.output
        assert "hf_other" not in done.output
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert run("get", "hf://datasets/example/danbooru2021", tmp_path / "got").exit_code == 0


def test_signed_address_is_not_shown(hub: Hub, tmp_path: Path, run: Callable[..., Result]) -> None:
    """Where the host of large files refuses, the line has the status and the data set, and no signature."""
    hub.expired = True
    done = run("get", "hf://datasets/example/danbooru2021", tmp_path / "got")
    assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1), done.output
    assert "HTTP 403" in done.output
    assert "example/danbooru2021" in done.output
    assert "ignature" not in done.output


def test_data_set_that_is_not_there_is_one_error(hub: Hub, tmp_path: Path, run: Callable[..., Result]) -> None:
    """Exit code 2 and one line, for a data set and for a revision."""
    for name in ("nothing", "danbooru2021@nothing"):
        done = run("get", f"hf://datasets/example/{name}", tmp_path / "got")
        assert (done.exit_code, len(done.output.strip().splitlines())) == (2, 1), done.output
    assert hub.requests
