"""Lists are compared a part at a time, and no difference is overlooked."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.checksums import read_sums
from danbooru_pipeline.release.verify.filelist import _unpaired
from danbooru_pipeline.release.verify.findings import Kind
from danbooru_pipeline.release_paths import RELEASE_JSON, SHA256SUMS
from danbooru_pipeline_tests.support.damage import edit_json, made_by_0_2, put, resum

LINES = st.lists(st.text("ab/1", min_size=1, max_size=3), unique=True, max_size=12)


def lines_of(names: list[str]) -> list[bytes]:
    """Sorted lines, as a list of files has them."""
    return sorted(f"{name}\n".encode() for name in names)


@given(LINES, LINES, st.integers(1, 5))
@example(["a", "b"], ["a", "b", "c"], 2)
@example(["a", "b"], [], 5)
@example([], ["a"], 1)
def test_unpaired_lines_are_those_of_one_list_alone(expected: list[str], listed: list[str], size: int) -> None:
    """Wherever parts start and end, each line that only one list has is reported with its side."""
    left, right = lines_of(expected), lines_of(listed)
    parts = (b"".join(left[at : at + size]) for at in range(0, len(left), size))
    found = list(_unpaired(parts, io.BytesIO(b"".join(right))))
    assert sorted(found) == sorted(
        [(line, False) for line in set(left) - set(right)] + [(line, True) for line in set(right) - set(left)]
    )


def test_a_last_line_that_is_cut_off_is_another_line() -> None:
    """A list that lacks its last newline lacks its last line."""
    found = list(_unpaired(iter([b"a\nb\n"]), io.BytesIO(b"a\nb")))
    assert sorted(found) == [(b"b", True), (b"b\n", False)]


#: What an editor, a hand or another tool makes of a list of checksums.
ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "carriage returns": lambda data: data.replace(b"\n", b"\r\n"),
    "form feeds": lambda data: data.replace(b"\n", b"\f", 1),
    "line separators": lambda data: data.replace(b"\n", "\u2028".encode(), 1),
    "another order": lambda data: b"".join(reversed(data.splitlines(keepends=True))),
    "no last line feed": lambda data: data[:-1],
    "an empty line": lambda data: data + b"\n",
}


@pytest.mark.parametrize("name", ALTERED)
def test_sums_in_another_form_are_found(copy: Path, name: str) -> None:
    """SHA256SUMS is byte for byte as it is written, for `verify` and for whoever relies on it."""
    data = ALTERED[name]((copy / SHA256SUMS).read_bytes())
    put(copy / SHA256SUMS, data)
    edit_json(copy / RELEASE_JSON, lambda said: said.update(sha256sums_sha256=hashlib.sha256(data).hexdigest()))
    assert SHA256SUMS in {finding.where for finding in verify_release(copy, full=True).findings}
    with pytest.raises(ReleaseError):
        read_sums(copy)


@pytest.mark.parametrize("made", [lambda _: None, made_by_0_2])
@pytest.mark.parametrize("name", ALTERED)
def test_a_list_in_another_form_is_found(copy: Path, name: str, made: Callable[[dict[str, object]], None]) -> None:
    """The list of a bucket is byte for byte as every version wrote it, though all sums were made again."""
    path = max(copy.glob("checksums/original/*"), key=lambda path: path.stat().st_size)
    assert path.read_bytes().count(b"\n") > 1
    put(path, ALTERED[name](path.read_bytes()))
    resum(copy, made)
    where = path.relative_to(copy).as_posix()
    found = verify_release(copy, full=True).findings
    assert where in {finding.where for finding in found if finding.kind is Kind.CHECKSUMS_DIFFER}


def test_a_bucket_without_images_has_no_list(copy: Path) -> None:
    """An empty list is a finding, since none is written of an empty bucket."""
    put(copy / "checksums/original/0999.sha256", b"")
    resum(copy)
    found = [finding for finding in verify_release(copy, full=True).findings if finding.kind is Kind.CHECKSUMS_DIFFER]
    assert [finding.where for finding in found] == ["checksums/original/0999.sha256"]
