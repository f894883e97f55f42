"""What one run of following did. No work here."""

from dataclasses import dataclass
from datetime import datetime

from danbooru_pipeline.progress import counted, human_bytes
from danbooru_pipeline.store.follow.state import MAX_TRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowReport:
    """What a run did, or would do.

    Attributes:
        posts: new ones that were seen.
        changed: known posts that were asked about again, and that the site has.
        expunged: known posts that the site no longer has.
        files: first files of posts that came.
        kept: further files of posts, kept under their MD5.
        bytes: of all these files.
        unanswered: known posts that the site says nothing about; the next run asks again.
        never_answered: those that it was asked about so often that they are left to the sweep.
        left: posts whose file has not come; the next run asks again.
        given_up: posts whose file did not come so often that it is left to the build.
        last_id: posts up to this one were seen.
        posts_until: when the newest of them was created.
        notes: what the site does not tell.
        refused: how it refused a question about known posts; empty if it did not.
    """

    posts: int = 0
    changed: int = 0
    expunged: int = 0
    files: int = 0
    kept: int = 0
    bytes: int = 0
    unanswered: int = 0
    never_answered: int = 0
    left: int = 0
    given_up: int = 0
    last_id: int = 0
    posts_until: datetime | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""
    dry_run: bool = False

    def lines(self) -> list[str]:
        """For people."""
        until = f" of {self.posts_until:%Y-%m-%d %H:%M} UTC" if self.posts_until else ""
        would = "would fetch" if self.dry_run else "fetched"
        asked = f"{self.changed:,} asked about again, {self.expunged:,} expunged"
        of = f"{counted(self.files, 'file')} of new posts and {self.kept:,} of replaced ones, {human_bytes(self.bytes)}"
        lines = [
            f"followed up to post {self.last_id:,}{until}: {self.posts:,} new posts, {asked}",
            f"{would} {of}",
            *self.notes,
            *([self.refused] if self.refused else []),
        ]
        if self.unanswered:
            lines.append(f"nothing was answered about {counted(self.unanswered, 'post')}; the next run asks again")
        if self.never_answered:
            posts = counted(self.never_answered, "post")
            lines.append(f"{posts} got no answer on {MAX_TRIES} runs; the sweep in January finds what became of them")
        if self.left:
            lines.append(f"{counted(self.left, 'file')} did not come; the next run asks again")
        if self.given_up:
            lines.append(f"{counted(self.given_up, 'file')} never came, and are left to the build")
        return lines
