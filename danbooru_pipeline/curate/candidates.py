"""Tags of a release that may be missing or wrong, as a Parquet file that is written in a stream, sorted by post.

Each row says how likely it is that the post shows the tag, what speaks for that in words, and what an answer is worth
by the second of a person: rare tags, and what they imply, count more. Nothing is proposed that the site writes by
itself, has deprecated or calls by another name; and nothing about a post that the release does not have.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from danbooru_pipeline.curate.fusion import Fusion
from danbooru_pipeline.curate.predictions import Predictions
from danbooru_pipeline.curate.signals.matrix import MOST_TAGS, Block, Vocabulary, count_tags, read_blocks
from danbooru_pipeline.curate.signals.model import Cells, TagModel, train_model
from danbooru_pipeline.curate.signals.rules import Finding, TagRules, rules_of
from danbooru_pipeline.curate.signals.tail import TailRules, mine_tail, rare_vocabulary
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.io.parquet import SortedRows, rechunk, write_parquet
from danbooru_pipeline.posts.schema import CATEGORIES as POST_CATEGORIES
from danbooru_pipeline.progress import Progress, silent
from danbooru_pipeline.release.tables.search_index import categories_of, reader
from danbooru_pipeline.search.postings import Read

#: What a row is made from: the tags of the release, a model of pictures, the site's own model, or a rule.
SIGNALS: Final = ("tags", "picture", "site", "rule")
SCHEMA: Final = pa.schema(
    [
        ("id", pa.int64()),
        ("tag", pa.string()),
        ("sign", pa.string()),
        ("p", pa.float32()),
        *((f"p_{name}", pa.float32()) for name in SIGNALS),
        ("evidence", pa.string()),
        ("value", pa.float32()),
        ("rating", pa.string()),
        ("path", pa.string()),
        ("md5", pa.string()),
        ("model", pa.string()),
    ]
)
#: Artists and meta tags do not follow from what a picture shows.
CATEGORIES: Final = frozenset({"general", "copyright", "character"})
#: What a rule says without a model: an implied tag is certain, of two that contradict each other one is wrong.
_IMPLIED, _CONTRADICTED, _RENAMED = 0.99, 0.5, 0.01
_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateOptions:
    """What is worth asking.

    Attributes:
        least: a tag that is missing with a lower probability is not asked about.
        most_wrong: a tag on a post that is right with a higher one is not, either.
        of_a_post: at most so many of a post.
        seconds: that a person takes for an answer.
        categories: of the tags.
    """

    least: float = 0.1
    most_wrong: float = 0.01
    of_a_post: int = 20
    seconds: float = 1.0
    categories: frozenset[str] = CATEGORIES

    def __post_init__(self) -> None:
        known = POST_CATEGORIES.values()
        if unknown := sorted(self.categories.difference(known)):
            raise SettingsError(f"--categories {unknown[0]!r} does not exist; use {', '.join(known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Everything that candidates of a release are found by."""

    read: Read
    rules: TagRules
    counts: Counter[str]
    categories: dict[str, str]
    model: TagModel | None
    predictions: tuple[Predictions, ...] = ()
    fusion: Fusion | None = None
    tail: TailRules = field(default_factory=TailRules)
    _total: int = field(init=False)
    _weights: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_total", max(1, self.counts.total()))

    def may_ask(self, tag: str, options: CandidateOptions) -> bool:
        """Whether a person may be asked whether a post shows a tag that it lacks."""
        return self.rules.may_propose(tag) and self.categories.get(tag, "general") in options.categories

    def weight(self, tag: str) -> float:
        """What one more right tag is worth: its information, with that of the tags which it implies."""
        if tag not in self._weights:  # asked for every cell
            names = (tag, *self.rules.implied.get(tag, ()))
            self._weights[tag] = sum(math.log2(self._total / max(1, self.counts[name])) for name in names)
        return self._weights[tag]


