"""Estimates of the quality of tags: intervals that hold, and what the next year says about candidates."""

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danbooru_pipeline.curate.candidates import SCHEMA
from danbooru_pipeline.curate.estimate import (
    NextYear,
    Quality,
    Share,
    Stratum,
    TagQuality,
    measure,
    missing_posts,
    scored_by_next_year,
    wilson,
)
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.quality_page import write_measured, write_page
from danbooru_pipeline.curate.review.gold import draw_gold
from danbooru_pipeline.curate.review.queue import GivenQueue
from danbooru_pipeline.curate.review.session import ReviewSession
from danbooru_pipeline.curate.signals.calibration import Curve

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


def test_intervals_cover_the_truth() -> None:
    """Of a hundred samples the interval of what is missing holds the truth in nine out of ten."""
    rng = np.random.default_rng(2)
    shares, sizes = np.array([0.002, 0.1, 0.4, 0.8]), np.array([90_000, 6_000, 3_000, 1_000])
    truth = float(shares @ sizes)
    found = [
        missing_posts([Stratum(int(n), 60, int(rng.binomial(60, p))) for n, p in zip(sizes, shares, strict=True)])
        for _ in range(100)
    ]
    assert sum(each.low <= truth <= each.high for each in found) >= 85
    assert np.median([abs(each.value - truth) / truth for each in found]) < 0.2


@pytest.mark.parametrize(("yes", "answers"), [(0, 0), (0, 5), (5, 5), (3, 7)])
def test_share_is_in_its_interval(yes: int, answers: int) -> None:
    """An interval lies within 0 and 1 and holds the share, for no answers, too."""
    share = wilson(yes, answers)
    assert 0 <= share.low <= share.value + 1e-9
    assert share.value <= share.high + 1e-9 <= 1 + 1e-8


def test_gold_answers_give_precision_and_recall(curated: Curated) -> None:
    """From true answers about a sample of a tag, recall is about what was left out, and precision is one."""
    release, folder, missing = curated
    sheets = draw_gold(release, folder, "paws", count=120, seed=4)
    session = ReviewSession(GivenQueue(release, folder, "ann", sheets))
    posts = pq.read_table(next(release.glob("parquet/posts-*"))).to_pylist()
    shows = {row["id"] for row in posts if "paws" in row["tag_string"].split() or (row["id"], "paws") in missing}
    while (sheet := session.next()) is not None:
        verdicts = {q.post: "+" if q.post in shows else "-" for q in sheet.questions}
        session.save(sheet.number, verdicts, ms=1000)  # type: ignore[arg-type]
    quality = measure(release, folder, session.queue.log.read(), now=datetime(2022, 1, 1, tzinfo=UTC))
    (paws,) = quality.tags
    truth = sum("paws" in row["tag_string"].split() for row in posts) / len(shows)
    assert paws.precision.value == 1
    assert paws.recall.low - 0.02 <= truth <= paws.recall.high + 0.02
    assert any(line.startswith("| paws |") for line in quality.lines())
    write_measured(quality, folder, 2021)
    assert folder.quality(2021).read_text().startswith("{")
    page = folder.page.read_text()
    assert "<td>paws</td>" in page
    assert f"<td>{paws.recall}</td>" in page


def test_page_has_every_year_and_names_a_damaged_one(tmp_path: Path) -> None:
    """The page is well-formed, shows the curve and what users did, escapes names, and goes on past a damaged year."""
    folder = CurationFolder(tmp_path)
    share = Share(0.5, 0.4, 0.6)
    tags = [TagQuality("<b>&", 1200, 30, share, share, Share(70.0, 10.0, 900.0))]
    later = NextYear("danbooru2021", "danbooru2022", 50, 20, {100: 0.25})
    quality = Quality(
        release="danbooru2021",
        measured_at="2022-01-01T00:00:00.000Z",
        tags=tags,
        answers=200,
        seconds=180.0,
        yes_by_score=Curve.of(np.array([0.1, 0.15, 0.9, 0.95]), np.array([0.0, 1.0, 1.0, 1.0])),
        reviewers=[{"answers": 200, "known": 10, "known_wrong": 1}],
        agreement={},
        next_year=later,
    )
    write_measured(quality, folder, 2021)
    (tmp_path / "2020").mkdir()
    (tmp_path / "2020/quality.json").write_text("{")
    write_page(folder)
    page = folder.page.read_text()
    root = ET.fromstring(re.sub(r"<!DOCTYPE html>|<(meta|link)[^>]*>", "", page))
    assert len(root.findall(".//circle")) == 2
    text = "".join(root.itertext())
    for said in ("<b>&", "0.500 (0.400 to 0.600)", "70 (10 to 900)", "0.90", "1 of 10", "20 of 50", "0.250", "50% yes"):
        assert said in text
    assert "numbers of 2020 cannot be read" in text


def test_next_year_scores_candidates(curated: Curated, tmp_path: Path) -> None:
    """What users added counts, what we submitted ourselves does not, and posts that are gone are left out."""
    release = curated[0]
    newer = tmp_path / "newer"
    (newer / "parquet").mkdir(parents=True)
    (newer / "RELEASE.json").write_bytes((release / "RELEASE.json").read_bytes())
    pq.write_table(pa.table({"id": [1, 2], "tag_string": ["a b", "c"]}), newer / "parquet/posts-00000-of-00001.parquet")
    rows = [(1, "a", "+", 0.9), (1, "x", "+", 0.8), (2, "y", "-", 0.01), (2, "c", "+", 0.5), (3, "a", "+", 0.9)]
    listed = [{"id": id_, "tag": tag, "sign": sign, "p": p} for id_, tag, sign, p in rows]
    path = tmp_path / "candidates.parquet"
    pq.write_table(pa.Table.from_pylist(listed, SCHEMA), path)
    found = scored_by_next_year(path, release, newer, ours=frozenset({(2, "c")}))
    assert (found.proposed, found.done) == (3, 2)
