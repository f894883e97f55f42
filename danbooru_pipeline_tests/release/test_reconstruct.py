"""An earlier release in a later one, of any size: what is compared and what is found is not held in memory."""

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import original_path, px512_path
from danbooru_pipeline.release import reconstruct as module
from danbooru_pipeline.release.reconstruct import Paths, reconstruct
from danbooru_pipeline_tests.support.yard import next_year, small_yard


@given(st.sets(st.tuples(st.integers(1, 2**40), st.booleans()), max_size=60), st.integers(1, 70))
def test_paths_are_sorted_and_there_as_often_as_they_are_asked_for(images: set[tuple[int, bool]], rows: int) -> None:
    """However few are held at a time, in whatever order they come."""
    wanted = [(id_, px512_path(id_) if small else original_path(id_, "png")) for id_, small in images]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", rows)
        paths = Paths()
        for id_, path in wanted:
            paths.add(id_, path)
    assert len(paths) == len(wanted)
    for _ in range(2):
        assert list(paths) == sorted(path for _, path in wanted)
    assert all(path in paths for _, path in wanted)
    assert "original/0001/1.gif" not in paths


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a second year."""
    yard = small_yard(tmp_path_factory.mktemp("later") / "root")
    yard.release()
    return next_year(yard).release()


def test_what_is_found_does_not_depend_on_how_much_is_held(later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a manifest and by metadata: one row at a time finds what all at once find."""
    without = later.parent / "without"
    if not without.exists():
        shutil.copytree(later, without)
        shutil.rmtree(without / "earlier/2021")

    def found(folder: Path) -> list[object]:
        each = reconstruct(2021, folder)
        return [each.posts, each.last_id, each.exact, *map(list, (each.files, each.replaced, each.gone))]

    whole = [found(folder) for folder in (later, without)]
    monkeypatch.setattr(module, "_ROWS", 1)
    monkeypatch.setattr(module, "_RANGE_IDS", 3)
    assert [found(folder) for folder in (later, without)] == whole
    assert whole[0][2] is True
    assert whole[1][2] is False
    assert whole[0][3]


@pytest.mark.parametrize("which", ["manifest/files-*", "earlier/2021/files-*"])
def test_a_manifest_in_another_order_is_refused(later: Path, tmp_path: Path, which: str) -> None:
    """Two lists are read side by side, so one that does not ascend would give wrong answers; it is one error."""
    copy = tmp_path / "copy"
    shutil.copytree(later, copy)
    (path,) = copy.glob(which)
    path.chmod(0o644)
    pq.write_table(pq.read_table(path).sort_by([("id", "descending")]), path)
    with pytest.raises(ReleaseError, match=r"post \d+ comes after \d+\); verify"):
        reconstruct(2021, copy)


def test_an_id_beyond_64_bits_is_refused(later: Path, tmp_path: Path) -> None:
    """One line, and no traceback."""
    copy = tmp_path / "copy"
    shutil.copytree(later, copy)
    (path,) = copy.glob("manifest/files-*")
    path.chmod(0o644)
    table = pq.read_table(path)
    ids = pa.array([*table["id"].to_pylist()[:-1], 2**63 + 5], pa.uint64())
    table = table.set_column(0, "id", ids)
    paths = pa.array([*table["path"].to_pylist()[:-1], original_path(2**63 + 5, "jpg")], pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("path"), "path", paths), path)
    with pytest.raises(ReleaseError, match="verify"):
        reconstruct(2021, copy)


@pytest.mark.parametrize("last_is_right", [True, False])
def test_of_two_lines_about_a_post_the_last_one_counts(later: Path, tmp_path: Path, *, last_is_right: bool) -> None:
    """Archives of the original releases have updates at their end."""
    copy = tmp_path / "copy"
    shutil.copytree(later, copy)
    shutil.rmtree(copy / "earlier/2021")
    (lines,) = copy.glob("metadata/2021/posts*.json")
    before = list(reconstruct(2021, copy).files)
    text = lines.read_text()
    right = next(
        line for line in text.splitlines() if f'"id":"{before[0].rpartition("/")[2].partition(".")[0]}"' in line
    )
    wrong = re.sub('"md5":"[0-9a-f]*"', f'"md5":"{"0" * 32}"', right)
    lines.chmod(0o644)
    lines.write_text(
        "".join(f"{line}\n" for line in ([wrong, text.strip()] if last_is_right else [text.strip(), wrong]))
    )
    assert (before[0] in reconstruct(2021, copy).files) == last_is_right
