"""Import: what a path may hold, and that nothing in it is passed over without a word."""

import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pyvips

from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.layout import BUCKETS, Layout, bucket_of, original_path
from danbooru_pipeline.posts import Fetch
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.imports import import_files, open_holdings
from danbooru_pipeline.store.imports.candidates import Candidate, Finder
from danbooru_pipeline.store.imports.held import Held
from danbooru_pipeline_tests.support.buckets import buckets_of
from danbooru_pipeline_tests.support.imported import YEAR, NewStore, as_another_user, names_of, pack, write_release


def to_other_disk(folder: Path) -> None:
    """Move each bucket of a tree to another folder, and leave a link to it."""
    for bucket in sorted(folder.iterdir()):
        there = folder.parent.parent / "disk" / bucket.name
        there.parent.mkdir(exist_ok=True)
        bucket.rename(there)
        bucket.symlink_to(there)


def test_buckets_may_be_on_other_disks(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """Buckets of a tree or of a release that are links to folders elsewhere are read like others."""
    tree = store.tree(tmp_path / "a/tree")
    to_other_disk(tree / "original")
    report = fresh.take(tree, dry_run=True)
    assert (report.taken, report.problems) == (len(store.files), ())
    release = write_release(store.context, tmp_path / "b/release")
    to_other_disk(release / "original")
    report = fresh.take(release)
    assert (report.left, report.problems) == (0, ())


def test_what_is_passed_over_is_named(store: NewStore, tmp_path: Path) -> None:
    """A link of a file, a folder in its place and a bucket that leads nowhere are counted, and the first is named."""
    tree = store.tree(tmp_path / "tree")
    paths = [path for path in sorted(tree.rglob("*.*")) if path.is_file()]
    paths[0].rename(tmp_path / "elsewhere")
    paths[0].symlink_to(tmp_path / "elsewhere")
    paths[1].unlink()
    paths[1].mkdir()
    (tree / "original/0999").symlink_to(tmp_path / "nowhere")
    report = store.take(tree, dry_run=True)
    (problem,) = report.problems
    assert report.taken == len(store.files) - 2
    assert f"3 files or folders could not be used, the first of them {paths[0]} (a symbolic link)" in problem


@pytest.mark.skipif(os.geteuid() != 0, reason="root reads everything")
def test_a_bucket_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    """Files in a folder without permission are no missing files."""
    (tmp_path / "original/0001").mkdir(parents=True)
    (tmp_path / "original/0001").chmod(0)
    wanted = Fetch(1, "0" * 32, "png", file_size=None, rating=None, file_url=None)

    def look() -> bool:
        (holding,) = open_holdings([Path()])
        with pytest.raises(StoreError, match=r"1 files or folders.*original/0001/1\.png \(Permission denied\)"):
            [list(find([wanted], tmp_path)) for _, find in holding.buckets()]
        return True

    assert as_another_user(tmp_path, look)
    (tmp_path / "original/0001").chmod(0o700)


@dataclass(frozen=True)
class Unreadable:
    """A holding of files that cannot be read."""

    place: Path
    title: str = "broken disk"
    can_move: bool = True

    def buckets(self) -> Iterator[tuple[str, Finder]]:
        """All of them."""
        return ((bucket, self.find) for bucket in BUCKETS)

    def find(self, wanted: Iterable[Fetch], _scratch: Path, /) -> Iterator[Candidate]:
        """A folder instead of each file."""
        return (Candidate(fetch, self.place, fetch.ext) for fetch in wanted)


def test_files_that_cannot_be_read_are_named(store: NewStore, tmp_path: Path) -> None:
    """Read errors are counted as an outcome, and make a line of the report."""
    report = import_files(store.context, [Unreadable(tmp_path)])
    count = report.outcomes["unreadable"]
    assert count == report.wanted > 0
    assert report.problems == (
        f"broken disk: {count} files or folders could not be used, the first of them {tmp_path} (cannot be read)",
    )


@pytest.mark.parametrize("place", ["{}.tgz", "{}.txz", "a/{}.tar", "2021/mirror/{}.tar.gz"])
def test_tars_are_found_by_all_their_names_and_in_folders(store: NewStore, tmp_path: Path, place: str) -> None:
    """Short names of compressed tars, and tars one or two folders deeper, are read."""
    members = names_of(store)
    for number, some in enumerate((members[:9], members[9:])):
        path = tmp_path / "given" / place.format(f"{number:04d}")
        path.parent.mkdir(parents=True, exist_ok=True)
        forms: dict[str, Callable[[bytes], bytes]] = {".tar": bytes, ".txz": lzma.compress}
        path.write_bytes(forms.get(path.suffix, gzip.compress)(pack(some)))
    report = store.take(tmp_path / "given", dry_run=True)
    assert (report.taken, report.problems) == (len(members), ())


def test_a_folder_of_releases_is_read(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """All releases in it are, each once, however many links lead to one."""
    write_release(store.context, tmp_path / "releases/danbooru2021")
    (tmp_path / "releases/current").symlink_to("danbooru2021")
    (tmp_path / "releases/mirrors.html").write_text("x")
    assert len(open_holdings([tmp_path / "releases"])) == 1
    report = fresh.take(tmp_path / "releases")
    assert (report.left, report.problems) == (0, ())


@pytest.mark.parametrize("name", ["", "pictures/a.png", "0000.tar.zst", "a/0001.tar.lz4", "0000.tar"])
def test_a_path_that_holds_nothing_is_named(store: NewStore, tmp_path: Path, name: str) -> None:
    """An empty folder, unknown names, tars that cannot be unpacked, or without ID.EXT: the report says so."""
    path = tmp_path / "given" / name
    (path.parent if name else path).mkdir(parents=True, exist_ok=True)
    if name:
        path.write_bytes(pack([("a12.png", b"x")]))
    (problem,) = store.take(tmp_path / "given", dry_run=True).problems
    assert str(tmp_path / "given") in problem
    assert re.search(r"holds nothing|cannot be read|none of them named", problem)


def write_tar(store: NewStore, folder: Path, bucket: str, *, gz: bool = False) -> Path:
    """A tar of one bucket, with members that must not be taken beside it."""
    folder.mkdir(exist_ok=True)
    path = folder / (f"{bucket}.tar" + (".gz" if gz else ""))
    with tarfile.open(path, "w:gz" if gz else "w") as tar:
        for name, data in (("../../1.png", b"x"), ("README", b"x"), ("0.jpg", b"x"), ("/etc/passwd", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("7.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for id_, (ext, data) in store.files.items():
            if bucket_of(id_) == bucket:
                info = tarfile.TarInfo(f"./{id_}.{ext}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def test_tars_are_read_member_by_member(store: NewStore, tmp_path: Path) -> None:
    """One tar a bucket, compressed or not: nothing is extracted by its name, and a broken one costs itself alone."""
    tars = tmp_path / "tars"
    for number, bucket in enumerate(buckets_of(store.context, YEAR)):
        write_tar(store, tars, bucket, gz=number % 2 == 0)
    (tars / "0999.json").write_text("{}")
    (tars / "0998.tar").write_bytes(b"no tar")
    report = store.take(tars)
    assert report.taken == report.outcomes["md5"] == len(store.files)
    assert len(report.problems) == 1
    assert not list(store.context.layout.store.rglob(".*.part"))
    assert not (tmp_path / "1.png").exists()
    assert store.requests_of_a_build() == report.left


def harm(kind: str, members: list[tuple[str, bytes]]) -> bytes:
    """A tar that cannot be read as a whole, whose last member at least is lost."""
    whole, most = pack(members), pack(members[:-1])
    boundary = len(most.rstrip(b"\0")) // 512 * 512 + 512
    return {
        "within a member": whole[: boundary + 600],
        "within a header": whole[: boundary + 100],
        "between members": whole[:boundary],
        "no header": whole[:boundary] + b"\xff" * 512 + whole[boundary + 512 :],
        "no tar after its end": most + b"\xff" * 512,
        "compressed": gzip.compress(whole, 1)[:-20_000],
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["within a member", "within a header", "between members", "no header", "no tar after its end", "compressed"],
)
def test_a_tar_that_is_not_whole_is_named(store: NewStore, tmp_path: Path, kind: str) -> None:
    """What can be read is taken; the report names the tar, why it ends there, and how many members were read."""
    members = names_of(store)
    path = tmp_path / "0000.tar"
    path.write_bytes(harm(kind, members))
    report = store.take(path, dry_run=True)
    (problem,) = report.problems
    assert "could not be read as a whole" in problem
    (count,) = re.findall(r"(\d+) members were read", problem)
    assert report.taken < len(members)
    assert report.taken in {int(count), int(count) - 1}  # the last one may end too early
    assert kind == "compressed" or report.taken == len(members) - 1


def test_tars_in_one_file_are_all_read(store: NewStore, tmp_path: Path) -> None:
    """Two tars, one after the other, are read like one; a tar of no members, and any padding, are whole."""
    members = names_of(store)
    path = tmp_path / "0000.tar"
    path.write_bytes(pack([]) + pack(members[:5]) + bytes(512 * 100) + pack(members[5:]) + bytes(700))
    report = store.take(path, dry_run=True)
    assert (report.taken, report.problems) == (len(members), ())


def test_each_candidate_of_a_file_is_tried_until_one_is_proven(store: NewStore, tmp_path: Path) -> None:
    """Of two members of one name, or two spellings of one file, the one that is the post's is taken, wherever it is."""
    name, data = names_of(store)[0]
    jpg = store.of("jpg")
    path = tmp_path / "tars/0000.tar"
    path.parent.mkdir()
    path.write_bytes(pack([(name, b"old"), (name, data), (f"a/{name}", b"other"), (f"b/{name}", data)]))
    report = store.take(path)
    assert (report.taken, report.outcomes) == (1, {"unproven": 1, "md5": 1})
    assert not list(store.context.layout.store.rglob(".*.part"))
    tree = tmp_path / "tree" / original_path(jpg, "jpg")
    tree.parent.mkdir(parents=True)
    tree.write_bytes(b"old")
    tree.with_suffix(".jpeg").write_bytes(store.files[jpg][1])
    assert store.take(tmp_path / "tree").outcomes["md5"] == 1


@pytest.mark.parametrize("nested", [True, False])
def test_folders_by_md5_are_looked_up(store: NewStore, tmp_path: Path, *, nested: bool) -> None:
    """Downloaders name files by MD5, in one folder or in two levels."""
    for post in store.booru.truth(YEAR):
        if post["id"] in store.files:
            ext, data = store.files[post["id"]]
            md5 = post["md5"]
            path = tmp_path / "md5" / (f"{md5[:2]}/{md5[2:4]}/{md5}.{ext}" if nested else f"{md5}.{ext}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    report = store.take(tmp_path / "md5")
    assert report.outcomes == {"md5": len(store.files)}
    assert store.requests_of_a_build() == report.left


def md5_of(store: NewStore) -> dict[int, str]:
    """The MD5 of each file's post."""
    return {post["id"]: post["md5"] for post in store.booru.truth(YEAR) if post["id"] in store.files}


def by_md5(store: NewStore, folder: Path) -> Path:
    """The site's files as ``MD5.EXT``."""
    folder.mkdir()
    md5s = md5_of(store)
    for id_, (ext, data) in store.files.items():
        (folder / f"{md5s[id_]}.{ext}").write_bytes(data)
    return folder


def test_several_places_are_foreseen_by_a_dry_run(store: NewStore, tmp_path: Path) -> None:
    """Of places with the same files the first counts, in both modes; what this import took was not there before."""
    tree, same = store.tree(tmp_path / "tree"), by_md5(store, tmp_path / "md5")
    optimised = tree / original_path(store.of("png", 1), "png")
    optimised.write_bytes(pyvips.Image.new_from_file(str(optimised)).pngsave_buffer(compression=9))
    (tree / original_path(store.of("jpg"), "jpg")).write_bytes(b"x")
    foreseen, done = (store.take(tree, same, tree, dry_run=dry_run) for dry_run in (True, False))
    assert foreseen.outcomes == {"md5": len(store.files) - 1, "pixel_hash": 1, "unproven": 1}
    assert done.outcomes == foreseen.outcomes
    assert (done.taken, done.left, done.bytes) == (foreseen.taken, foreseen.left, foreseen.bytes)
    for dry_run in (True, False):
        assert store.take(tree, same, tree, dry_run=dry_run).outcomes == {"present": len(store.files) - 1}


def test_512px_images_are_foreseen_by_a_dry_run(fresh: NewStore, store: NewStore, tmp_path: Path) -> None:
    """A dry run counts the 512px images that a release would bring, and brings none."""
    release = write_release(store.context, tmp_path / "release")
    foreseen = fresh.take(release, dry_run=True)
    assert not list(fresh.context.layout.store.glob("512px/*/*"))
    assert foreseen.px512 == fresh.take(release).px512 > 0


def test_a_file_of_the_store_is_read_once(settings: Settings) -> None:
    """Whether it is its post's is asked for each place, and found out the first time; then it need not be there."""
    layout = Layout(settings.root)
    right, other = (
        Fetch(id_, hashlib.md5(b"right").hexdigest(), "png", file_size=5, rating="g", file_url=None)
        for id_ in (1, 10**15)
    )
    for fetch, data in ((right, b"right"), (other, b"wrong")):
        path = layout.original(fetch.id, fetch.ext)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    held = Held(layout)
    assert [held.has(right), held.has(other)] == [True, False]
    layout.original(right.id, "png").write_bytes(b"wrong")
    layout.original(other.id, "png").write_bytes(b"right")
    assert [held.has(right), held.has(other), held.present] == [True, False, 1]
    held.add(other)
    assert [held.has(other), held.present] == [True, 1]


WRITTEN: dict[str, Callable[[int, str, str], str]] = {
    "tree": lambda id_, _md5, ext: f"original/{bucket_of(id_)}/{id_}.{ext.upper()}",
    "tree, one letter": lambda id_, _md5, ext: f"original/{bucket_of(id_)}/{id_}.{ext.title()}",
    "by MD5": lambda _id, md5, ext: f"{md5.upper()}.{ext}",
    "by MD5, extension too": lambda _id, md5, ext: f"{md5.upper()}.{ext.upper()}",
    "by MD5, extension alone": lambda _id, md5, ext: f"{md5[:2]}/{md5}.{ext.upper()}",
    "by MD5, in folders": lambda _id, md5, ext: f"{md5[:2]}/{md5[2:4]}/{md5}.{ext}".upper(),
    "by MD5, folders alone": lambda _id, md5, ext: f"{md5[:2].upper()}/{md5[2:4].title()}/{md5}.{ext}",
    "by MD5, in both cases": lambda _id, md5, ext: f"{md5[:16].upper()}{md5[16:]}.{ext}",
    "by MD5, as a title": lambda _id, md5, ext: f"{md5.title()}.{ext.title()}",
    "by MD5, in both cases and folders": lambda _id, md5, ext: f"{md5[:2]}/{md5[2:4]}/{md5.title()}.{ext.upper()}",
    "by MD5, in both cases, one folder": lambda _id, md5, ext: f"{md5[:2].title()}/{md5.swapcase().title()}.{ext}",
    "by MD5, each second": lambda id_, md5, ext: f"{md5.upper() if id_ % 2 else md5}.{ext}",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_names_may_be_in_any_case(store: NewStore, tmp_path: Path, name: str) -> None:
    """Extensions, MD5s and their folders in upper case are seen; the store's own names are in lower case."""
    md5s = md5_of(store)
    for id_, (ext, data) in store.files.items():
        path = tmp_path / "given" / WRITTEN[name](id_, md5s[id_], ext)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    report = store.take(tmp_path / "given")
    assert (report.outcomes, report.problems) == ({"md5": len(store.files)}, ())
    held = {path.name for path in store.context.layout.store.glob("original/*/*")}
    assert held == {f"{id_}.{ext}" for id_, (ext, _) in store.files.items()}


def test_members_of_a_tar_may_be_in_any_case(store: NewStore, tmp_path: Path) -> None:
    """Members whose extension is in upper case are taken like the others, under the names that a release has."""
    path = tmp_path / "0000.tar"
    path.write_bytes(pack((name.upper() if n % 2 else name, data) for n, (name, data) in enumerate(names_of(store))))
    report = store.take(path)
    assert (report.outcomes, report.problems) == ({"md5": len(store.files)}, ())
    held = {path.name for path in store.context.layout.store.glob("original/*/*")}
    assert held == {name for name, _ in names_of(store)}


def test_a_name_in_two_cases_proves_nothing(store: NewStore, tmp_path: Path) -> None:
    """Of several files of one MD5 in different cases the one that has these bytes is taken, whichever comes first."""
    md5s, given = md5_of(store), tmp_path / "given"
    given.mkdir()
    id_, other = store.of("png"), store.of("png", 1)
    md5 = md5s[id_]
    letter = max(place for place, digit in enumerate(md5) if digit.isalpha())
    for name in (f"{md5.title()}.Png", f"{md5.upper()}.png", f"{md5s[other].title()}.png"):
        (given / name).write_bytes(b"another file")
    (given / f"{md5[:letter].upper()}{md5[letter:]}.PNG").write_bytes(store.files[id_][1])
    report = store.take(given)
    assert (report.taken, report.outcomes["md5"], report.problems) == (1, 1, ())
    assert [path.name for path in store.context.layout.store.glob("original/*/*")] == [f"{id_}.png"]
    assert store.context.layout.original(id_, "png").read_bytes() == store.files[id_][1]


def test_too_many_md5s_in_two_cases_are_named(store: NewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program writes many; memory stays bounded, and where they lie and what to do is said."""
    monkeypatch.setattr("danbooru_pipeline.store.imports.spelled.MAX_MIXED", 0)
    path = tmp_path / "given" / ("aB" * 16 + ".png")
    path.parent.mkdir()
    path.write_bytes(b"x")
    (problem,) = store.take(tmp_path / "given", dry_run=True).problems
    assert f"{path} (an MD5 in upper and lower case; rename it to lower case)" in problem


def _to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere.tar")


def _to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a pipe"),
        (_to_device, "a device"),
        (Path.mkdir, "a folder"),
        (_to_nowhere, "a symbolic link that leads nowhere"),
    ],
)
def test_what_is_no_file_is_not_opened_as_a_tar(
    store: NewStore, tmp_path: Path, make: Callable[[Path], object], kind: str
) -> None:
    """A pipe or device that is named like a tar is named with what it is, not waited for; tars beside it are read."""
    members = names_of(store)
    (tmp_path / "given").mkdir()
    (tmp_path / "given/0001.tar").write_bytes(pack(members))
    make(tmp_path / "given/0000.tar")
    report = store.take(tmp_path / "given", dry_run=True)
    (problem,) = report.problems
    assert f"{tmp_path}/given/0000.tar is {kind}" in problem
    assert "give a release" in problem
    assert report.taken == len(members)


@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest/files-00000-of-00001.parquet"])
def test_a_pipe_in_a_release_is_not_waited_for(fresh: NewStore, store: NewStore, tmp_path: Path, name: str) -> None:
    """A release whose manifest or checksums are no file is refused as incomplete, instead of waiting for a writer."""
    release = write_release(store.context, tmp_path / "release")
    (release / name).unlink()
    os.mkfifo(release / name)
    (problem,) = fresh.take(release, dry_run=True).problems
    assert "is not complete; verify the release first" in problem
