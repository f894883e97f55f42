"""Searches in releases: from Python, from the command line, in exports, and in releases without an index."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume import BadSearch, UnknownTag, find, open_release, plan_export
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release_paths import INDEX


def run(*words: str) -> tuple[int, list[str], str]:
    """The command's exit code, the lines that it prints, and what it says on standard error."""
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.stdout.splitlines(), done.stderr


@pytest.fixture(scope="module")
def without_index(releases: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newest release as one of before the index."""
    folder = tmp_path_factory.mktemp("older") / "danbooru2022"
    leave = shutil.ignore_patterns(INDEX, "original", "512px", "metadata", "changes")
    shutil.copytree(releases.current.resolve(), folder, ignore=leave)
    return folder


def test_rows_come_in_the_order_of_the_search(releases: Layout) -> None:
    """`search` gives posts as a frame or as Arrow, with the wanted columns, sorted as the text says."""
    release = open_release(releases.current)
    frame = release.search("1girl solo order:score limit:5", ["score", "tag_string"])
    assert list(frame.columns) == ["score", "tag_string"]
    assert frame["score"].tolist() == sorted(frame["score"], reverse=True)
    assert all({"1girl", "solo"} <= set(tags.split()) for tags in frame["tag_string"])
    table = release.search("1girl", arrow=True)
    assert table["id"].to_pylist() == release.search_ids("1girl").tolist() == sorted(table["id"].to_pylist())[::-1]


def test_a_misspelt_tag_is_an_error_with_close_ones(releases: Layout) -> None:
    """An unknown tag names close ones; what is no search is an error as well."""
    release = open_release(releases.current)
    with pytest.raises(UnknownTag, match="did you mean 1girl") as caught:
        release.search("1gril")
    assert caught.value.suggestions[0] == "1girl"
    with pytest.raises(BadSearch, match="never closed"):
        release.search_ids("(1girl")


@pytest.mark.parametrize(
    "wanted",
    [
        Selection(all_tags=("1girl",), no_tags=("solo",), min_score=0),
        Selection(any_tags=("solo", "1girl"), ratings=("g", "s"), types=("png",), tree="original"),
        Selection(min_side=300, since_id=10, until_id=200, deleted=False, unique=True, sample=20),
        Selection(search="1girl order:score limit:9", no_flags=("few_colors",)),
        Selection(search="~1girl ~solo -rating:e", buckets="0-99", split="train"),
        Selection(no_tags=("nosuch",), flags=("hdr",)),
    ],
)
def test_a_release_without_an_index_answers_alike(releases: Layout, without_index: Path, wanted: Selection) -> None:
    """Any selection finds the same posts, with the same files, by a scan as by the index."""
    found = list(select(releases.current, wanted))
    assert not find.has_index(without_index)
    assert list(select(without_index, wanted)) == found


def test_options_and_search_hold_together(releases: Layout) -> None:
    """The search and the options of a selection are one condition, and paths are listed in the wanted order."""
    folder = str(releases.current)
    code, lines, _ = run("select", folder, "1girl", "solo", "order:score", "--rating", "g,s", "--ids")
    ids = [int(line) for line in lines]
    release = open_release(releases.current)
    assert code == 0
    assert ids == release.search_ids("1girl solo rating:g,s image:512px order:score").tolist()
    assert run("select", folder, "--rating", "g,s", "--ids", "--order", "score", "1girl solo")[1] == lines
    _, paths, _ = run("select", folder, "--tree", "original", "--", "-1girl")
    assert paths == [post.path for post in select(releases.current, Selection(search="-1girl", tree="original"))]


def test_what_the_command_says(releases: Layout) -> None:
    """A tag that no post has is said, never an empty answer with exit code 0; steps are explained."""
    folder = str(releases.current)
    assert run("select", folder, "1gril")[::2] == (
        2,
        "danbooru-pipeline: search, position 1: no post of danbooru2022 has the tag 1gril (did you mean 1girl?)\n",
    )
    code, lines, said = run("select", folder, "--all", "nosuch")
    assert (code, lines, said) == (1, [], "danbooru-pipeline: no post of danbooru2022 has the tag nosuch\n")
    code, lines, said = run("select", folder, "1girl -nosuch")
    assert (code, bool(lines), "has the tag nosuch" in said) == (0, True, True)
    assert run("select", folder, "1girl", "--order", "scoer")[0] == 2
    assert run("select", folder, "--buckets", "x")[2].startswith(
        "danbooru-pipeline: --buckets bucket:x is not possible"
    )
    assert "posts    1girl" in run("select", folder, "1girl solo", "--explain")[2]


def test_an_export_takes_the_same_search(releases: Layout, tmp_path: Path) -> None:
    """An export has the posts of its search, and its plan says so."""
    wanted = Selection(search="1girl solo order:score limit:7")
    plan = plan_export("captions", releases.current, tmp_path / "captions", selection=wanted)
    assert plan.posts == 7
    assert "'1girl solo order:score limit:7'" in plan.lines()[1]
    code, lines, _ = run("export", "captions", str(releases.current), str(tmp_path / "c"), "1girl solo", "--dry-run")
    assert code == 0
    assert f"would write {len(list(select(releases.current, Selection(search='1girl solo'))))} posts" in lines[0]
