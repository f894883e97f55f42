"""Selections match whole tags, and what `select` prints is what rsync copies."""

import random
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.cli.exporting import FORMS
from danbooru_pipeline.cli.main import main
from danbooru_pipeline.consume.exports import EXPORTS
from danbooru_pipeline.consume.select import Selection, select
from danbooru_pipeline.errors import NotARelease, SettingsError
from danbooru_pipeline.layout import Layout


def posts_of(release: Path) -> dict[int, tuple[frozenset[str], str, int]]:
    """Id -> tags, rating and score of posts that have a 512px image, read without a database."""
    columns = ["id", "tag_string", "rating", "score"]
    rows = [row for path in release.glob("parquet/posts-*") for row in pq.read_table(path, columns=columns).to_pylist()]
    held = {int(path.stem) for path in release.glob("512px/*/*.jpg")}
    return {
        row["id"]: (frozenset(row["tag_string"].split()), row["rating"], row["score"])
        for row in rows
        if row["id"] in held
    }


def test_selection_equals_a_loop_over_all_posts(releases: Layout) -> None:
    """For many random conditions, the ids are those that a comparison of whole tags in Python finds."""
    posts = posts_of(releases.current)
    tags = sorted({tag for names, _, _ in posts.values() for tag in names})
    dice = random.Random(6)
    for _ in range(25):
        every, some, none = (dice.sample(tags, dice.randint(0, most)) for most in (2, 3, 3))
        score = dice.choice([None, 0, 5])
        expected = [
            id_
            for id_, (names, _, its_score) in sorted(posts.items())
            if names.issuperset(every)
            and (not some or names & set(some))
            and not names & set(none)
            and (score is None or its_score >= score)
        ]
        wanted = Selection(all_tags=tuple(every), any_tags=tuple(some), no_tags=tuple(none), min_score=score)
        assert [post.id for post in select(releases.current, wanted)] == expected


def test_part_of_a_tag_does_not_match(releases: Layout) -> None:
    """Half of a tag, or a wildcard, selects nothing."""
    for tag in ("sol", "olo", "so%", "*"):
        assert not list(select(releases.current, Selection(all_tags=(tag,))))
    assert list(select(releases.current, Selection(all_tags=("solo",))))


def test_sample_is_the_same_and_grows(releases: Layout) -> None:
    """A larger sample contains a smaller one."""
    small, large = ({p.id for p in select(releases.current, Selection(sample=n))} for n in (5, 15))
    assert (len(small), len(large)) == (5, 15)
    assert small < large


def test_wrong_folder_and_wrong_rating_are_errors(releases: Layout, tmp_path: Path) -> None:
    """A folder that is not a release, or a rating that does not exist, is an error that names it."""
    with pytest.raises(NotARelease):
        list(select(tmp_path, Selection()))
    with pytest.raises(SettingsError, match="--rating 'safe'"):
        list(select(releases.current, Selection(ratings=("safe",))))


def test_command_knows_every_form() -> None:
    """The forms that the command offers are those that exist."""
    assert set(FORMS) == set(EXPORTS)
    assert {"select", "export"} <= set(main.commands)


@pytest.mark.needs("rsync")
def test_selection_is_a_list_for_rsync(releases: Layout, tmp_path: Path) -> None:
    """rsync, given the list of paths, copies these files and no others."""
    chosen = [post.path for post in select(releases.current, Selection(any_tags=("solo",), tree="original"))]
    (tmp_path / "list").write_text("".join(f"{path}\n" for path in chosen))
    subprocess.run(
        ["rsync", "-rt", f"--files-from={tmp_path / 'list'}", f"{releases.current}/", f"{tmp_path / 'copy'}/"],
        check=True,
    )
    copied = {p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*") if p.is_file()}
    assert copied == set(chosen)
    assert chosen
