"""Which page a reviewer sees next: up to 48 candidates of one tag, the most valuable page that nobody else has.

A reviewer holds the pages before them by locks of the kernel, so two work side by side on different ones, and the pages
of one whose process dies are free again. Pages of removals come to a second reviewer, too, since they take two.
"""

import hashlib
import os
import random
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from danbooru_pipeline.consume.find import find
from danbooru_pipeline.curate.candidates import SIGNALS
from danbooru_pipeline.curate.decisions import Standing, skipped_tags, standings
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import Answer, Asked, DecisionLog, Page, Verdict
from danbooru_pipeline.curate.saved_candidates import saved_candidates
from danbooru_pipeline.errors import ReleaseError, SettingsError
from danbooru_pipeline.io.locks import lock_file
from danbooru_pipeline.io.untrusted import is_plain
from danbooru_pipeline.layout import px512_path
from danbooru_pipeline.release.mentions import removed_ids
from danbooru_pipeline.release.release_json import instant_text, read_release
from danbooru_pipeline.search import BadSearch, Search, parse
from danbooru_pipeline.search.nodes import And, Tag
from danbooru_pipeline.years import require_ratings

PAGE_POSTS: Final = 48
#: Share of answers that are known before.
KNOWN_SHARE: Final = 0.05
_CLAIMS: Final = 512


@dataclass(frozen=True, slots=True)
class Question:
    """One picture of a page."""

    post: int
    p: float | None
    evidence: str
    signals: dict[str, float]
    known: Verdict | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page to be answered. `asked` is ``+`` where posts lack the tag, ``-`` where they have it."""

    number: str
    tag: str
    asked: Asked
    model: str
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What a reviewer wants to see.

    Attributes:
        ratings: of posts; all if empty.
        tags: only these; all if empty.
        asked: ``+`` or ``-`` alone; both if empty.
        with_pictures: only posts with a 512px image, and no candidates by rules alone; the opposite for a terminal.
    """

    ratings: tuple[str, ...] = ("g", "s")
    tags: tuple[str, ...] = ()
    asked: str = ""
    with_pictures: bool = True


def named_reviewer(who: str) -> str:
    """The name of a reviewer, as decisions have it: the same for all blanks that somebody types around it.

    Raises:
        SettingsError: it is empty, or no name.
    """
    name = " ".join(who.split())
    if not name or not name.isprintable():
        raise SettingsError(f"--who {who!r} names nobody; give a name, or leave it out for the login name")
    return name


@dataclass
class ReviewQueue:
    """The pages of one reviewer.

    Raises:
        SettingsError: the reviewer has no name, or a rating does not exist.
    """

    release: Path
    folder: CurationFolder
    who: str
    options: QueueOptions = field(default_factory=QueueOptions)

    def __post_init__(self) -> None:
        self.who = named_reviewer(self.who)
        try:
            require_ratings(self.options.ratings)
        except ValueError as error:
            raise SettingsError(f"--ratings {error}") from error
        self.about = read_release(self.release)
        self.log = DecisionLog(self.folder.decisions)
        self._claims: dict[str, int] = {}
        self._held: dict[str, Sheet] = {}
        self._draw = random.Random(f"{self.who}:{secrets.token_hex(8)}")  # noqa: S311 - which known answers are shown
        self._table = _wanted(saved_candidates(self.folder, self.about.year), self.release, self.options)
        self._by_tag = list(_groups(self._table))

    def next(self) -> Sheet | None:
        """The next page that nobody else has before them, until `release_claim`; None when nothing is left."""
        pages = self.log.read()
        found = standings(pages)
        skipped = skipped_tags(pages).get(self.who, set())
        for tag, asked, rows in self._by_tag:
            if tag in skipped:
                continue
            before = {each.post for sheet in self._held.values() if sheet.tag == tag for each in sheet.questions}
            posts = {row: self._table["id"][row].as_py() for row in rows}
            left = [row for row in rows if posts[row] not in before]
            left = [row for row in left if self._is_open(found.get((posts[row], tag)), asked)]
            for start in range(0, len(left), PAGE_POSTS):
                part = left[start : start + PAGE_POSTS]
                number = self._claim(tag, asked, posts[part[0]])
                if number is not None:
                    return self.hold(self._sheet(number, tag, asked, part))
        return None

    def _is_open(self, standing: Standing | None, asked: str) -> bool:
        """Whether this reviewer is asked about a cell: nobody has answered, or a removal needs a second voice."""
        if standing is None:
            return True
        if self.who in standing.by or len(standing.by) > 1:
            return False
        return asked == "-" and all(answer.verdict == "-" for answer in standing.by.values())

    def _claim(self, tag: str, asked: str, first: int) -> str | None:
        """Take a page; None if somebody has it, or has one with the same lock."""
        key = hashlib.sha256(f"{tag} {asked} {first}".encode()).digest()
        lock = int.from_bytes(key[:4]) % _CLAIMS
        path = self.folder.claim(lock)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = lock_file(path, wait=False)
        except BlockingIOError:
            return None
        number = secrets.token_hex(8)
        self._claims[number] = descriptor
        return number

    def hold(self, sheet: Sheet) -> Sheet:
        """Show nothing of a page on another one, until `release_claim`."""
        self._held[sheet.number] = sheet
        return sheet

    def release_claim(self, number: str) -> None:
        """Let others have a page."""
        self._held.pop(number, None)
        if number in self._claims:
            os.close(self._claims.pop(number))

    def close(self) -> None:
        """Let others have all pages."""
        for number in list(self._claims):
            self.release_claim(number)

    def _sheet(self, number: str, tag: str, asked: Asked, rows: list[int]) -> Sheet:
        questions = [_question(row) for row in self._table.take(pa.array(rows)).to_pylist()]
        models = sorted({each for row in rows for each in self._table["model"][row].as_py().split("+")})
        for known in self._known(tag, {each.post for each in questions}):
            questions.insert(self._draw.randrange(len(questions) + 1), known)
        return Sheet(number, tag, asked, "+".join(models), tuple(questions[:PAGE_POSTS]))

    def _known(self, tag: str, shown: set[int]) -> Iterator[Question]:
        """Posts whose answer is known as well as it can be: with the tag, as tags that are there are nearly all right.

        They take the place of the last pictures of a page, at random one time in twenty each.
        """
        count = sum(self._draw.random() < KNOWN_SHARE for _ in range(PAGE_POSTS)) if self.options.with_pictures else 0
        if not count:
            return
        try:
            rated = parse(f"rating:{','.join(self.options.ratings)}").root if self.options.ratings else And()
            ids = find(self.release, Search(root=And((Tag(tag), rated)))).ids
        except (BadSearch, ReleaseError):
            return
        candidates = set(self._table["id"].filter(pc.equal(self._table["tag"], tag)).to_pylist())
        drawn = (int(ids[self._draw.randrange(len(ids))]) for _ in range(4 * count) if len(ids))
        fit = [post for post in drawn if post not in candidates | shown and is_plain(self.release, px512_path(post))]
        for post in dict.fromkeys(fit[:count]):
            yield Question(post, None, "", {}, known="+")


