"""Captions and the folders they lie in, as trainers of image generators read them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from danbooru_pipeline.consume.exports.caption_text import is_kaomoji, spaced

#: The kaomoji that WD taggers except from "underscores to spaces", and some more of the site.
KAOMOJI = (
    *("0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o", "@_@", "^_^"),
    *("o_o", "u_u", "x_x", "|_|", "||_||", ";_;", "^_-", "d_d", "t_t"),
)
WORDS = (
    "black_hair",
    "hatsune_miku_(append)",
    "fate/stay_night",
    "k-on!",
    "1girl",
    "a_certain_magical_index",
    "re:zero",
)

Run = Callable[..., Result]


def captions(folder: Path) -> dict[int, str]:
    """Id -> caption."""
    return {int(path.stem): path.read_text().strip() for path in folder.rglob("*.txt")}


def repeats_of(folder: Path) -> dict[str, int]:
    """What sd-scripts make of the folders of a training directory: the number before the first underscore."""
    found = {}
    for sub in folder.iterdir():
        number = sub.name.split("_")[0]
        if sub.is_dir() and number.isdigit() and int(number):
            found[sub.name] = int(number)
    return found


@pytest.mark.parametrize("tag", KAOMOJI)
def test_kaomoji_keeps_its_mouth(tag: str) -> None:
    """The case t_kaomoji: a face is written as it is."""
    assert spaced(tag) == tag


@pytest.mark.parametrize("tag", WORDS)
def test_words_get_spaces(tag: str) -> None:
    """Every other tag loses its underscores."""
    assert spaced(tag) == tag.replace("_", " ")


@given(st.lists(st.text("abcdefgh", min_size=2, max_size=8), min_size=2, max_size=4))
def test_tag_of_words_is_no_kaomoji(words: list[str]) -> None:
    """Words of two letters or more are never a face."""
    assert not is_kaomoji("_".join(words))


def test_trainer_sees_each_image_once(odd: Path, tmp_path: Path, run: Run) -> None:
    """The case t_kohya: all images are in one folder whose name means one repeat; buckets appear nowhere."""
    assert run("export", "captions", odd, tmp_path / "c").exit_code == 0
    assert repeats_of(tmp_path / "c") == {"1_danbooru": 1}
    assert sorted(path.stem for path in (tmp_path / "c/1_danbooru").glob("*.jpg")) == ["1", "1002", "2", "2003"]
    assert run("export", "captions", odd, tmp_path / "r", "--repeats", 7, "--folder-name", "my style").exit_code == 0
    assert repeats_of(tmp_path / "r") == {"7_my style": 7}
    assert run("export", "captions", odd, tmp_path / "f", "--flat").exit_code == 0
    assert sorted(path.stem for path in (tmp_path / "f").glob("*.jpg")) == ["1", "1002", "2", "2003"]
    assert not [path for path in (tmp_path / "f").iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["../up", "", "9", "a/b", ".hidden"])
def test_folder_name_is_a_name(name: str, odd: Path, tmp_path: Path, run: Run) -> None:
    """A name that is a path or begins with a number is one line and exit code 2."""
    done = run("export", "captions", odd, tmp_path / "c", "--folder-name", name)
    assert done.exit_code == 2
    assert "--folder-name" in done.output
    assert not list(tmp_path.iterdir())


def test_caption_has_its_parts_in_order(odd: Path, tmp_path: Path, run: Run) -> None:
    """Counts of people come first; what is not asked for is left out; kaomoji, parentheses and a slash survive."""
    run("export", "captions", odd, tmp_path / "c")
    assert captions(tmp_path / "c")[1] == "1girl, solo, hatsune miku (append), >_<, ^_^, 0_0, black hair"
    assert captions(tmp_path / "c")[2] == "2girls, saber, fate/stay night, blue hair, old tag"
    order = "rating,artist,general,character,meta,quality"
    run("export", "captions", odd, tmp_path / "o", "--order", order, "--escape", "--underscores", "--separator", " | ")
    expected = (
        r"general | k-on!_fan | 1girl | >_< | ^_^ | 0_0 | black_hair | solo | hatsune_miku_\(append\) | low quality"
    )
    assert captions(tmp_path / "o")[1].replace("sensitive", "general").replace("worst", "low") == expected


def test_blacklist_and_chance_leave_tags_out(odd: Path, tmp_path: Path, run: Run) -> None:
    """Tags of the list and of the file go; a chance spares counts and characters, and is the same each time."""
    (tmp_path / "list").write_text("blue_hair\n>_<\n")
    run("export", "captions", odd, tmp_path / "b", "--blacklist", "solo", "--blacklist-file", tmp_path / "list")
    assert captions(tmp_path / "b")[1] == "1girl, hatsune miku (append), ^_^, 0_0, black hair"
    for name in "xy":
        run("export", "captions", odd, tmp_path / name, "--drop", "0.5", "--seed", 3)
    assert captions(tmp_path / "x") == captions(tmp_path / "y")
    run("export", "captions", odd, tmp_path / "all", "--drop", "1")
    assert captions(tmp_path / "all")[1] == "1girl, solo, hatsune miku (append)"
    assert run("export", "captions", odd, tmp_path / "no", "--drop", "2").exit_code == 2
    assert run("export", "captions", odd, tmp_path / "no", "--order", "colour").exit_code == 2


def test_tables_name_every_image(odd: Path, tmp_path: Path, run: Run) -> None:
    """``metadata.jsonl`` names files that exist; ``meta_cap.json`` has them by the name that sd-scripts look for."""
    run("export", "captions", odd, tmp_path / "c", "--kohya-json")
    rows = [json.loads(line) for line in (tmp_path / "c/metadata.jsonl").read_text().splitlines()]
    texts = captions(tmp_path / "c")
    assert {(tmp_path / "c" / row["file_name"]).is_file() for row in rows} == {True}
    assert {int(Path(row["file_name"]).stem): row["text"] for row in rows} == texts
    meta = json.loads((tmp_path / "c/meta_cap.json").read_text())
    assert {int(key): value["tags"] for key, value in meta.items()} == texts


def test_better_scores_get_better_words(releases: object, tmp_path: Path, run: Run) -> None:
    """Within a rating, words follow the score: no post has better words than one with a higher score."""
    from danbooru_pipeline.consume.exports.caption_text import QUALITY  # noqa: PLC0415
    from danbooru_pipeline.consume.select import Selection, select  # noqa: PLC0415 - only here

    folder = releases.current  # type: ignore[attr-defined]
    run("export", "captions", folder, tmp_path / "c", "--order", "quality")
    order = [*(words for _, words in QUALITY), "low quality", "worst quality"]
    texts = captions(tmp_path / "c")
    for rating in "gs":
        posts = [post for post in select(folder, Selection(ratings=(rating,))) if post.id in texts]
        ranked = [order.index(texts[post.id]) for post in sorted(posts, key=lambda post: -(post.score or 0))]
        assert ranked == sorted(ranked)