def learn(
    release: Path,
    *,
    predictions: tuple[Predictions, ...] = (),
    fusion: Fusion | None = None,
    model: TagModel | None = None,
    most_tags: int = MOST_TAGS,
) -> Knowledge:
    """Read the rules of a release, and train a model on its tags unless one is given; without any tag there is none.

    Tags beyond the `most_tags` most frequent have rules of their own (`signals.tail`).
    """
    read = reader(release)
    rules = rules_of(read)
    counts = count_tags(read, rules)
    if model is None and counts:
        vocabulary = Vocabulary.of(counts, rules, most=most_tags)
        posts = sum(table.num_rows for table in read("posts", ("id",)))
        model = train_model(partial(read_blocks, read, vocabulary, rules), vocabulary, posts=posts)
    rare, first = rare_vocabulary(counts, known=model.vocabulary.names if model else ())
    return Knowledge(
        read=read,
        rules=rules,
        counts=counts,
        categories=categories_of(read),
        model=model,
        predictions=predictions,
        fusion=fusion,
        tail=mine_tail(lambda vocabulary: read_blocks(read, vocabulary, rules), rare, first=first),
    )


def write_candidates(
    known: Knowledge, target: Path, *, options: CandidateOptions | None = None, progress: Progress = silent
) -> dict[str, int]:
    """Write the candidates. Returns how many there are of each sign."""
    wanted = options or CandidateOptions()
    counted = {"+": 0, "-": 0}

    def chunks() -> Iterator[pa.Table]:
        done = 0
        for table in find_candidates(known, wanted):
            for row in table["sign"].value_counts().to_pylist():
                counted[row["values"]] += row["counts"]
            done += table.num_rows
            progress("candidates", done, done)
            yield table

    write_parquet(target, rechunk(chunks(), 100_000), schema=SCHEMA, dictionary=("tag", "sign", "rating", "model"))
    return counted


def find_candidates(known: Knowledge, options: CandidateOptions) -> Iterator[pa.Table]:
    """The candidates, some posts at a time."""
    files = SortedRows(known.read("files", ("id", "px512_path")))
    for table in known.read("posts", ("id", "tag_string", "rating", "md5")):
        for start in range(0, table.num_rows, _ROWS):
            posts = table.slice(start, _ROWS)
            ids = posts["id"].to_pylist()
            paths = {
                row["id"]: row["px512_path"]
                for rows in files.take_up_to(ids[-1])
                for row in rows.to_pylist()
                if row["px512_path"]
            }
            rows = _Rows(known, options, posts, paths)
            yield rows.table()