class GivenQueue:
    """The same with pages that are given, for samples that nobody else answers."""

    def __init__(self, release: Path, folder: CurationFolder, who: str, sheets: Iterable[Sheet]) -> None:
        self.release, self.folder, self.who = release, folder, named_reviewer(who)
        self.about = read_release(release)
        self.log = DecisionLog(folder.decisions)
        self._sheets = iter(sheets)

    def next(self) -> Sheet | None:
        """The next page."""
        return next(self._sheets, None)

    def hold(self, sheet: Sheet) -> Sheet:
        """A page; nobody else has it."""
        return sheet

    def release_claim(self, number: str) -> None:
        """Nothing is claimed."""

    def close(self) -> None:
        """Nothing is claimed."""


def _question(row: dict[str, Any]) -> Question:
    signals = {name: row[f"p_{name}"] for name in SIGNALS if row[f"p_{name}"] is not None}
    return Question(row["id"], row["p"], row["evidence"], signals, md5=row["md5"])


def _wanted(table: pa.Table, release: Path, options: QueueOptions) -> pa.Table:
    """The candidates that a reviewer wants, without posts that were taken down since."""
    gone = pa.array(sorted(removed_ids(release)), pa.int64())
    kept = pc.invert(pc.is_in(table["id"], gone))
    is_rule = pc.is_valid(table["p_rule"])
    if options.with_pictures:
        kept = pc.and_(kept, pc.and_(pc.is_valid(table["path"]), pc.invert(is_rule)))
    else:
        kept = pc.and_(kept, is_rule)
    for column, wanted in (("rating", options.ratings), ("tag", options.tags)):
        if wanted:
            kept = pc.and_(kept, pc.is_in(table[column], pa.array(wanted, pa.string())))
    if options.asked:
        kept = pc.and_(kept, pc.equal(table["sign"], options.asked))
    return table.filter(kept)


def _groups(table: pa.Table) -> Iterator[tuple[str, Asked, list[int]]]:
    """Tag, sign and rows of all candidates of a tag, the most valuable tag first and within it the likeliest first."""
    if not table.num_rows:
        return
    keyed = table.select(["tag", "sign", "value"]).append_column("row", pa.array(range(table.num_rows)))
    ordered = keyed.sort_by([("value", "descending"), ("row", "ascending")])
    groups: dict[tuple[str, Asked], list[int]] = {}
    values: dict[tuple[str, Asked], float] = {}
    columns = (ordered[name].to_pylist() for name in ("tag", "sign", "value", "row"))
    for tag, sign, value, row in zip(*columns, strict=True):
        rows = groups.setdefault((tag, sign), [])
        rows.append(row)
        if len(rows) <= PAGE_POSTS:
            values[tag, sign] = values.get((tag, sign), 0.0) + value
    for key in sorted(groups, key=lambda each: (-values[each], each)):
        yield key[0], key[1], groups[key]


def answered(sheet: Sheet, verdicts: Mapping[int, Verdict], *, who: str, ms: int, release: str) -> Page:
    """The line of a page for the log; a picture without a verdict is unsure."""
    answers = tuple(
        Answer(
            post=each.post,
            verdict=verdicts.get(each.post, "?"),
            p=each.p,
            signals=each.signals,
            evidence=each.evidence,
            known=each.known,
            md5=each.md5,
        )
        for each in sheet.questions
    )
    return Page(
        number=sheet.number,
        tag=sheet.tag,
        asked=sheet.asked,
        who=who,
        at=instant_text(datetime.now(UTC)),
        ms=max(0, ms),
        release=release,
        model=sheet.model,
        answers=answers,
    )


def without_answers(page: Page | Sheet, *, who: str, undoes: str | None = None, skipped: bool = False) -> Page:
    """A line that takes a page back, or says that a reviewer wants no more of its tag."""
    return Page(
        number=secrets.token_hex(8),
        tag=page.tag,
        asked=page.asked,
        who=who,
        at=instant_text(datetime.now(UTC)),
        undoes=undoes,
        skipped=skipped,
    )


def sheet_again(page: Page) -> Sheet:
    """A page as it was shown, to be answered again."""
    questions = tuple(
        Question(each.post, each.p, each.evidence, each.signals, known=each.known, md5=each.md5)
        for each in page.answers
    )
    return Sheet(secrets.token_hex(8), page.tag, page.asked, page.model, questions)
