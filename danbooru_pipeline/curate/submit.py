"""Gives decisions back to the site: a plan for people, and, when it is switched on, one edit after the other.

An edit is a tag script (``smile -frown``) with an empty old string, which the site merges: nobody's edit is lost. Only
what reviewers agree on and the release still lacks is sent, one edit a second at most, so many a day, and nothing more
after the first answer that is not a success. Each edit is written to a log before and after it is sent, so a process
that is killed never sends one twice: what was on its way then is left for people to look at.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from danbooru_pipeline.curate.corrections import decided_rows
from danbooru_pipeline.curate.log import Page
from danbooru_pipeline.errors import SourceError
from danbooru_pipeline.fetch import BooruClient
from danbooru_pipeline.io.append_log import append_line, read_lines
from danbooru_pipeline.release.release_json import instant_text
from danbooru_pipeline.release.tables.corrections import DECIDED_SCHEMA, POSTS_COLUMNS, State, judge
from danbooru_pipeline.release.tables.search_index import reader

#: Seconds between two edits.
PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Edit:
    """An edit of one post. `script` is what the site gets."""

    post: int
    added: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def script(self) -> str:
        """The tag script."""
        return " ".join((*self.added, *(f"-{tag}" for tag in self.removed)))


class Sent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the log: `status` is None before the answer."""

    post: int
    script: str
    at: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be sent.

    Attributes:
        edits: in the order of their posts.
        waiting: edits that are left for another day.
        unclear: edits that were on their way when a process ended; a person looks at these posts.
    """

    edits: tuple[Edit, ...]
    waiting: int
    unclear: tuple[Sent, ...]

    def lines(self) -> list[str]:
        """The plan for people."""
        lines = [f"post {edit.post}: {edit.script}" for edit in self.edits]
        lines += [f"post {sent.post}: {sent.script} was on its way; look at it" for sent in self.unclear]
        more = f", {self.waiting:,} wait for another day" if self.waiting else ""
        return [*lines, f"{len(self.edits):,} edits{more}"]


def read_sent(path: Path) -> list[Sent]:
    """The log of what was sent; a torn line is passed over."""
    return [each for each in read_lines(path, Sent) if each is not None]


def plan_submission(release: Path, pages: Iterable[Page], sent: Iterable[Sent], *, per_day: int, now: datetime) -> Plan:
    """Plan edits for what a release still lacks, without those that were sent before. Changes nothing.

    Args:
        release: the newest one; a decision that its posts follow already was adopted by the site.
        pages: of the log of decisions.
        sent: the log of submission.
        per_day: most edits within 24 hours.
        now: the time.
    """
    table = pa.Table.from_pylist(decided_rows(pages), DECIDED_SCHEMA)
    judged = judge(table, reader(release)("posts", POSTS_COLUMNS)).to_pylist()
    log = list(sent)
    answered = {(each.post, each.script) for each in log if each.status is not None}
    begun = [each for each in log if each.status is None]
    unclear = {(each.post, each.script): each for each in begun if (each.post, each.script) not in answered}
    known = answered | unclear.keys()
    edits = [edit for edit in _edits(judged) if (edit.post, edit.script) not in known]
    since = instant_text(now - timedelta(days=1))
    room = max(0, per_day - sum(each.at > since for each in begun))
    return Plan(tuple(edits[:room]), len(edits) - len(edits[:room]), tuple(unclear.values()))


def _edits(judged: list[dict[str, str]]) -> list[Edit]:
    by_post: dict[int, tuple[list[str], list[str]]] = {}
    for row in judged:
        if row["state"] == State.OPEN.value:
            added, removed = by_post.setdefault(int(row["post_id"]), ([], []))
            (added if row["sign"] == "+" else removed).append(row["tag"])
    return [Edit(post, tuple(added), tuple(removed)) for post, (added, removed) in sorted(by_post.items())]


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was sent, and why it ended early; empty if it did not."""

    edits: int
    refusal: str = ""


def submit(plan: Plan, client: BooruClient, log: Path, *, say: Callable[[str], None]) -> Submitted:
    """Send the edits of a plan, until one is not taken."""
    for number, edit in enumerate(plan.edits):
        if number:
            client.limiter.pause(PAUSE_SECONDS)
        append_line(log, Sent(edit.post, edit.script, instant_text(datetime.now(UTC))))
        form = {"post[old_tag_string]": "", "post[tag_string]": edit.script}
        try:
            answer = client.put_form(f"/posts/{edit.post}.json", form)
        except SourceError as error:
            return Submitted(number, str(error))
        if answer.status is not None:
            append_line(log, Sent(edit.post, edit.script, instant_text(datetime.now(UTC)), answer.status))
        if answer.problem:
            return Submitted(number, f"post {edit.post} was not changed ({answer.problem}); nothing more is sent")
        say(f"post {edit.post}: {edit.script}")
    return Submitted(len(plan.edits))
