"""How good the tags of a release are: precision and recall by tag from gold samples, and what review has cost.

Gold samples are stratified: posts with a tag, and posts without it by what the model thought of them. Each stratum is
weighted by its size, so a few hundred answers say how many tags are missing among millions of posts. Intervals are of
95 %. Without anybody's labels there is `scored_by_next_year`: what users of the site added or removed by the next
release, of all that was proposed in this one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow.parquet as pq

from danbooru_pipeline.consume.find import find
from danbooru_pipeline.curate.decisions import agreement, in_force, reviewers, standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.interval import Z, interval
from danbooru_pipeline.curate.learning import answers_of
from danbooru_pipeline.curate.log import Page
from danbooru_pipeline.curate.review.gold import STRATA, stratum_of
from danbooru_pipeline.curate.saved_candidates import likely_posts
from danbooru_pipeline.curate.signals.calibration import Curve
from danbooru_pipeline.io.atomic import write_atomic
from danbooru_pipeline.release.release_json import instant_text, read_release
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.search import BadSearch, Search
from danbooru_pipeline.search.nodes import Tag

_TOPS: Final = (100, 1_000, 10_000, 100_000)


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def wilson(yes: int, answers: int) -> Share:
    """A share of answers, with Wilson's interval."""
    if not answers:
        return Share(0.0, 0.0, 1.0)
    low, high = interval(yes / answers, answers)
    return Share(yes / answers, float(low), float(high))


@dataclass(frozen=True, slots=True)
class Stratum:
    """Posts of which some were judged: how many there are, how many were, and how many of these show the tag."""

    posts: int
    judged: int
    yes: int


def missing_posts(strata: Sequence[Stratum]) -> Share:
    """How many posts show a tag that they do not have, from strata of posts without it."""
    total = variance = 0.0
    for each in strata:
        if each.judged:
            total += each.posts * each.yes / each.judged
            # A stratum of nothing but no is not certain: half an answer of each kind, less of it in a huge stratum.
            more = 0.5 if each.posts < sum(s.posts for s in strata) / 2 else 0.05
            p = (each.yes + more) / (each.judged + 1)
            left = 1 - each.judged / max(each.judged, each.posts)
            variance += each.posts**2 * p * (1 - p) / each.judged * left
    half = Z * math.sqrt(variance)
    return Share(total, max(0.0, total - half), total + half)


@dataclass(frozen=True, slots=True)
class TagQuality:
    """What is known of a tag.

    Attributes:
        precision: share of the posts with the tag that show it.
        recall: share of the posts that show it that have it; its interval is that of the missing posts.
        judged: answers that this is from.
    """

    tag: str
    posts: int
    judged: int
    precision: Share
    recall: Share
    missing: Share


def tag_quality(release: Path, folder: CurationFolder, pages: Iterable[Page]) -> list[TagQuality]:
    """The quality of every tag of which gold samples were judged in a release, by name."""
    about = read_release(release)
    judged: dict[str, dict[int, bool]] = {}
    for page in in_force(pages):
        if page.asked == "gold" and page.release == about.name:
            for answer in page.answers:
                if answer.verdict != "?":
                    judged.setdefault(page.tag, {})[answer.post] = answer.verdict == "+"
    if not judged:
        return []
    likely = likely_posts(folder, about.year, judged.keys())
    return [_quality_of(release, tag, judged[tag], likely.get(tag, {}), about.counts.posts) for tag in sorted(judged)]


def _quality_of(
    release: Path, tag: str, judged: Mapping[int, bool], likely: Mapping[int, float], posts: int
) -> TagQuality:
    try:
        have = {int(post) for post in find(release, Search(root=Tag(tag))).ids}
    except BadSearch:
        have = set()
    precision = wilson(sum(judged[post] for post in judged if post in have), len(have & judged.keys()))
    sizes, counts, yes = ([0] * len(STRATA) for _ in range(3))
    for post, p in likely.items():
        sizes[stratum_of(p)] += post not in have
    sizes[0] = posts - len(have) - sum(sizes[1:])
    for post, shows in judged.items():
        if post not in have:
            number = stratum_of(likely.get(post, 0.0))
            counts[number] += 1
            yes[number] += shows
    missing = missing_posts([Stratum(*each) for each in zip(sizes, counts, yes, strict=True)])
    right = precision.value * len(have)
    recall = Share(*(right / max(1e-9, right + many) for many in (missing.value, missing.high, missing.low)))
    return TagQuality(tag, len(have), len(judged), precision, recall, missing)


