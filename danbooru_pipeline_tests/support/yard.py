"""A small store on disk, as the other rooms leave it: posts, ledgers, files and reports."""

import dataclasses
import hashlib
import json
import random
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from danbooru_pipeline.io.atomic import atomic_file, write_atomic
from danbooru_pipeline.layout import Layout, bucket_of
from danbooru_pipeline.outcomes import Reason
from danbooru_pipeline.posts import PostRow, posts_table, write_posts
from danbooru_pipeline.release import ManifestSummary, Release, apply_snapshot, plan_snapshot, write_manifest
from danbooru_pipeline.release.documents.options import DocumentOptions
from danbooru_pipeline.store.ledger import LedgerRow, read_ledger, write_ledger
from danbooru_pipeline.years import sfw_ratings

SETTINGS = "q90"
IMAGE_SETTINGS = {"px512_quality": 90, "png_level": 2}
NOW = datetime(2022, 1, 21, 12, tzinfo=UTC)


@dataclasses.dataclass
class Yard:
    """A store that grows by posts; every post has a ledger row, and a file if that is ok."""

    layout: Layout
    year: int = 2021
    rows: dict[int, PostRow] = dataclasses.field(default_factory=dict)
    ledger: dict[int, LedgerRow] = dataclasses.field(default_factory=dict)
    tables: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def post(self, post_id: int, *, rating: str = "s", reason: Reason | None = None, **changes: Any) -> None:
        """Add a post with its files, or replace its file."""
        data = random.Random(f"{post_id} {changes} {self.year}").randbytes(100 + post_id % 900)
        md5 = hashlib.md5(data).hexdigest()
        shown = reason is not Reason.RESTRICTED
        self.rows[post_id] = {
            "id": post_id,
            "created_at": datetime(2020, 5, 4, 3, 2, 1, 120_000, tzinfo=UTC),
            "md5": md5 if shown else None,
            "file_ext": "jpg",
            "file_size": len(data),
            "rating": rating,
            "file_url": f"https://cdn.donmai.us/original/{md5}.jpg" if shown else None,
            "is_banned": reason is Reason.BANNED,
            "tag_string": f"1girl solo tag_{post_id % 7}",
            "tag_string_general": "1girl solo",
            "tag_string_meta": f"tag_{post_id % 7}",
            **changes,
        }
        row = LedgerRow(id=post_id, md5=md5, ext="jpg", reason=reason, first_release=self.year)
        self.ledger[post_id] = self._with_files(row, data, rating) if reason is None else row

    def _with_files(self, row: LedgerRow, data: bytes, rating: str) -> LedgerRow:
        kept = data[:-10]
        write_atomic(self.layout.original(row.id, "jpg"), kept)
        row = dataclasses.replace(
            row,
            size=len(kept),
            sha256=hashlib.sha256(kept).hexdigest(),
            source_size=len(data),
            fetched_md5=row.md5,
            file_type="jpg",
            width=600,
            height=400,
            pages=1,
            optimized=True,
            optimized_by="mozjpeg",
        )
        if rating not in sfw_ratings(self.year):
            return row
        small = kept[:50] + b"512"
        write_atomic(self.layout.px512(row.id), small)
        return dataclasses.replace(
            row,
            px512_size=len(small),
            px512_sha256=hashlib.sha256(small).hexdigest(),
            px512_background="white",
            px512_dhash=hashlib.sha256(b"d" + data).digest(),
            px512_phash=hashlib.sha256(b"p" + data).digest(),
            px512_settings=SETTINGS,
        )

    def change(self, post_id: int, **changes: Any) -> None:
        """Change a ledger row."""
        self.ledger[post_id] = dataclasses.replace(self.ledger[post_id], **changes)

    def save(self) -> None:
        """Write posts, slices, ledgers, side tables and reports."""
        layout, year = self.layout, self.year
        table = posts_table(self.rows.values())
        with atomic_file(layout.posts(year)) as file:
            write_posts(table, file)
        digest = hashlib.sha256(repr(sorted(self.rows.items())).encode()).hexdigest()
        source = {"name": "api", "rows": len(self.rows), "rejected": 2, "sha256": digest}
        write_atomic(layout.posts_report(year), json.dumps({"source": source}).encode())
        for name, data in self.tables.items():
            write_atomic(layout.side_table(year, name), data)
        report = {"tables": {name: {"rows": 1, "status": "ok"} for name in self.tables}}
        report["tables"].setdefault("pools", {"rows": 0, "status": "absent"})
        write_atomic(layout.side_tables_report(year), json.dumps(report).encode())
        self.save_buckets()

    def save_buckets(self) -> None:
        """Write slices and ledgers."""
        for bucket in {bucket_of(id_) for id_ in self.rows | self.ledger}:
            mine = [row for id_, row in self.rows.items() if bucket_of(id_) == bucket]
            with atomic_file(self.layout.posts_bucket(self.year, bucket)) as file:
                write_posts(posts_table(mine), file)
            path = self.layout.ledger(bucket)
            kept = read_ledger(path) | {id_: row for id_, row in self.ledger.items() if bucket_of(id_) == bucket}
            write_ledger(path, kept.values())

    def manifest(self) -> ManifestSummary:
        """Save everything and write the manifest."""
        self.save()
        return write_manifest(self.layout, self.year, px512_settings=SETTINGS)

    def snapshot(self, options: DocumentOptions | None = None) -> Release:
        """Plan and make the release."""
        plan = plan_snapshot(self.layout, self.year, image_settings=IMAGE_SETTINGS, options=options)
        return apply_snapshot(plan, created_at=NOW, threads=2)

    def release(self) -> Path:
        """Everything up to the published release. Returns its folder."""
        self.manifest()
        self.snapshot()
        return self.layout.release(self.year)

    def copied(self, root: Path) -> "Yard":
        """The same yard in another folder, with every file and the links between them; cheaper than making it again."""
        subprocess.run(["cp", "-a", self.layout.root, root], check=True)
        rows = {id_: dict(row) for id_, row in self.rows.items()}
        return Yard(Layout(root), year=self.year, rows=rows, ledger=dict(self.ledger), tables=dict(self.tables))


def small_yard(root: Path) -> Yard:
    """Posts of every kind in four buckets."""
    yard = Yard(Layout(root))
    for number in range(1, 13):
        yard.post(number % 4 + 1 + number * 1000, rating="sqe"[number % 3])
    yard.post(20_001, rating="s", reason=Reason.GONE)
    yard.post(20_002, rating="s", reason=Reason.BANNED)
    yard.post(20_003, rating="e", reason=Reason.RESTRICTED)
    yard.post(20_004, rating="s")
    yard.change(20_004, px512_reason=Reason.ANIMATED, px512_size=None, px512_sha256=None)
    yard.layout.px512(20_004).unlink()
    yard.post(20_005, rating="s", reason=Reason.RETRY_EXHAUSTED)
    yard.tables["tags"] = b'{"id":"1","name":"1girl","post_count":"12"}\n'
    return yard


def next_year(yard: Yard) -> Yard:
    """The year after, from the same store: one post replaced, one banned, one new, one re-rated."""
    later = Yard(yard.layout, year=2022, rows=dict(yard.rows), ledger=dict(yard.ledger), tables=dict(yard.tables))
    later.post(4001, rating="q", score=5)
    later.post(8001, reason=Reason.BANNED)
    later.post(30_001, rating="g")
    return later


def tree_state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Path -> (inode, content) of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_ino, path.read_bytes()) for path in files}
