"""Follows the running year once: reads what the site says since the last visit, and fetches the files of that.

A step is some pages of posts: what the site shows of them is written, then their files come bucket by bucket, each
under its bucket's lock, then the state moves on. A step that is killed is repeated, and finds its files there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.errors import DamagedFile, SourceUnusable, StoreError, full_disk_named
from danbooru_pipeline.fetch.site_clock import believable_until, is_believable
from danbooru_pipeline.io.damage import set_aside
from danbooru_pipeline.io.locks import exclusive
from danbooru_pipeline.layout import bucket_of
from danbooru_pipeline.posts import CompleteRow, Post, post_of
from danbooru_pipeline.posts.fetchable import why_not_fetched
from danbooru_pipeline.posts.report import read_report, says_banned
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.progress import Meter
from danbooru_pipeline.sources.controls import Controls, choose_controls, known_kinds, note_kinds
from danbooru_pipeline.sources.follow import (
    NewPosts,
    Replacement,
    Touched,
    read_new_posts,
    read_replacements,
    read_touched,
    require_posts_of_now,
)
from danbooru_pipeline.sources.last_id import find_last_id
from danbooru_pipeline.sources.recheck import PostUpdates, ids_per_request, recheck_posts
from danbooru_pipeline.sources.sweep import last_sweep_before, newest_sweep
from danbooru_pipeline.store.buckets import for_each_bucket
from danbooru_pipeline.store.follow.files import Brought, BucketFiles
from danbooru_pipeline.store.follow.plan import FollowPlan, Seen, plan_follow
from danbooru_pipeline.store.follow.report import FollowReport
from danbooru_pipeline.store.follow.seen import write_seen
from danbooru_pipeline.store.follow.state import FollowState, read_state, write_state
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger
from danbooru_pipeline.store.open_ledger import open_ledger
from danbooru_pipeline.store.plan import list_files
from danbooru_pipeline.years import cutoff

#: Pages of 200 posts in a step: each touches up to 1000 ledgers, and a killed one is read again.
PAGES_PER_STEP: Final = 50
#: Known posts that are asked about in a step.
IDS_PER_STEP: Final = 10_000
#: How long the site keeps a file that was replaced; one that is older is not asked for.
GRACE_PERIOD: Final = timedelta(days=30)
_BUSY: Final = "another run follows the site already; wait until it ends, then run again"


def follow_site(
    context: RunContext, *, dry_run: bool = False, meter: Meter | None = None, disbelieved: datetime | None = None
) -> FollowReport:
    """Bring the store up to what the site has now, except for posts that have not settled yet.

    Args:
        context: what the process has open; the site is asked at its pace.
        dry_run: read what the site says, request no file and write nothing.
        meter: counts files as they come, and posts as steps.
        disbelieved: the time of the newest release's metadata, if that had still to come; later runs know it by that.

    Raises:
        SourceError: the site cannot be used; what was done so far is kept, and the next run goes on there.
        StoreError: another run follows, or the state is of another site.
        DiskFull: the disk of the root is full.
    """
    if dry_run:
        return _Follow(context, meter or Meter(), dry_run=True).run()
    with exclusive(context.layout.follow_lock, busy=_BUSY), full_disk_named(context.layout.root):
        follow = _Follow(context, meter or Meter(), dry_run=False)
        follow.state = replace(follow.state, disbelieved=disbelieved or follow.state.disbelieved)
        return follow.run()


class _Follow:
    """One run."""

    def __init__(self, context: RunContext, meter: Meter, *, dry_run: bool) -> None:
        self.context, self.meter, self.dry_run = context, meter, dry_run
        self.now = context.now()
        self.delay = timedelta(hours=context.settings.follow_delay_hours)
        self.former: Mapping[int, Sequence[Replacement]] = {}
        self.source = context.site
        self.swept = last_sweep_before(context.layout, self.now.year + 1) or newest_sweep(context.layout)
        self.state = self._resume() or self._begin()
        self.report = FollowReport(dry_run=dry_run)

    def run(self) -> FollowReport:
        """Follow changes of known posts first, then new posts."""
        newest = self.source.newest_id("posts") or self.state.last_id
        self.meter.total = max(0, newest - self.state.last_id)
        self._follow_changes()
        self._follow_new_posts()
        self.meter.total = self.meter.steps
        self._keep(replace(self.state, ran_at=self.now))
        return replace(
            self.report,
            last_id=self.state.last_id,
            posts_until=self.state.posts_until,
            unanswered=len(self.state.waiting),
            left=len(self.state.asked_again),
            given_up=self.state.given_up,
        )

    def _resume(self) -> FollowState | None:
        site = self.context.settings.api_url
        try:
            state = read_state(self.context.layout)
        except DamagedFile as damage:  # files and rows that are held stay, so beginning anew costs some pages
            if not self.dry_run:
                set_aside(damage.path, damage.why)
            return None
        if state is None:
            return None
        if state.site != site:
            raise StoreError(
                f"the store follows {state.site}, and DANBOORU_API_URL is {site}; set it back, or remove "
                f"{self.context.layout.follow} to follow another site"
            )
        return self._after_sweep(state.not_after(believable_until(self.now), self.now - GRACE_PERIOD))

    def _after_sweep(self, state: FollowState) -> FollowState:
        """The state with what the newest sweep found out."""
        if self.swept is None:
            return state
        knows = state.says_banned or says_banned(self.context.layout, self.swept.year)
        return replace(state.after_sweep(self.swept.all_up_to), says_banned=knows)

    def _begin(self) -> FollowState:
        """Begin where the posts of the newest sweep's year end; without one, at the start of the running year."""
        site, year = self.context.settings.api_url, self.now.year - 1
        if self.swept is not None:
            report = read_report(self.context.layout, self.swept.year)
            at = report.taken_at if report is not None and report.name == "api" else None
            since = at if at is not None and is_believable(at, now=self.now) else cutoff(self.swept.year)
            last_id = self.swept.all_up_to
        else:
            is_sure = self.context.client.seconds_ahead() is not None
            require_posts_of_now(self.source, now=self.now, is_sure=is_sure)
            since, last_id = cutoff(year), find_last_id(self.source, cutoff(year)).id or 0
        return self._after_sweep(FollowState(site=site, start_id=last_id, last_id=last_id, changes_until=since))

    def _follow_changes(self) -> None:
        """Ask about known posts that something happened to, and about those whose file did not come."""
        client = self.context.client
        # A post may have been replaced before it settled: then its first file is asked for when it is new to us.
        skipped: Counter[str] = Counter()
        touched = read_touched(client, self.state.events_since, skipped)
        replaced = read_replacements(client, self.state.replacements_since - self.delay, skipped)
        answers = ((_NO_EVENTS, touched), (_NO_REPLACEMENTS, replaced))
        notes = [text for text, answer in answers if answer is None]
        notes += [f"{count:,} records of {path} could not be read, and were skipped" for path, count in skipped.items()]
        self.report = replace(self.report, notes=tuple(notes))
        self.former = _former(replaced or (), after=self.now - GRACE_PERIOD)
        ids = {each.post_id for each in replaced or ()} | (touched.ids if touched else frozenset())
        self.state = self.state.still_told(ids)
        again = self.state.asked_again | self.state.waiting
        known = sorted(id_ for id_ in ids | again if id_ <= self.state.last_id)
        for start in range(0, len(known), IDS_PER_STEP):
            self._ask_again(known[start : start + IDS_PER_STEP])
        self._move_on(touched, replaced or ())

    def _move_on(self, touched: Touched | None, replaced: Sequence[Replacement]) -> None:
        """Move the feeds' places on: whatever they named was answered, or is in the state.

        A replacement of a post that nothing was answered about is read again, since the feed alone names the old file.
        A time ahead of the clock is an error of the site; going on from there would see nothing until it comes.
        """
        waits = [each.at for each in replaced if each.post_id in self.state.waiting]
        events = [touched.until] if touched is not None and touched.until is not None else []
        self._keep(
            self.state.with_changes(
                [at for at in events if at <= self.now],
                [each.at for each in replaced if each.at <= min([self.now, *waits])],
            )
        )

    def _ask_again(self, ids: Sequence[int]) -> None:
        swept = known_kinds(self.context.layout.posts(self.swept.year)) if self.swept else {}
        controls = choose_controls(self.state.kinds, swept, asked=ids)
        answer = self._answer_about(ids, controls)
        sums = self.report
        self._learn_from(answer.rows.values())
        unanswered = answer.unanswered(ids) - read_takedowns(self.context.layout).ids
        then = self.state.without(answer.expunged).with_answers(ids, unanswered)
        self.report = replace(
            sums,
            changed=sums.changed + len(answer.rows),
            expunged=sums.expunged + len(answer.expunged),
            never_answered=sums.never_answered + len(then.unheard - self.state.unheard),
        )
        self._step([_seen(row, self.former) for row in answer.rows.values()], expunged=answer.expunged, then=then)

    def _answer_about(self, ids: Sequence[int], controls: Controls) -> PostUpdates:
        """What the site says of posts: nothing of those in a question that it refuses, and the others count."""
        rows: dict[int, CompleteRow] = {}
        expunged: frozenset[int] = frozenset()
        step, known = ids_per_request(controls), self.state.says_banned
        for start in range(0, len(ids), step):
            try:
                answer = recheck_posts(
                    self.context.client,
                    ids[start : start + step],
                    controls=controls,
                    says_banned=known,
                    may_be_refused=True,
                )
            except SourceUnusable as refusal:
                self.report = replace(self.report, refused=str(refusal))
                continue
            rows |= answer.rows
            expunged |= answer.expunged
        return PostUpdates(rows, expunged)

    def _follow_new_posts(self) -> None:
        settled, is_all = self.now - self.delay, False
        while not is_all:
            new = read_new_posts(
                self.source,
                self.state.last_id,
                settled=settled,
                now=self.now,
                pages=PAGES_PER_STEP,
                says_banned=self.state.says_banned,
            )
            self._learn_from(new.rows)
            is_all = new.is_all
            if new.last_id > self.state.last_id:
                self._take_new(new)

    def _take_new(self, new: NewPosts) -> None:
        times = [row["created_at"] for row in new.rows]
        until = max([*times, *([self.state.posts_until] if self.state.posts_until else [])], default=None)
        self.report = replace(self.report, posts=self.report.posts + len(new.rows))
        self._step(
            [_seen(row, self.former) for row in new.rows],
            then=replace(
                self.state, last_id=new.last_id, posts_until=until, kinds=note_kinds(self.state.kinds, new.rows)
            ),
        )

    def _step(self, posts: Sequence[Seen], *, expunged: Iterable[int] = (), then: FollowState) -> None:
        """Note what the site shows of some posts, fetch their files, and move the state on to `then`."""
        layout, gone = self.context.layout, read_takedowns(self.context.layout).ids
        posts = [seen for seen in posts if seen.post.id not in gone]
        if not self.dry_run:
            write_seen(layout, posts, expunged=set(expunged) - gone, now=self.now)
        buckets: dict[str, list[Seen]] = {}
        for seen in posts:
            if why_not_fetched(seen.post, exclude_tags=self.context.exclude_tags) is None:
                buckets.setdefault(bucket_of(seen.post.id), []).append(seen)
        done = Brought()
        with for_each_bucket(partial(self._work, buckets), sorted(buckets)) as finished:
            for bucket in finished:
                if bucket.report is None:
                    raise bucket.error or RuntimeError(bucket.bucket)
                done.files += bucket.report.files
                done.kept += bucket.report.kept
                done.bytes += bucket.report.bytes
                done.left |= bucket.report.left
        self._count(done)
        for _ in posts:
            self.meter.count_step()
        then = then.without(gone).with_left({seen.post.id for seen in posts}, done.left)
        self._keep(replace(then, files=then.files + done.files + done.kept, bytes=then.bytes + done.bytes))

    def _learn_from(self, rows: Iterable[CompleteRow]) -> None:
        """Note that the site says of posts if they are banned; a later answer may be of silent rows alone."""
        says = self.state.says_banned or any(row["is_banned"] is not None for row in rows)
        self.state = replace(self.state, says_banned=says)

    def _count(self, done: Brought) -> None:
        sums = self.report
        self.report = replace(
            sums, files=sums.files + done.files, kept=sums.kept + done.kept, bytes=sums.bytes + done.bytes
        )

    def _keep(self, state: FollowState) -> None:
        self.state = state
        if not self.dry_run:
            write_state(self.context.layout, state)

    def _work(self, buckets: Mapping[str, Sequence[Seen]], bucket: str) -> Brought:
        """Fetch the files of a bucket, or count them in a dry run."""
        layout, posts = self.context.layout, buckets[bucket]
        if self.dry_run:
            plan = self._plan(bucket, posts, read_ledger(layout.ledger(bucket)))
            first = sum(map(len, plan.first.values()))
            return Brought(first, len(plan.further), sum(fetch.file_size or 0 for fetch in plan.files))
        with open_ledger(layout, bucket) as ledger:
            # Read under the lock: a takedown that began since clears this bucket after us.
            gone = read_takedowns(layout).ids
            plan = self._plan(bucket, [seen for seen in posts if seen.post.id not in gone], ledger.known)
            files = BucketFiles(self.context, ledger, bucket, self.meter, self.now)
            return files.bring(plan, current={(seen.post.id, seen.post.md5) for seen in posts})

    def _plan(self, bucket: str, posts: Iterable[Seen], ledger: Mapping[int, LedgerRow]) -> FollowPlan:
        return plan_follow(
            posts,
            ledger,
            kept=list_files(self.context.layout.replaced_bucket(bucket)),
            start_id=self.state.start_id,
            swept=self.swept.year if self.swept else 0,
            swept_up_to=self.swept.last_id if self.swept else 0,
            exclude_tags=self.context.exclude_tags,
        )


def _seen(row: CompleteRow, former: Mapping[int, Sequence[Replacement]]) -> Seen:
    post = post_of(row)
    return Seen(
        post,
        row["created_at"],
        bool(row.get("is_deleted")),
        tuple(_old_file(post, each) for each in former.get(post.id, ())),
    )


def _old_file(post: Post, old: Replacement) -> Post:
    """The post as it was before it was replaced, as far as its file goes."""
    return replace(post, md5=old.md5, ext=old.ext, file_size=old.size, file_url=None, pixel_hash=None)


def _former(replaced: Iterable[Replacement], *, after: datetime) -> dict[int, list[Replacement]]:
    found: dict[int, list[Replacement]] = {}
    for each in replaced:
        if each.at > after:
            found.setdefault(each.post_id, []).append(each)
    return found


_NO_EVENTS: Final = "the site does not tell of deletions and bans; the sweep in January finds them"
_NO_REPLACEMENTS: Final = "the site does not tell of replaced files; the sweep in January finds them"
