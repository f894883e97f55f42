"""Random orders of builds, takedowns, kills, scrubs, imports, backups, copies and ends of grace periods.

``interleavings.py ROOT SEED COUNT``. After every step, all that is published is searched for posts that were taken
down; a copy elsewhere, for those that it was cleared of once; and no version may name other bytes than before. A step
runs in a forked child, so it can be killed at any system call and costs no start-up. Prints a line of JSON for each
order.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from danbooru_pipeline.context import RunContext
from danbooru_pipeline.curate.candidates import SCHEMA as CANDIDATES_SCHEMA
from danbooru_pipeline.curate.corrections import write_decided
from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.log import Answer, DecisionLog, Page
from danbooru_pipeline.curate.submit import Sent
from danbooru_pipeline.errors import DanbooruPipelineError, PublishError
from danbooru_pipeline.io.append_log import append_line
from danbooru_pipeline.io.parquet import write_parquet
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.operate.publication import plan_places, publish_again
from danbooru_pipeline.operate.removal import clear_what_came_back
from danbooru_pipeline.operate.scrub import scrub_bucket
from danbooru_pipeline.posts.takedowns import read_takedowns
from danbooru_pipeline.publish import apply_publication
from danbooru_pipeline.release import (
    DocumentOptions,
    apply_snapshot,
    apply_takedown,
    flip_current,
    plan_snapshot,
    plan_takedown,
    published,
    write_manifest,
)
from danbooru_pipeline.release.takedown.curation import clear_if_removed
from danbooru_pipeline.release.tree.grace import end_grace
from danbooru_pipeline.settings import Settings
from danbooru_pipeline.store.imports.releases import ReleaseHolding
from danbooru_pipeline.store.imports.run import import_files
from danbooru_pipeline_tests.support.system_calls import count_calls
from danbooru_pipeline_tests.support.traces import traces
from danbooru_pipeline_tests.support.yard import IMAGE_SETTINGS, NOW, SETTINGS, Yard

YEARS = (2021, 2022)
IDS = (1001, 2002, 3001)
#: Named in the carried metadata of 2020 alone.
CARRIED = 777
CALLS = 400
DONE, REFUSED, KILLED = "done", "refused", "killed"


def tiny_world(root: Path) -> dict[int, Yard]:
    """Two years of three posts, with notes and carried metadata, both released."""
    worlds: dict[int, Yard] = {}
    for year in YEARS:
        first = worlds.get(YEARS[0], Yard(Layout(root), year=YEARS[0]))
        yard = Yard(first.layout, year=year, rows=dict(first.rows), ledger=dict(first.ledger))
        for id_ in IDS if not yard.rows else ():
            yard.post(id_, rating="s")
            yard.change(id_, pixel_hash="0" * 32)  # else a scrub would start image workers
        yard.tables["notes"] = "".join(f'{{"id":"{id_}","post_id":"{id_}"}}\n' for id_ in IDS).encode()
        carry(yard.layout, year)
        worlds[year] = yard
        # In a child, since it starts threads, and a process with threads must not be forked.
        child = os.fork()
        if child == 0:
            yard.release()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    for id_ in IDS:
        curate(worlds[YEARS[0]].layout, id_)
    return worlds


def curate(layout: Layout, id_: int) -> None:
    """A page about a post and its neighbour, a candidate of each, what was decided, and what was sent."""
    folder = CurationFolder.of(layout)
    answers = tuple(Answer(post=post, verdict="+", p=0.5) for post in (id_, 999))
    DecisionLog(folder.decisions).append(
        Page(number=str(id_), tag="cat", asked="+", who="ann", at="2022-01-01T00:00:00.000Z", answers=answers)
    )
    append_line(folder.submitted, Sent(id_, "cat", "2022-01-01T00:00:00.000Z", 200))
    rows = [{"id": post, "tag": "cat", "sign": "+", "p": 0.5} for post in sorted({*IDS, 999})]
    table = pa.Table.from_pylist(rows, CANDIDATES_SCHEMA)
    write_parquet(folder.candidates(YEARS[0]), iter([table]), schema=CANDIDATES_SCHEMA, dictionary=("tag",))
    write_decided(layout)
    clear_if_removed(layout)


def carry(layout: Layout, year: int) -> None:
    """Metadata of 2020 as an archive brings it."""
    path = layout.carried(year) / "2020/posts000000000000.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"id":"{id_}"}}\n' for id_ in (*IDS, CARRIED)))


@dataclass
class Order:
    """One order of steps in a copy of the world."""

    worlds: dict[int, Yard]
    backup: Path
    layout: Layout
    dice: random.Random
    steps: list[str] = field(default_factory=list)
    restored: set[int] = field(default_factory=set)
    cleared: frozenset[int] = frozenset()
    is_curation_stale: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    def run(self, steps: int) -> None:
        """Take that many steps, and finish what is unfinished."""
        choices = [
            self.build,
            self.build,
            self.takedown,
            self.takedown,
            self.resume,
            self.scrub,
            self.grace,
            self.imports,
            self.restore,
            self.publish,
            self.publish,
            self.review,
        ]
        for _ in range(steps):
            self.dice.choice(choices)()
            self.check()
        self._settle(self.step("resume", lambda: self._take_down(()), at=None))
        self.check()
        assert not self.restored, self.steps

    def step(self, name: str, work: Callable[[], object], *, at: int | None) -> str:
        """Run a step in a child, which may be killed."""
        child = os.fork()
        if child == 0:
            count_calls(at)
            try:
                work()
            except DanbooruPipelineError:
                os._exit(3)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = KILLED if os.WIFSIGNALED(status) else {0: DONE, 3: REFUSED}[os.waitstatus_to_exitcode(status)]
        self.steps.append(f"{name}{f' @{at}' if at else ''}: {ended}")
        return ended

    def _at(self) -> int | None:
        return self.dice.randrange(1, CALLS) if self.dice.random() < 0.4 else None

    def build(self) -> None:
        """A build, from a sweep that may have begun before the last takedown."""
        year, stale = self.dice.choice(YEARS), self.dice.random() < 0.5
        maker = f"maker {self.dice.random()}"
        keep = self.dice.random() < 0.7

        def work() -> None:
            gone = read_takedowns(self.layout).ids
            world = replace(self.worlds[year], layout=self.layout)
            if not stale:
                world.rows = {id_: row for id_, row in world.rows.items() if id_ not in gone}
                world.ledger = {id_: row for id_, row in world.ledger.items() if id_ not in gone}
                world.tables = {}
            world.save()
            carry(self.layout, year)
            clear_what_came_back(self.layout, year)
            write_manifest(self.layout, year, px512_settings=SETTINGS)
            options = DocumentOptions(maker=maker)
            plan = plan_snapshot(self.layout, year, image_settings=IMAGE_SETTINGS, options=options)
            apply_snapshot(plan, created_at=NOW, threads=1, keep_replaced=keep)
            flip_current(self.layout)

        self.step(f"build {year}{' stale' if stale else ''}", work, at=self._at())

    def takedown(self) -> None:
        """A takedown of one or two posts."""
        ids = self.dice.sample((*IDS[:2], CARRIED, 99), self.dice.randrange(1, 3))
        self._settle(self.step(f"takedown {ids}", lambda: self._take_down(ids), at=self._at()))

    def resume(self) -> None:
        """The end of a takedown that was killed, or a look at what came back."""
        self._settle(self.step("resume", lambda: self._take_down(()), at=self._at()))

    def _take_down(self, ids: object) -> None:
        apply_takedown(plan_takedown(self.layout, ids), created_at=NOW, threads=1)  # type: ignore[arg-type]
        if publish_again(self._settings()).failed:
            raise PublishError

    def _settle(self, ended: str) -> None:
        self.restored = set() if ended == DONE else set(YEARS)
        if ended == DONE:
            self.cleared, self.is_curation_stale = read_takedowns(self.layout).ids, False

    def review(self) -> None:
        """An answer about a post that was shown before any takedown, candidates of that time, and what follows."""
        id_ = self.dice.choice(IDS)
        ended = self.step(f"review {id_}", lambda: curate(self.layout, id_), at=self._at())
        self.is_curation_stale |= ended != DONE

    @property
    def there(self) -> Path:
        """Where releases are published to."""
        return self.layout.root.with_name("there")

    def publish(self) -> None:
        """A publication of a year, which may be killed."""
        year = self.dice.choice(YEARS)

        def work() -> None:
            for plan in plan_places(self._settings(), year):
                apply_publication(plan)

        self.step(f"publish {year}", work, at=self._at())

    def grace(self) -> None:
        """The end of some grace periods, of all or of none."""
        days = self.dice.choice((0, 8))

        def work() -> None:
            end_grace(self.layout, now=NOW + timedelta(days=days), grace=timedelta(days=7))

        self.step(f"grace {days}", work, at=self._at())

    def _context(self) -> RunContext:
        return RunContext(self._settings())

    def _settings(self) -> Settings:
        address, there = "http://127.0.0.1:1", f"file://{self.there}"
        return Settings(
            root=self.layout.root, api_url=address, cdn_url=address, workers=1, retry_seconds=0, static_address=there
        )

    def scrub(self) -> None:
        """A scrub of a bucket, one of whose files may be damaged; the file host is down."""
        id_ = self.dice.choice(IDS)
        path, damage = self.layout.original(id_, "jpg"), self.dice.random() < 0.3
        if damage and path.exists():
            path.unlink()
            path.write_bytes(b"rotten")

        def work() -> None:
            with self._context() as context:
                scrub_bucket(context, bucket_of(id_))

        self.step(f"scrub {id_}{' damaged' if damage else ''}", work, at=None)

    def imports(self) -> None:
        """An import of everything from the first release as it was."""

        def work() -> None:
            with self._context() as context:
                import_files(context, [ReleaseHolding(self.backup / "releases/danbooru2021")])

        self.step("import", work, at=self._at())

    def restore(self) -> None:
        """Store and metadata, or a release, as they were before any takedown."""
        what = self.dice.choice(("store", "metadata", "curation", *(f"releases/danbooru{year}" for year in YEARS)))
        target, known = self.layout.root / what, self.layout.takedowns
        spare = known.read_bytes() if known.exists() else None
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.backup / what, target)
        if spare is not None:
            known.write_bytes(spare)
        if what.startswith("releases/"):
            self.restored.add(int(what[-4:]))
        self.is_curation_stale |= what == "curation"
        self.steps.append(f"restore {what}")

    def check(self) -> None:
        """No published release names a post that was taken down, unless it was restored by hand and not looked at."""

        def look() -> None:
            gone = read_takedowns(self.layout).ids
            for year, folder in published(self.layout).items():
                left = [] if year in self.restored else traces(folder, gone)
                assert not left, (self.steps, folder.name, left)
            for folder, year in self.layout.superseded_releases.items():
                left = [] if year in self.restored else traces(folder, gone)
                assert not left, (self.steps, folder.name, left)
            left = traces(self.there, self.cleared) if self.there.exists() else []
            assert not left, (self.steps, "published", left)
            left = [] if self.is_curation_stale else traces(self.layout.curation, self.cleared)
            assert not left, (self.steps, "curation", left)

        assert self.step("look", look, at=None) == DONE, self.steps
        self.steps.pop()
        self.check_versions()

    def check_versions(self) -> None:
        """Whatever is published, replaced or lies elsewhere under a version has the bytes that this had before."""
        for path in (*self.layout.releases.glob("danbooru*/RELEASE.json"), *self.there.glob("*/RELEASE.json")):
            release = json.loads(path.read_bytes())
            digest = self.versions.setdefault(release["version"], release["sha256sums_sha256"])
            assert digest == release["sha256sums_sha256"], (self.steps, str(path), release["version"])


def main(root: Path, seed: int, count: int, steps: int = 5) -> None:
    """Try that many orders, each in a copy of the same world."""
    worlds = tiny_world(root / "begin")
    for number in range(seed, seed + count):
        place = root / "place"
        for folder in (place, root / "there"):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root / "begin", place, symlinks=True)
        order = Order(worlds, root / "begin", Layout(place), random.Random(number))
        order.run(steps)
        print(json.dumps([number, order.steps]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