@dataclass(frozen=True, slots=True)
class NextYear:
    """Candidates of one release, held against the next.

    Attributes:
        at: the N best candidates -> the share that users added or removed by the next release.
        proposed, done: candidates about posts that the next release has, and how many of them came true.
    """

    release: str
    next_release: str
    proposed: int
    done: int
    at: dict[int, float]


def scored_by_next_year(candidates: Path, older: Path, newer: Path, *, ours: frozenset[tuple[int, str]]) -> NextYear:
    """Candidates of a release that users of the site have made true by the next one, without anybody's labels.

    Args:
        candidates: of the older release.
        older: it.
        newer: a later one.
        ours: cells that we submitted ourselves, which prove nothing.
    """
    table = pq.read_table(candidates, columns=["id", "tag", "sign", "p"])
    rows = [row for row in table.to_pylist() if (row["id"], row["tag"]) not in ours]
    wanted = {row["id"] for row in rows}
    tags: dict[int, set[str]] = {}
    for posts in reader(newer)("posts", ("id", "tag_string")):
        for row in posts.to_pylist():
            if row["id"] in wanted:
                tags[row["id"]] = set((row["tag_string"] or "").split())
    held = [row for row in rows if row["id"] in tags]
    held.sort(key=lambda row: -(row["p"] if row["sign"] == "+" else 1 - row["p"]))
    done = np.array([(row["tag"] in tags[row["id"]]) == (row["sign"] == "+") for row in held], bool)
    tops = {top: float(done[:top].mean()) for top in _TOPS if top <= len(done)}
    return NextYear(read_release(older).name, read_release(newer).name, len(done), int(done.sum()), tops)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Everything that was measured about the tags of a release."""

    release: str
    measured_at: str
    tags: list[TagQuality]
    answers: int
    seconds: float
    yes_by_score: Curve
    reviewers: list[dict[str, Any]]
    agreement: dict[str, Any]
    next_year: NextYear | None = None
    open_disputes: int = 0

    def lines(self) -> list[str]:
        """The numbers for people, as Markdown."""
        lines = [f"{self.answers:,} answers in {self.seconds / 3600:.1f} hours; {self.open_disputes:,} disputed"]
        if self.tags:
            lines += ["", "| tag | posts | judged | precision | recall | missing |", "|---|---:|---:|---|---|---|"]
        for each in self.tags:
            missing = f"{each.missing.value:,.0f} ({each.missing.low:,.0f} to {each.missing.high:,.0f})"
            lines.append(
                f"| {each.tag} | {each.posts:,} | {each.judged:,} | {each.precision} | {each.recall} | {missing} |"
            )
        if self.yes_by_score.bins:
            lines += ["", "| said | yes | answers |", "|---:|---:|---:|"]
            lines += [f"| {each.said:.2f} | {each.true:.2f} | {each.cells:,} |" for each in self.yes_by_score.bins]
            lines += ["", f"expected calibration error {self.yes_by_score.error:.3f}"]
        if self.next_year is not None:
            year = self.next_year
            tops = ", ".join(f"{share:.3f} of the best {top:,}" for top, share in year.at.items())
            lines += ["", f"users made {year.done:,} of {year.proposed:,} true by {year.next_release}: {tops or 'few'}"]
        return lines


def measure(
    release: Path, folder: CurationFolder, pages: Sequence[Page], *, now: datetime, newer: Path | None = None
) -> Quality:
    """Measure the tags of a release. Reviewers are counted, not named."""
    about = read_release(release)
    found = standings(pages)
    given = [(signals.get("tags"), yes) for signals, yes in answers_of(pages)]
    scored = [(p, yes) for p, yes in given if p is not None]
    said, yes = (np.array([each[side] for each in scored], np.float64) for side in (0, 1))
    people = reviewers(pages)
    ours: frozenset[tuple[int, str]] = frozenset(cell for cell, each in found.items() if each.agreed() is not None)
    candidates = folder.candidates(about.year)
    return Quality(
        release=about.name,
        measured_at=instant_text(now),
        tags=tag_quality(release, folder, pages),
        answers=sum(each.answers for each in people),
        seconds=sum(each.seconds for each in people),
        yes_by_score=Curve.of(said, yes),
        reviewers=[{"answers": r.answers, "known": r.known, "known_wrong": r.known_wrong} for r in people],
        agreement=msgspec.to_builtins(agreement(found)),
        next_year=scored_by_next_year(candidates, release, newer, ours=ours) if newer and candidates.exists() else None,
        open_disputes=sum(each.is_disputed for each in found.values()),
    )


def write_quality(quality: Quality, path: Path) -> None:
    """Write the numbers."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(quality)) + b"\n")
