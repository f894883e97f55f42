"""Candidates of a release: what is found, what is never asked, and what other models add."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.curate.candidates import SCHEMA, CandidateOptions, learn, write_candidates
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.fusion import Fusion
from danbooru_pipeline.curate.predictions import Predictions
from danbooru_pipeline.errors import ReleaseError, SettingsError

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


def test_missing_tags_are_found_with_their_evidence(curated: Curated) -> None:
    """Every tag that was left out is a candidate that names tags of its post, or the rule, as its reason."""
    release, folder, missing = curated
    table = pq.read_table(folder.candidates(2021))
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    found = {(row["id"], row["tag"]): row for row in rows if row["sign"] == "+"}
    assert missing <= found.keys()
    assert {tag for _, tag in found.keys() - missing} == {"clothes"}  # a rule asks for it
    row = found[min(missing)]
    tags = {r["id"]: r for r in pq.read_table(next(release.glob("parquet/posts-*"))).to_pylist()}[row["id"]][
        "tag_string"
    ]
    named = row["evidence"].partition(";")[0].removeprefix("tags: goes with ").split(", ")
    assert set(named) <= set(tags.split())
    assert "not calibrated" in row["evidence"]
    assert found[next(key for key in found if key[1] == "clothes")]["evidence"] == "rule: swimsuit implies it"


def test_ids_ascend_and_the_rare_is_worth_more(curated: Curated) -> None:
    """Rows are sorted by post, and of two equally likely tags the rarer is worth more."""
    rows = pq.read_table(curated[1].candidates(2021)).to_pylist()
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    clothes = next(row for row in rows if row["tag"] == "clothes")
    assert clothes["value"] > max(row["value"] for row in rows if row["tag"] != "clothes")


def test_predictions_of_pictures_join_in(curated: Curated, tmp_path: Path) -> None:
    """A model of pictures adds candidates and speaks against tags; what it says about unknown posts is left out."""
    release, folder, _ = curated
    path = tmp_path / "predictions.parquet"
    said = {
        "id": [2, 2, 2, 999_999_999, 3],
        "tag": ["moon", "highres", "1girl", "moon", "kitty"],
        "p": [0.9, 0.9, 0.001, 0.9, 2.0],
    }
    pq.write_table(pa.table(said), path)
    known = learn(release, predictions=(Predictions(path=path, label="model wd"),))
    write_candidates(known, folder.candidates(2021), options=CandidateOptions(least=0.05))
    rows = pq.read_table(folder.candidates(2021)).to_pylist()
    from_picture = {(row["id"], row["tag"], row["sign"]): row for row in rows if row["p_picture"] is not None}
    assert from_picture.keys() == {(2, "moon", "+"), (2, "1girl", "-")}
    assert "model wd: 0.90" in from_picture[2, "moon", "+"]["evidence"]


def test_a_file_that_is_no_predictions_is_refused(tmp_path: Path) -> None:
    """A missing column and a file that is no Parquet each give one line that says what to give."""
    path = tmp_path / "x.parquet"
    path.write_bytes(b"no")
    with pytest.raises(ReleaseError, match="give a Parquet file"):
        Predictions(path=path, label="x").check()
    pq.write_table(pa.table({"id": [1], "tag": ["a"]}), path)
    with pytest.raises(ReleaseError, match="no column p"):
        Predictions(path=path, label="x").check()


@pytest.mark.parametrize(
    ("column", "values"), [("id", ["1"]), ("id", [[1]]), ("tag", [1]), ("p", ["0.5"]), ("p", [[0.5]])]
)
def test_predictions_of_other_types_are_refused(tmp_path: Path, column: str, values: list[object]) -> None:
    """Numbers as text, and the like, are one line that says what to give."""
    pq.write_table(pa.table({"id": [1], "tag": ["a"], "p": [0.5], column: values}), tmp_path / "x.parquet")
    with pytest.raises(ReleaseError, match=f"has {column} as .*; give numbers"):
        Predictions(path=tmp_path / "x.parquet", label="x").check()


def test_predictions_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """A tag that is no UTF-8 is one line; a row without a tag, or with no probability, is left out."""
    path = tmp_path / "x.parquet"
    said = {"id": [1, 2, 3], "tag": pa.array(["a", None, "c"]).dictionary_encode(), "p": [0.5, 0.5, float("nan")]}
    pq.write_table(pa.table(said), path)
    predictions = Predictions(path=path, label="x")
    predictions.check()
    assert list(predictions.of(0, 9)) == [(1, "a", 0.5)]
    wrong = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    pq.write_table(pa.table({"id": [1], "tag": wrong, "p": [0.5]}), path)
    with pytest.raises(ReleaseError, match="cannot be read"):
        list(predictions.of(0, 9))


def test_fusion_needs_answers_and_takes_their_mistakes_off() -> None:
    """Too few answers make none; with enough the fused probability follows them, whatever a signal claimed."""
    few = [({"tags": 0.9}, True)] * 10
    assert Fusion.fit(few) is None
    many = [({"tags": 0.9, "picture": p}, p > 0.5) for p in (0.1, 0.3, 0.7, 0.9) for _ in range(200)]
    fusion = Fusion.fit(many, mistakes=0.03)
    assert fusion is not None
    assert fusion.answers == 800
    assert fusion.p({"tags": 0.9, "picture": 0.1, "site": None}) < 0.05
    assert fusion.p({"tags": 0.9, "picture": 0.9}) > 0.95


def test_unknown_categories_are_refused() -> None:
    """A category that no tag has is an error in words, and not a file without candidates."""
    assert CandidateOptions(categories=frozenset({"artist", "meta"})).categories == {"artist", "meta"}
    with pytest.raises(SettingsError, match="--categories 'zz' does not exist; use general"):
        CandidateOptions(categories=frozenset({"general", "zz"}))
