"""Rules for rare tags: which tags speak for them, how much, and that they become candidates."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from danbooru_pipeline.curate.candidates import CandidateOptions, learn, write_candidates
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.signals.matrix import Block, Vocabulary, make_rows
from danbooru_pipeline.curate.signals.tail import Speaks, mine_tail, rare_vocabulary

Curated = tuple[Path, CurationFolder, set[tuple[int, str]]]


def blocks(vocabulary: Vocabulary, posts: list[set[str]]) -> list[Block]:
    """Posts in two blocks."""
    found = []
    for half in (posts[::2], posts[1::2]):
        known = [(number, tag) for number, tags in enumerate(half) for tag in sorted(tags & vocabulary.columns.keys())]
        rows = [number for number, _ in known]
        columns = [vocabulary.columns[tag] for _, tag in known]
        found.append(Block(np.arange(len(half)), make_rows(rows, columns, len(half), len(vocabulary.names))))
    return found


def test_rare_tag_is_spoken_for_by_tags_as_rare() -> None:
    """A rare tag follows from one that mostly comes with it, not from a frequent one, and few posts say little."""
    posts = [{"common"} for _ in range(4000)]
    for number in range(50):
        posts[number] |= {"heroine"} | ({"show"} if number < 40 else set())
    for number in range(100, 125):
        posts[number] |= {"few"} | ({"show"} if number < 105 else set())
    counts = Counter(tag for tags in posts for tag in tags)
    vocabulary, first = rare_vocabulary(counts, known=("common",))
    assert (vocabulary.names, first) == (("heroine", "show", "few"), 0)
    rules = mine_tail(lambda wanted: blocks(wanted, posts), vocabulary, first=first)
    assert rules.by_tag == {
        "heroine": (Speaks("show", 40, 50),),
        "show": (Speaks("heroine", 40, 45),),
    }
    assert list(rules.findings({"common", "heroine"})) == [
        ("show", 0.2 * (2 / 3) / (0.2 * (2 / 3) + 1 / 3), "40 of 50 posts with heroine have it")
    ]
    assert list(rules.findings({"heroine", "show"})) == []


def test_without_rare_tags_there_are_no_rules() -> None:
    """A release all of whose tags the model knows, or without any, has none."""
    for counts in (Counter({"a": 100, "b": 19}), Counter[str]()):
        vocabulary, first = rare_vocabulary(counts, known=("a",))
        assert mine_tail(lambda _: [], vocabulary, first=first).by_tag == {}


def test_rare_tags_become_candidates(curated: Curated) -> None:
    """With a model of few tags the others are still found where they are missing, with the counts as evidence."""
    release, folder, missing = curated
    known = learn(release, most_tags=6)
    assert known.model is not None
    rare = {tag for _, tag in missing} - set(known.model.vocabulary.names)
    write_candidates(known, folder.candidates(2021), options=CandidateOptions(least=0.2))
    rows = [row for row in pq.read_table(folder.candidates(2021)).to_pylist() if row["tag"] in rare]
    found = {(row["id"], row["tag"]) for row in rows if row["sign"] == "+"}
    assert found == {cell for cell in missing if cell[1] in rare}
    assert all("posts with" in row["evidence"] for row in rows if row["sign"] == "+")
