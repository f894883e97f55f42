"""verify.sh of a release finds what is missing, extra or altered with a shell, coreutils and xz, and nothing else."""

import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from danbooru_pipeline.release import DocumentOptions, apply_snapshot, plan_snapshot
from danbooru_pipeline.release.signing import public_key
from danbooru_pipeline_tests.support.damage import (
    MARK_PLACES,
    edit_json,
    flip,
    linked_copy,
    move_mark,
    original,
    put,
    resum,
    small,
)
from danbooru_pipeline_tests.support.keys import SIGNATURES_WITH_MORE, make_key
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, small_yard

#: What the script may use: coreutils, xz, and ssh-keygen where it is installed.
PROGRAMS = (
    "basename",
    "cat",
    "cut",
    "dirname",
    "fold",
    "head",
    "ls",
    "mktemp",
    "rm",
    "sha256sum",
    "sort",
    "tail",
    "tr",
    "uniq",
    "wc",
    "xz",
)
Damage = Callable[[Path], object]


@pytest.fixture(scope="session")
def _signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release, and beside it the key that its user trusts, and another."""
    root = tmp_path_factory.mktemp("script")
    for name in ("key", "other"):
        make_key(root / name)
        (root / f"{name}.signers").write_text(f"danbooru-release {public_key(root / name)}\n")
    yard = small_yard(root / "root")
    yard.manifest()
    options = DocumentOptions(signer=public_key(root / "key"))
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=2, signing_key=root / "key")
    return root


@pytest.fixture
def folder(_signed: Path, tmp_path: Path) -> Path:
    """A copy of the release, in a folder with a space."""
    return linked_copy(_signed / "root/releases/danbooru2021", tmp_path / "a copy")


def verify(
    folder: Path, *more: object, shell: str = "dash", without: str = "", stdin: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the script with the programs that it may use, and no others."""
    programs = folder.parent / "bin"
    programs.mkdir(exist_ok=True)
    for name in (*PROGRAMS, "ssh-keygen"):
        (programs / name).unlink(missing_ok=True)
        source = "busybox" if shell == "busybox" and name != "ssh-keygen" else name
        if name != without:
            (programs / name).symlink_to(str(shutil.which(source)))
    command = [str(shutil.which(shell)), *(["sh"] if shell == "busybox" else []), str(folder / "verify.sh")]
    return subprocess.run(
        [*command, *map(str, more)],
        stdin=stdin,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder.parent,
        errors="replace",
    )


SHELLS = [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("dash", "bash", "busybox")]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.needs("ssh-keygen", "xz")
def test_whole_release_is_well_in_every_shell(folder: Path, _signed: Path, shell: str) -> None:  # noqa: PT019
    """The script says so, with the key of the release and with that of its user, and nothing on standard error."""
    for more in ((), (folder,), (folder, _signed / "key.signers")):
        done = verify(folder, *more, shell=shell)
        assert (done.returncode, done.stdout, done.stderr) == (0, "all is well; signature good\n", "")
    done = verify(folder, folder, _signed / "other.signers", shell=shell)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 findings; signature bad")


def swap(folder: Path) -> None:
    """Two originals have each other's bytes."""
    one, other = original(folder, 0).read_bytes(), original(folder, 1).read_bytes()
    put(original(folder, 0), other)
    put(original(folder, 1), one)


def pipe(path: Path) -> None:
    """A file is a pipe."""
    path.unlink()
    os.mkfifo(path)


def append_line(folder: Path, line: str) -> None:
    """SHA256SUMS has one line more."""
    put(folder / "SHA256SUMS", (folder / "SHA256SUMS").read_bytes() + line.encode())


def link(path: Path) -> None:
    """A file is a link to one outside with the same bytes."""
    away = path.parents[2] / "away" if path.parent.name != "a copy" else path.parent.parent / "away"
    shutil.copy(path, away)
    path.unlink()
    path.symlink_to(away)


def starred(path: Path) -> None:
    """A file has a star at the end of its name."""
    path.rename(path.with_name(f"{path.name}*"))


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    """A file has other bytes."""
    put(path, change(path.read_bytes()))


