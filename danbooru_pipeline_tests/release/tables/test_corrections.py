"""The layer of corrections in a release: applied, adopted, stale, verified, and without posts that were taken down."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import apply_takedown, verify_release
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.release.release_json import read_release
from danbooru_pipeline.release.tables.corrections import DECIDED_SCHEMA, judge
from danbooru_pipeline.release.takedown.run import plan_takedown
from danbooru_pipeline.release_paths import CORRECTIONS
from danbooru_pipeline_tests.support.curated import decide
from danbooru_pipeline_tests.support.yard import Yard

POSTS = (1001, 1002, 1003, 1004)


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A release with a decision of each state, about a post that it lacks, too, and with corrected posts."""
    yard = Yard(Layout(tmp_path_factory.mktemp("corrected")))
    for post in POSTS:
        yard.post(post)
    yard.post(1002, file_size=101)
    decide(
        yard.layout,
        (1001, "solo", "-", yard.rows[1001]["md5"]),
        (1001, "cat", "+", yard.rows[1001]["md5"]),
        (1002, "cat", "+", "0" * 32),
        (1003, "1girl", "+", None),
        (1003, "dog", "-", None),
        (9_999, "cat", "+", None),
    )
    yard.manifest()
    yard.snapshot(DocumentOptions(corrected=True))
    return yard


def rows_of(yard: Yard, pattern: str) -> dict[int, dict[str, Any]]:
    """Id -> row of the posts in a folder."""
    (path,) = yard.layout.release(2021).glob(pattern)
    return {row["id"]: row for row in pq.read_table(path).to_pylist()}


def test_states_follow_from_the_posts(corrected: Yard) -> None:
    """What the site has is adopted, what was about another file is stale, and posts that are not there are left out."""
    rows = pq.read_table(corrected.layout.release(2021) / CORRECTIONS).to_pylist()
    assert [(row["post_id"], row["tag"], row["state"]) for row in rows] == [
        (1001, "cat", "open"),
        (1001, "solo", "open"),
        (1002, "cat", "stale"),
        (1003, "1girl", "adopted"),
        (1003, "dog", "adopted"),
    ]


def test_posts_stay_and_corrected_ones_lie_beside(corrected: Yard) -> None:
    """Only the corrected copy has the decisions, in every column that counts tags; other posts are equal in both."""
    plain, fixed = rows_of(corrected, "parquet/posts-*"), rows_of(corrected, "parquet-corrected/posts-*")
    assert plain[1001]["tag_string"] == "1girl solo tag_0"
    assert fixed[1001]["tag_string"] == "1girl cat tag_0"
    assert fixed[1001]["tag_string_general"] == "1girl cat"
    assert (fixed[1001]["tag_count"], fixed[1001]["tag_count_general"]) == (3, 2)
    assert [tag["name"] for tag in fixed[1001]["tags"]] == ["1girl", "cat", "tag_0"]
    assert {id_: row for id_, row in plain.items() if id_ != 1001} == {i: r for i, r in fixed.items() if i != 1001}
    assert verify_release(corrected.layout.release(2021), full=True).ok


def test_new_decision_makes_a_new_version(corrected: Yard, tmp_path: Path) -> None:
    """The same decisions make nothing new, another one does; without the option there are no corrected posts."""
    yard = corrected.copied(tmp_path / "root")
    assert yard.snapshot(DocumentOptions(corrected=True)).version == "2021.0"
    decide(yard.layout, (1004, "cat", "+", None))
    assert yard.snapshot().version == "2021.1"
    release = yard.layout.release(2021)
    assert pq.read_table(release / CORRECTIONS).num_rows == 1
    assert not (release / "parquet-corrected").exists()
    assert read_release(release).inputs.corrections
    assert verify_release(release).ok


def test_takedown_takes_corrections_along(corrected: Yard, tmp_path: Path) -> None:
    """A post that is taken down is in no correction and no corrected post, and the others are still there."""
    yard = corrected.copied(tmp_path / "root")
    apply_takedown(plan_takedown(yard.layout, [1001]), created_at=datetime(2022, 3, 1, tzinfo=UTC))
    release = yard.layout.release(2021)
    assert set(pq.read_table(release / CORRECTIONS)["post_id"].to_pylist()) == {1002, 1003}
    assert rows_of(yard, "parquet-corrected/posts-*").keys() == {1002, 1003, 1004}
    assert verify_release(release).ok


def test_verify_names_what_does_not_follow(corrected: Yard, tmp_path: Path) -> None:
    """A changed state and a corrected post with another tag are findings."""
    yard = corrected.copied(tmp_path / "root")
    release = yard.layout.release(2021)
    (posts,) = release.glob("parquet-corrected/posts-*")
    table = pq.read_table(posts)
    names = [
        "nonsense" if id_ == 1004 else text
        for id_, text in zip(*(table[n].to_pylist() for n in ("id", "tag_string")), strict=True)
    ]
    write_parquet(
        posts,
        iter([table.set_column(table.schema.names.index("tag_string"), "tag_string", pa.array(names))]),
        schema=table.schema,
        dictionary=(),
    )
    kinds = {str(finding.kind): finding.where for finding in verify_release(release).findings}
    assert {"paper_altered"} <= kinds.keys()


@pytest.mark.parametrize("tags", ["a", "a b", "", None])
def test_judging_again_gives_the_same(tags: str | None) -> None:
    """Judging a judged table changes nothing, whatever the post has."""
    decided = pa.Table.from_pylist([{"post_id": 1, "tag": "b", "sign": "+"}], DECIDED_SCHEMA)
    posts = pa.table({"id": [1], "md5": ["x"], "tag_string": pa.array([tags], pa.string())})
    once = judge(decided, [posts])
    assert once["state"].to_pylist() == ["adopted" if tags == "a b" else "open"]
    assert judge(once, [posts]).equals(once)
