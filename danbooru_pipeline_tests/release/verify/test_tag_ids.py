"""The ids in the lists of tags of posts are those of the table of tags."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from danbooru_pipeline.posts.schema import TAG
from danbooru_pipeline.release import Kind, read_release, verify_release
from danbooru_pipeline.release.verify import tag_lists
from danbooru_pipeline.release.verify.tag_lists import TagIdChecks
from danbooru_pipeline.release.verify.verification import Verification
from danbooru_pipeline_tests.support.damage import edit_table, pack_again, put, resum, with_column, year_of


def first_tag(name: str, id_: int | None) -> Any:
    """Give one tag of one post another id."""

    def changed(lists: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
        next(tag for tags in lists for tag in tags if tag["name"] == name)["id"] = id_
        return lists

    return with_column("tags", changed)


def said_of_ids(folder: Path) -> list[str]:
    """What verification finds about ids of tags."""
    for path in folder.glob(f"metadata/{year_of(folder)}-old/*"):
        path.unlink()  # lines of 2017 would say more
    for path in folder.glob(f"metadata/{year_of(folder)}-old"):
        path.rmdir()
    pack_again(folder)
    resum(folder)
    findings = verify_release(folder, full=True, threads=1).findings
    return [f.message for f in findings if f.kind == Kind.POSTS_DIFFER]


@pytest.mark.parametrize(
    ("name", "id_", "said"),
    [
        ("tag_3", 999, "lists give the tag tag_3 the id 999, and the table of tags gives it the id 3"),
        ("tag_3", None, "lists give the tag tag_3 no id, and the table of tags gives it the id 3"),
        ("1girl", 5, "lists give the tag 1girl the id 5, and the table of tags gives it no id"),
    ],
)
def test_an_id_that_is_not_that_of_the_table_is_found(later: Path, name: str, id_: int | None, said: str) -> None:
    """One tag of one post with another id, without one, or with one that no table knows, is named."""
    edit_table(later, "parquet/posts-*", first_tag(name, id_))
    assert said_of_ids(later) == [said]


def test_tags_that_are_in_no_table_have_no_id(later: Path) -> None:
    """A release as it is made has tags without an id, for which its table has no row, and all is well."""
    assert said_of_ids(later) == []


def test_lists_of_the_source_keep_its_ids(later: Path) -> None:
    """Posts of an archive of 2017 to 2020 bring their lists, with the ids of their day."""
    edit_table(later, "parquet/posts-*", first_tag("tag_3", 999))
    for name in ("RELEASE.json", "RELEASE.content.json"):
        release = json.loads((later / name).read_bytes())
        release["sources"][0]["name"] = "archive"
        put(later / name, json.dumps(release, indent=2, ensure_ascii=False).encode() + b"\n")
    assert said_of_ids(later) == []


def test_pairs_are_held_only_until_they_are_many(later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs are compared some at a time, so memory does not grow with what somebody made up."""
    monkeypatch.setattr(tag_lists, "_PAIRS", 100)

    run = Verification(folder=later, release=read_release(later))
    checks = TagIdChecks(run)
    for start in range(0, 1000, 50):
        tags = [[{"id": n, "name": f"made_up_{n}", "category": 0}] for n in range(start, start + 50)]
        checks.add(pa.table({"tags": pa.array(tags, pa.list_(TAG))}))
        assert run.found.counts[Kind.POSTS_DIFFER] > start - 100
    checks.finish()
    assert run.found.counts[Kind.POSTS_DIFFER] == 1000