class _Rows:
    """The candidates of some posts."""

    def __init__(self, known: Knowledge, options: CandidateOptions, posts: pa.Table, paths: dict[int, str]) -> None:
        self._known, self._options, self._paths = known, options, paths
        self._ids = posts["id"].to_pylist()
        self._held = [set((text or "").split()) for text in posts["tag_string"].to_pylist()]
        self._ratings, self._md5s = posts["rating"].to_pylist(), posts["md5"].to_pylist()
        self._found: dict[tuple[int, str, str], dict[str, Any]] = {}
        self._add_rules()
        if known.model is not None:
            self._add_tags(known.model, next(iter(_blocks(known, known.model, posts))))
        self._add_tail()
        for each in known.predictions:
            self._add_predictions(each)

    def table(self) -> pa.Table:
        """All rows by post, the most valuable of each first."""
        rows = [self._row(*key, found) for key, found in self._found.items()]
        rows = [row for row in rows if self._is_asked(row)]
        rows.sort(key=lambda row: (row["id"], -row["value"], row["tag"], row["sign"]))
        kept: list[dict[str, Any]] = []
        of_post: Counter[int] = Counter()
        for row in rows:
            of_post[row["id"]] += 1
            if of_post[row["id"]] <= self._options.of_a_post:
                kept.append(row)
        return pa.Table.from_pylist(kept, SCHEMA)

    def _is_asked(self, row: dict[str, Any]) -> bool:
        if row["p_rule"] is not None:
            return True
        return bool(row["p"] >= self._options.least if row["sign"] == "+" else row["p"] <= self._options.most_wrong)

    def _note(self, post: int, tag: str, sign: str, *, signal: str, p: float, why: str) -> None:
        found = self._found.setdefault((post, tag, sign), {"why": []})
        found[f"p_{signal}"] = p
        found["why"].append(why)

    def _add_rules(self) -> None:
        for post, held in enumerate(self._held):
            for finding in self._known.rules.findings(held):
                if finding.sign == "-" or self._known.may_ask(finding.tag, self._options):
                    p = _p_of(finding)
                    self._note(post, finding.tag, finding.sign, signal="rule", p=p, why=f"rule: {finding.why}")

    def _add_tags(self, model: TagModel, block: Block) -> None:
        names = model.vocabulary.names
        missing, present = model.judge(block.rows)
        asked = np.array([self._known.may_ask(name, self._options) for name in names], bool)
        missing = _only(missing, (missing.p >= self._options.least) & asked[missing.tags])
        present = _only(present, present.p <= self._options.most_wrong)
        for sign, cells in (("+", missing), ("-", present)):
            reasons = model.reasons(block.rows, cells)
            cell = zip(cells.posts.tolist(), cells.tags.tolist(), cells.p.tolist(), reasons, strict=True)
            for post, tag, p, because in cell:
                if sign == "+" or names[tag] in self._held[post]:  # what is implied only is no tag of the post
                    why = _words(sign, because)
                    self._note(post, names[tag], sign, signal="tags", p=p, why=why)

    def _add_tail(self) -> None:
        for post, held in enumerate(self._held):
            for tag, p, why in self._known.tail.findings(map(self._known.rules.canonical, held)):
                if p >= self._options.least and self._known.may_ask(tag, self._options):
                    self._note(post, tag, "+", signal="tags", p=p, why=f"tags: {why}")

    def _add_predictions(self, predictions: Predictions) -> None:
        rows = {post: number for number, post in enumerate(self._ids)}
        for post, tag, p in predictions.of(self._ids[0], self._ids[-1]):
            name = self._known.rules.canonical(tag)
            if post not in rows:
                continue
            number = rows[post]
            sign = "-" if name in self._held[number] else "+"
            if sign == "+" and not self._known.may_ask(name, self._options):
                continue
            why = f"{predictions.label}: {p:.2f}"
            self._note(number, name, sign, signal=predictions.signal, p=p, why=why)

    def _row(self, post: int, tag: str, sign: str, found: dict[str, Any]) -> dict[str, Any]:
        signals = {name: found.get(f"p_{name}") for name in SIGNALS}
        p, alone = _together(signals, sign, self._known.fusion)
        right = p if sign == "+" else 1 - p
        value = right * self._known.weight(tag) / self._options.seconds
        why = "; ".join(found["why"])
        return {
            "id": self._ids[post],
            "tag": tag,
            "sign": sign,
            "p": p,
            **{f"p_{name}": value for name, value in signals.items()},
            "evidence": f"{why}; not calibrated by answers yet" if alone else why,
            "value": value,
            "rating": self._ratings[post],
            "path": self._paths.get(self._ids[post]),
            "md5": self._md5s[post],
            "model": "+".join(name for name, value in signals.items() if value is not None),
        }


def _together(signals: dict[str, float | None], sign: str, fusion: Fusion | None) -> tuple[float, bool]:
    """One probability that the post shows the tag, and whether a signal stands alone for it."""
    if signals["rule"] is not None and sign == "+":
        return signals["rule"], False
    if fusion is not None:
        return fusion.p(signals), False
    given = [value for value in signals.values() if value is not None]
    return (max(given) if sign == "+" else min(given)), True


def _p_of(finding: Finding) -> float:
    if finding.sign == "+":
        return _IMPLIED
    return _CONTRADICTED if finding.why.startswith("contradicts") else _RENAMED


def _words(sign: str, because: list[str]) -> str:
    if sign == "+":
        return f"tags: goes with {', '.join(because)}" if because else "tags: common on posts like this"
    return (
        f"tags: only {', '.join(because)} speak for it" if because else "tags: nothing else on the post speaks for it"
    )


def _only(cells: Cells, kept: Any) -> Cells:
    return Cells(cells.posts[kept], cells.tags[kept], cells.scores[kept], cells.p[kept])


def _blocks(known: Knowledge, model: TagModel, posts: pa.Table) -> Iterator[Block]:
    return read_blocks(lambda *_: iter([posts]), model.vocabulary, known.rules)