def huge(path: Path) -> None:
    """A file is a terabyte of zeros."""
    put(path, b"")
    os.truncate(path, 2**40)


def unlisted(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """A document is altered, and the line of SHA256SUMS that would tell is, too; RELEASE.json names that list."""
    last = (folder / "SHA256SUMS").read_text().splitlines()[-1][66:]
    flip(folder / last, 30)  # of verify.sh a letter of a comment, so that it still runs
    edit(folder / "SHA256SUMS", change)
    named = hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()
    edit_json(folder / "RELEASE.json", lambda release: release.update(sha256sums_sha256=named))


def swollen_list(folder: Path) -> None:
    """The list of all files is 20 GB of zeros."""
    put(folder / "filelist.txt.xz", lzma.compress(bytes(2**26), preset=0) * 300)
    resum(folder)


DAMAGE: dict[str, tuple[Damage, str]] = {
    "document altered": (lambda f: flip(f / "README.md"), "altered: README.md"),
    "document missing": (lambda f: (f / "NOTICE.md").unlink(), "missing: NOTICE.md"),
    "document extra": (lambda f: put(f / "metadata/2020/new.json", b""), "extra: metadata/2020/new.json"),
    "hidden document": (lambda f: put(f / ".DS_Store", b""), "extra: .DS_Store"),
    "document is a link": (lambda f: link(f / "README.md"), "extra: README.md@"),
    "document is a pipe": (lambda f: pipe(f / "README.md"), "extra: README.md|"),
    "empty folder": (lambda f: (f / "parquet/new").mkdir(), "empty folder: parquet/new"),
    "table altered": (lambda f: flip(f / "manifest/files-00000-of-00001.parquet"), "altered: manifest/files-"),
    "list altered": (
        lambda f: flip(f / "checksums/original/0001.sha256", 3),
        "altered: checksums/original/0001.sha256",
    ),
    "original altered": (lambda f: flip(original(f)), "altered: original/0001/12001.jpg"),
    "512px altered": (lambda f: flip(small(f)), "altered: 512px/"),
    "original missing": (lambda f: original(f).unlink(), "missing: original/0001/12001.jpg"),
    "originals swapped": (swap, "altered: original/0001/12001.jpg"),
    "original extra": (lambda f: put(f / "original/0001/9001.png", b"x"), "extra: original/0001/9001.png"),
    "original linked": (lambda f: link(original(f)), "extra: original/0001/12001.jpg@"),
    "original under two names": (
        lambda f: (f / "original/0001/77001.jpg").hardlink_to(original(f)),
        "extra: original/0001/77001.jpg",
    ),
    "name with a newline": (lambda f: put(f / "original/0001/1\n2.png", b"x"), "extra: original/0001/1"),
    "bucket missing": (lambda f: shutil.rmtree(f / "original/0001"), "missing: original/0001/12001.jpg"),
    "bucket extra": (lambda f: put(f / "original/0999/999.png", b"x"), "extra: original/0999"),
    "folder that is no bucket": (lambda f: put(f / "original/x/1.png", b"x"), "extra: original/x/1.png"),
    "sums of the outside": (lambda f: append_line(f, f"{'0' * 64}  ../bin/ls\n"), "damaged line in "),
    "sums twice": (lambda f: append_line(f, f"{'0' * 64}  README.md\n"), "listed twice: README.md"),
    "sums missing": (lambda f: (f / "SHA256SUMS").unlink(), "missing: SHA256SUMS"),
    "RELEASE.json edited": (
        lambda f: edit_json(f / "RELEASE.json", lambda r: r.update(version="2021.9")),
        "altered: RELEASE.json says something else",
    ),
    **{
        f"RELEASE.json names its sums {name}": (partial(move_mark, above=above), "altered: RELEASE.json")
        for name, above in MARK_PLACES.items()
    },
    "RELEASE.json of other sums": (
        lambda f: edit_json(f / "RELEASE.json", lambda r: r.update(sha256sums_sha256="0" * 64)),
        "RELEASE.json does not name this SHA256SUMS",
    ),
    "all sums made again": (
        lambda f: resum(f, lambda r: r.update(version="2021.9")),
        "the signature is not good by a key in allowed_signers",
    ),
    "original with a star": (lambda f: starred(original(f)), "extra: original/0001/12001.jpg*"),
    "document with a star": (lambda f: starred(f / "README.md"), "missing: README.md"),
    "bucket with a star": (lambda f: put(f / "512px/0001*/1.exe", b"x"), "extra: 512px/0001*/1.exe"),
    "zeros before RELEASE.json": (lambda f: edit(f / "RELEASE.json", lambda b: b"\0" + b), "altered: RELEASE.json"),
    "zero within RELEASE.json": (
        lambda f: edit(f / "RELEASE.json", lambda b: b.replace(b'"year": ', b'"year": \0')),
        "altered: RELEASE.json",
    ),
    "more behind RELEASE.json": (
        lambda f: edit(f / "RELEASE.json", lambda b: b + b'{"version": "2021.9"}'),
        "altered: RELEASE.json",
    ),
    "sums of a terabyte": (lambda f: huge(f / "SHA256SUMS"), "too long: SHA256SUMS"),
    "RELEASE.json of a terabyte": (lambda f: huge(f / "RELEASE.json"), "altered: RELEASE.json"),
    "sums without the last newline": (lambda f: unlisted(f, lambda b: b[:-1]), "altered: verify.sh"),
    "sum that is none": (
        lambda f: unlisted(f, lambda b: b.replace(b.splitlines()[-1][:64], b"z" * 64)),
        "damaged line in ",
    ),
    "list of 20 GB": (swollen_list, "not in filelist.txt.xz: 512px/"),
    "signature missing": (lambda f: (f / "SHA256SUMS.sig").unlink(), "not signed"),
    "signature of a terabyte": (lambda f: huge(f / "SHA256SUMS.sig"), "SHA256SUMS.sig is not one signature"),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("shell", SHELLS[:2])
@pytest.mark.needs("ssh-keygen", "xz")
def test_damage_is_a_line(folder: Path, name: str, shell: str) -> None:
    """Each kind of damage is named, and the script ends with 1."""
    damage, said = DAMAGE[name]
    damage(folder)
    done = verify(folder, shell=shell)
    assert done.returncode == 1, done.stdout
    assert any(line.startswith(said) for line in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("change", SIGNATURES_WITH_MORE.values(), ids=SIGNATURES_WITH_MORE)
@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.needs("ssh-keygen", "xz")
def test_a_signature_with_more_is_a_finding(folder: Path, change: Callable[[bytes], bytes], shell: str) -> None:
    """The file is one armored block to the last byte; with ssh-keygen or without, anything else is called that."""
    edit(folder / "SHA256SUMS.sig", change)
    for without in ("", "ssh-keygen"):
        done = verify(folder, shell=shell, without=without)
        said = "SHA256SUMS.sig is not one signature and nothing else\n1 findings; signature bad\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, said, "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.needs("ssh-keygen", "xz")
def test_a_file_named_as_standard_input_is_a_finding(folder: Path, shell: str) -> None:
    """A listed file `-` is a damaged line, and nobody waits for what is never written to standard input."""
    put(folder / "-", b"1")
    resum(folder)
    reads, writes = os.pipe()
    try:
        done = verify(folder, shell=shell, stdin=reads)
    finally:
        os.close(reads)
        os.close(writes)
    assert done.returncode == 1
    assert any(line.startswith("damaged line in ") and line.endswith("  -") for line in done.stdout.splitlines())


@pytest.mark.needs("dash", "ssh-keygen", "xz")
def test_what_cannot_be_checked_is_said(folder: Path, _signed: Path) -> None:  # noqa: PT019
    """Without ssh-keygen the files are checked; a folder without RELEASE.json is not a release."""
    done = verify(folder, without="ssh-keygen")
    assert (done.returncode, "signature not checked" in done.stdout) == (0, True)
    assert verify(folder, folder, _signed / "key.signers", without="ssh-keygen").returncode == 1
    (folder / "RELEASE.json").unlink()
    assert verify(folder).returncode == 2
