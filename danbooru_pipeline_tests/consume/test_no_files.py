"""A part of a release that is a pipe, a link or not there: an answer is as with all parts, or one error names it."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import OpenedRelease, open_release
from danbooru_pipeline.errors import DanbooruPipelineError, ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release_paths import parquet_path
from danbooru_pipeline_tests.support.damage import linked_copy

COMMANDS = {
    "select": ("select", "{release}", "1girl"),
    "originals": ("select", "{release}", "--tree", "original"),
    "unique": ("select", "{release}", "--unique"),
    "ordered": ("select", "{release}", "order:score"),
    "sample": ("sample-tags", "{release}"),
    "together": ("sample-tags", "{release}", "--together"),
    "captions": ("export", "captions", "{release}", "{target}"),
    "sqlite": ("export", "sqlite", "{release}", "{target}"),
}
CALLS: dict[str, Callable[[OpenedRelease], object]] = {
    "open": lambda release: release.info,
    "posts": lambda release: release.posts(),
    "files": lambda release: release.files(),
    "tags": lambda release: release.tags(),
    "batches": lambda release: sum(batch.num_rows for batch in release.batches("posts", where=[("id", ">", 5)])),
    "search": lambda release: release.search("1girl"),
    "image": lambda release: release.image(2, "original"),
    "schema": lambda release: release.schema("tag_counts"),
}
PARTS = (
    *("RELEASE.json", "index/bitmaps.roar", "index/names.parquet", "manifest/files-00000-of-00001.parquet"),
    *(parquet_path(table, 0, of=1) for table in ("posts", "tags", "tag_counts", "duplicates")),
)


def taken_away(path: Path) -> None:
    """Nothing is there."""


WRONG: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "link": lambda path: path.symlink_to(path.with_name(".away")),
    "missing": taken_away,
}


def answer(name: str, release: Path, target: Path) -> tuple[bool, str]:
    """Whether there is an answer, and what it is: of a command what it prints, of a call its value."""
    if name in CALLS:
        try:
            return True, str(CALLS[name](open_release(release)))
        except DanbooruPipelineError as error:
            return False, str(error)
    words = [word.format(release=release, target=target) for word in COMMANDS[name]]
    done = CliRunner().invoke(main, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code == 0, done.stdout if done.exit_code == 0 else done.stderr


@pytest.mark.parametrize("reader", [*COMMANDS, *CALLS])
def test_part_that_is_no_file_is_one_error_or_none(releases: Layout, tmp_path: Path, reader: str) -> None:
    """No reader waits for a pipe, follows a link, raises anything else, or takes a table to be shorter."""
    whole = answer(reader, linked_copy(releases.release(2022), tmp_path / "r"), tmp_path / "whole")
    assert whole[0], whole
    release = tmp_path / "r"
    for part in PARTS:
        for kind, damage in WRONG.items():
            (release / part).rename((release / part).with_name(".away"))
            damage(release / part)
            found, said = answer(reader, release, tmp_path / f"{kind}-{Path(part).name}")
            if found:
                assert said.replace(f"{kind}-{Path(part).name}", "whole") == whole[1], (part, kind)
            else:
                assert len(said.strip().splitlines()) == 1, said
                table = Path(part).name.partition("-0")[0]
                assert table in said or kind == "missing", (part, kind, said)
            (release / part).unlink(missing_ok=True)
            (release / part).with_name(".away").rename(release / part)


@pytest.mark.parametrize("lost", [0, 1])
@pytest.mark.parametrize("indexed", [True, False])
def test_part_of_a_table_is_not_the_table(releases: Layout, tmp_path: Path, lost: int, *, indexed: bool) -> None:
    """With one of its files missing, nothing is selected, searched or exported from the rest."""
    release = linked_copy(releases.release(2022), tmp_path / "r")
    if not indexed:
        (release / "index/bitmaps.roar").unlink()
    (only,) = release.glob("parquet/posts-*")
    rows = pq.read_table(only)
    only.unlink()
    half = rows.num_rows // 2
    for number, part in enumerate((rows.slice(0, half), rows.slice(half))):
        if number != lost:
            pq.write_table(part, release / parquet_path("posts", number, of=2))
    for name in ("select", "originals", "captions"):
        found, said = answer(name, release, tmp_path / name)
        assert not found, said
        assert "not all 2 of one set" in said
    if not indexed:
        with pytest.raises(ReleaseError, match="not all 2 of one set"):
            open_release(release).search_ids("1girl")
