"""Documents, scripts and pages are what the code that made a release writes, though all sums were made again."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import DocumentOptions, apply_snapshot, plan_snapshot, verify_release
from danbooru_pipeline.release.signing import allowed_signers, public_key, sign_sums
from danbooru_pipeline.release.verify.findings import Kind, VerifyReport
from danbooru_pipeline.release_paths import ALLOWED_SIGNERS, BROWSE, BROWSE_RELEASE, CROISSANT, DATACITE, PAGE, TEXTS
from danbooru_pipeline_tests.support.damage import linked_copy, made_by_0_2, put, resum
from danbooru_pipeline_tests.support.keys import make_key
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, Yard

UNCHECKED = "the words of documents, scripts and pages were not compared"


def found(report: VerifyReport) -> set[tuple[Kind, str]]:
    """Kind and place of every finding."""
    return {(finding.kind, finding.where) for finding in report.findings}


def replaced(path: Path, old: str, new: str) -> None:
    """Change a word of a document."""
    text = path.read_text()
    assert old in text
    put(path, text.replace(old, new, 1).encode())


@pytest.mark.parametrize(
    "name", [*TEXTS, CROISSANT, DATACITE, PAGE, BROWSE_RELEASE, f"{BROWSE}/main.js", f"{BROWSE}/index.html"]
)
def test_a_changed_document_is_found(copy: Path, name: str) -> None:
    """One byte more in any of them is a finding with `--full`, and nothing else is."""
    put(copy / name, (copy / name).read_bytes() + b"\n")
    resum(copy)
    assert found(verify_release(copy, full=True)) == {(Kind.PAPER_DIFFERS, name)}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("README.md", "17 posts", "18 posts"),
        ("DATASHEET.md", "(explicit) ", "(explicit) 1"),
        ("index.html", "</body>", "<script>alert(1)</script></body>"),
        ("index.html", "<dt>posts</dt><dd>", "<dt>posts</dt><dd>1"),
        ("rsyncd.conf", "[danbooru]", "post-xfer exec = /bin/evil\n[danbooru]"),
        ("mirror.sh", "set -eu", "set -eu; evil"),
        ("verify.sh", "#!/bin/sh", "#!/bin/sh\nexit 0"),
        ("ANNOUNCEMENT.txt", "The works belong", "Send money. The works belong"),
        ("feed.atom", "17 posts", "9 posts"),
        ("NOTICE.md", "does not and cannot license", "licenses"),
    ],
)
def test_a_false_word_is_found(copy: Path, name: str, old: str, new: str) -> None:
    """A number, a script or a promise that is not ours."""
    replaced(copy / name, old, new)
    resum(copy)
    assert found(verify_release(copy, full=True)) == {(Kind.PAPER_DIFFERS, name)}


@pytest.mark.needs("ssh-keygen")
def test_a_foreign_key_is_found(yard: Yard, tmp_path: Path) -> None:
    """A release that somebody signs again with a key that is not the one of its options."""
    keys = [make_key(tmp_path / name) for name in ("ours", "theirs")]
    ours, theirs = map(public_key, keys)
    yard.manifest()
    options = DocumentOptions(signer=ours)
    plan = plan_snapshot(yard.layout, 2021, image_settings=IMAGE_SETTINGS, options=options)
    apply_snapshot(plan, created_at=NOW, threads=2, signing_key=keys[0])
    folder = yard.layout.release(2021)
    assert found(verify_release(folder, full=True)) == set()
    put(folder / ALLOWED_SIGNERS, allowed_signers(theirs))
    resum(folder)
    sign_sums(folder, keys[1])
    assert found(verify_release(folder, full=True)) == {(Kind.PAPER_DIFFERS, ALLOWED_SIGNERS)}


def test_whole_releases_are_compared_and_well(releases: Layout, later: Path, earlier: Path) -> None:
    """With every option, samples, lists of changes, an earlier year and a takedown: nothing is found or unchecked."""
    for folder in (releases.release(2021), releases.release(2022), later, earlier):
        report = verify_release(folder, full=True)
        assert (report.findings, report.unchecked) == ((), ())


def test_pictures_of_samples_are_left_to_the_signature(releases: Layout, tmp_path: Path) -> None:
    """Another decoder may have made them; but a sample that another post should be is found, and so is one too many."""
    folder = linked_copy(releases.release(2021), tmp_path / "danbooru2021")
    text = (folder / PAGE).read_text()
    samples = re.findall(r'<a href="512px/[^"]+"><img src="data:image/jpeg;base64,[^"]+"[^>]*></a>\n', text)
    assert len(samples) > 5
    for wanted, changed in (
        (set(), text.replace("data:image/jpeg;base64,/9j/", "data:image/jpeg;base64,AAAA", 1)),
        ({(Kind.PAPER_DIFFERS, PAGE)}, text.replace(samples[0], samples[0] + samples[0])),
        ({(Kind.PAPER_DIFFERS, PAGE)}, text.replace(samples[0] + samples[1], samples[1] + samples[0])),
        ({(Kind.PAPER_DIFFERS, PAGE)}, text.replace(' alt="post', ' onload="evil()" alt="post', 1)),
    ):
        assert changed != text
        put(folder / PAGE, changed.encode())
        resum(folder)
        assert found(verify_release(folder, full=True)) == wanted


def test_an_option_that_documents_do_not_have_is_found(copy: Path) -> None:
    """Another publisher in RELEASE.json is not the one whom the documents name."""
    resum(copy, lambda release: release["options"].update(maker="Mallory"))
    differ = {where for kind, where in found(verify_release(copy, full=True)) if kind == Kind.PAPER_DIFFERS}
    assert {"README.md", "DATASHEET.md", "NOTICE.md", "CITATION.cff", "citation.bib", PAGE, DATACITE} <= differ


def without_commit(release: dict[str, Any]) -> None:
    """Let the release name no commit."""
    release["tool"]["commit"] = None


def of_another_commit(release: dict[str, Any]) -> None:
    """Let the release name another one."""
    release["tool"]["commit"] = "0" * 40


@pytest.mark.parametrize("change", [made_by_0_2, without_commit, of_another_commit])
def test_words_of_other_code_are_unchecked(copy: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Of another version or commit, or of code that knows none, nothing is said but that they were not compared."""
    put(copy / "README.md", b"Other words.\n")
    resum(copy, change)
    report = verify_release(copy, full=True)
    assert not [finding for finding in report.findings if finding.where == "README.md"]
    assert [line.partition(":")[0] for line in report.unchecked if line.startswith("the words")] == [UNCHECKED]


def test_words_are_compared_with_full_alone(copy: Path) -> None:
    """Without `--full` nothing is made again, and nobody is told that it was not."""
    put(copy / "README.md", b"Other words.\n")
    resum(copy)
    report = verify_release(copy)
    assert (report.findings, report.unchecked) == ((), ())
