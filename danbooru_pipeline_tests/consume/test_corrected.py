"""`--corrected`: searches, selections and exports go by the tags that reviewers corrected, where a release has them."""

import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import Selection, UnknownTag, open_release
from danbooru_pipeline.consume.exports import export
from danbooru_pipeline.consume.find import find
from danbooru_pipeline.consume.select import select
from danbooru_pipeline.errors import ReleaseError
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release_paths import CORRECTED, CORRECTIONS, INDEX
from danbooru_pipeline_tests.support.curated import decide
from danbooru_pipeline_tests.support.yard import Yard


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four posts: one is no longer solo, one has a tag that no post had, and one the tag of a file that is gone."""
    yard = Yard(Layout(tmp_path_factory.mktemp("corrected")))
    for post in (1001, 1002, 1003, 1004):
        yard.post(post, tag_string="1girl solo", tag_string_meta="")
    decide(
        yard.layout,
        (1001, "solo", "-", yard.rows[1001]["md5"]),
        (1001, "multiple_girls", "+", None),
        (1002, "cat", "+", "0" * 32),
    )
    yard.manifest()
    yard.snapshot(DocumentOptions(corrected=True))
    return yard.layout.release(2021)


def run(*words: str) -> tuple[int, list[str], str]:
    """The command's exit code, the lines that it prints, and what it says on standard error."""
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.stdout.splitlines(), done.stderr


def test_search_goes_by_corrected_tags(release: Path) -> None:
    """Opened as corrected, a release finds and shows what was decided; opened plainly, it is as the site had it."""
    plain, fixed = open_release(release), open_release(release, corrected=True)
    assert plain != fixed
    assert plain.search_ids("solo").tolist() == [1004, 1003, 1002, 1001]
    assert fixed.search_ids("solo").tolist() == [1004, 1003, 1002]
    assert fixed.search("multiple*", ["id", "tag_string"]).to_dict("records") == [
        {"id": 1001, "tag_string": "1girl multiple_girls"}
    ]
    assert fixed.search_ids("tagcount:2 -solo").tolist() == [1001]
    with pytest.raises(UnknownTag, match="no post of danbooru2021 has the tag multiple_girls"):
        plain.search_ids("multiple_girls")
    with pytest.raises(UnknownTag, match="cat"):
        fixed.search_ids("cat")  # decided about another file


def test_tables_of_a_corrected_release(release: Path) -> None:
    """Posts, their batches and their schema come from the corrected copy, and every other table as it is."""
    plain, fixed = open_release(release), open_release(release, corrected=True)
    solo = [("tag_string", "==", "1girl solo")]
    assert len(plain.posts(where=solo)) == 4
    assert len(fixed.posts(where=solo)) == sum(batch.num_rows for batch in fixed.batches(where=solo)) == 3
    assert fixed.schema().equals(plain.schema())
    assert fixed.files(arrow=True).equals(plain.files(arrow=True))


def test_without_index_the_scan_finds_the_same(release: Path, tmp_path: Path) -> None:
    """A copy without the index reads the corrected posts themselves."""
    shutil.copytree(release, tmp_path / "copy", ignore=shutil.ignore_patterns(INDEX, "512px", "original"))
    for text in ("solo", "multiple_girls", "-solo", "m*", "1girl"):
        assert find(tmp_path / "copy", text, corrected=True).bitmap == find(release, text, corrected=True).bitmap


def test_select_takes_the_option(release: Path) -> None:
    """The command chooses by corrected tags, and so do options beside a search; without the option nothing changes."""
    assert run("select", str(release), "--ids", "--corrected", "--none", "solo") == (0, ["1001"], "")
    assert run("select", str(release), "--ids", "--none", "solo") == (0, [], "")
    (post,) = select(release, Selection(all_tags=("multiple_girls",), corrected=True))
    assert (post.id, post.tag_string, post.tag_string_general) == (1001, "1girl multiple_girls", "1girl multiple_girls")


def test_exports_have_corrected_tags(release: Path, tmp_path: Path) -> None:
    """Captions, tables and counts of an export have what was decided, and its README names the option."""
    chosen = Selection(corrected=True)
    export("captions", release, tmp_path / "captions", chosen)
    assert "multiple girls" in next((tmp_path / "captions").rglob("1001.txt")).read_text()
    assert "--corrected" in (tmp_path / "captions/README.md").read_text()
    export("tags-csv", release, tmp_path / "tags.csv", chosen)
    counts = dict(line.split(",")[:3:2] for line in (tmp_path / "tags.csv").read_text().splitlines())
    assert counts == {"1girl": "4", "solo": "3", "multiple_girls": "1"}
    export("sqlite", release, tmp_path / "posts.sqlite", chosen)
    with sqlite3.connect(tmp_path / "posts.sqlite") as database:
        rows = dict(database.execute("SELECT id, tag_string FROM posts"))
    assert rows[1001] == "1girl multiple_girls"
    assert rows[1002] == "1girl solo"


def test_release_without_corrected_posts_is_refused(release: Path, tmp_path: Path) -> None:
    """One line says that the release has none, from Python and from each command, and nothing is written."""
    shutil.copytree(release, tmp_path / "copy", ignore=shutil.ignore_patterns(CORRECTED))
    for call in (
        lambda: open_release(tmp_path / "copy", corrected=True),
        lambda: find(tmp_path / "copy", "solo", corrected=True),
        lambda: export("captions", tmp_path / "copy", tmp_path / "out", Selection(corrected=True)),
    ):
        with pytest.raises(ReleaseError, match=r"has no corrected posts .* DANBOORU_CORRECTED=on; leave --corrected"):
            call()
    assert not (tmp_path / "out").exists()
    code, lines, said = run("select", str(tmp_path / "copy"), "solo", "--corrected")
    assert (code, lines, said.count("\n")) == (2, [], 1)
    assert "has no corrected posts" in said


def test_crafted_corrections_name_no_other_post(release: Path, tmp_path: Path) -> None:
    """Ids that bitmaps cannot hold, and those of posts that are not there, find nothing."""
    shutil.copytree(release, tmp_path / "copy")
    path = tmp_path / "copy" / CORRECTIONS
    table = pq.read_table(path)
    rows = [row | {"post_id": id_} for row in table.to_pylist() for id_ in (2**32 + 1002, -1, 5)]
    path.unlink()
    pq.write_table(table.from_pylist(rows, table.schema), path)
    assert find(tmp_path / "copy", "1girl -solo", corrected=True).ids.tolist() == []
