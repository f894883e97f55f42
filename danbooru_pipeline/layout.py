"""Every path of the store, the metadata and the releases. Nothing else builds a path.

Those within a release are in `release_paths`. A path is made from an id (an int), an extension from a closed set and a
year; never from a URL, a tag or a header.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from danbooru_pipeline.release_paths import RELEASE_JSON, metadata_folder, release_name

BUCKET_COUNT = 1000
BUCKETS: tuple[str, ...] = tuple(f"{n:04d}" for n in range(BUCKET_COUNT))

#: Every extension in nine years of releases, and the two added since. Source: the original project's list.
EXTENSIONS = frozenset(
    "avi avif bmp gif html jpeg jpg mp3 mp4 mpg pdf png rar swf webm webp wmv zip".split()  # noqa: SIM905 - one line
)

#: JPG originals that a store keeps as JPEG XL; no site serves them.
ARCHIVE_EXTENSION = "jxl"
#: Every extension that an original may have in a store or a release.
STORED_EXTENSIONS = EXTENSIONS | {ARCHIVE_EXTENSION}

#: An MD5 and a SHA-256 as text: the whole of it.
MD5_FORM = "[0-9a-f]{32}"
SHA256_FORM = "[0-9a-f]{64}"

#: The largest integer, and so the largest id, that a table can hold.
INT64_MAX = 2**63 - 1

#: Suffix of files that are still being written; readers and rsync skip them.
PART_SUFFIX = ".part"


def bucket_of(post_id: int) -> str:
    """The bucket of a post: ``id % 1000`` with four digits."""
    if post_id <= 0:
        raise ValueError(f"post ids are positive, not {post_id}")
    return f"{post_id % BUCKET_COUNT:04d}"


def original_path(post_id: int, ext: str) -> str:
    """``original/BUCKET/ID.EXT``, relative to the store or to a release."""
    if ext not in STORED_EXTENSIONS:
        raise ValueError(f"unknown extension {ext!r}")
    return f"original/{bucket_of(post_id)}/{post_id}.{ext}"


def replaced_path(post_id: int, md5: str, ext: str) -> str:
    """``replaced/BUCKET/ID.MD5.EXT``, relative to the store; no release has such a path."""
    if ext not in EXTENSIONS:
        raise ValueError(f"unknown extension {ext!r}")
    if not re.fullmatch(MD5_FORM, md5):
        raise ValueError(f"not an MD5: {md5!r}")
    return f"replaced/{bucket_of(post_id)}/{post_id}.{md5}.{ext}"


def post_of_replaced(name: str) -> int:
    """The post of such a file, by its name ``ID.MD5.EXT``."""
    return int(name.partition(".")[0])


def px512_path(post_id: int) -> str:
    """``512px/BUCKET/ID.jpg``, relative to the store or to a release."""
    return f"512px/{bucket_of(post_id)}/{post_id}.jpg"


def bucket_path(tree: str, bucket: str) -> str:
    """``TREE/BUCKET/``: the paths of a bucket's files, of many at once, are this and their names."""
    return f"{tree}/{bucket}/"


def is_path_of(post_id: int, path: str, *, tree: str) -> bool:
    """Whether a path is the one that a file of a post has in a tree, ``512px`` or ``original``."""
    try:
        return path == (px512_path(post_id) if tree == "512px" else original_path(post_id, path.rpartition(".")[2]))
    except (ValueError, TypeError, AttributeError):  # what a table says may be of any type
        return False


_VERSION = re.compile(r"[0-9]{4}\.[0-9]{1,6}")


def is_version(text: str) -> bool:
    """Whether a text has the form of a release's version, like ``2021.0``."""
    return _VERSION.fullmatch(text) is not None


_YEAR_IN_NAME = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one root folder."""

    root: Path

    @property
    def store(self) -> Path:
        """The append-only pool of files that all releases hard-link from."""
        return self.root / "store"

    @property
    def root_version(self) -> Path:
        """Which version of the layout of files the root has."""
        return self.root / "version.json"

    @property
    def published_versions(self) -> Path:
        """Record of all versions that were ever published; outside of `store` and `releases`, which backups replace."""
        return self.root / "published.json"

    @property
    def errors(self) -> Path:
        """Folder of the tracebacks of faults of this program; may be emptied at any time."""
        return self.root / "errors"

    @property
    def pace(self) -> Path:
        """Record of the request rate that all processes on this store share."""
        return self.store / ".pace"

    def download_slot(self, number: int) -> Path:
        """Lock that a download holds, so that the processes on this store together stay within the parallel limit."""
        return self.store / f".slot-{number:03d}"

    def original(self, post_id: int, ext: str) -> Path:
        """An original in the store."""
        return self.store / original_path(post_id, ext)

    def px512(self, post_id: int) -> Path:
        """A 512px image in the store."""
        return self.store / px512_path(post_id)

    def replaced(self, post_id: int, md5: str, ext: str) -> Path:
        """A further file of a post that has been replaced, kept until a release decides which one it wants."""
        return self.store / replaced_path(post_id, md5, ext)

    def replaced_bucket(self, bucket: str) -> Path:
        """Folder of one bucket's replaced files."""
        return self.store / "replaced" / bucket

    @property
    def follow(self) -> Path:
        """Folder of what following the running year has seen; no release reads it."""
        return self.store / "follow"

    @property
    def follow_state(self) -> Path:
        """How far following is."""
        return self.follow / "state.json"

    @property
    def follow_lock(self) -> Path:
        """Lock of the one process that follows."""
        return self.follow / ".lock"

    def follow_part(self, number: int) -> Path:
        """The posts that one step of following has seen."""
        return self.follow / "seen" / f"{number:06d}.parquet"

    @property
    def follow_parts(self) -> list[Path]:
        """All of them, oldest first."""
        return sorted(self.follow.glob(f"seen/{'[0-9]' * 6}.parquet"))

    def original_bucket(self, bucket: str) -> Path:
        """Folder of one bucket's originals."""
        return self.store / "original" / bucket

    def px512_bucket(self, bucket: str) -> Path:
        """Folder of one bucket's 512px images."""
        return self.store / "512px" / bucket

    @property
    def quarantine(self) -> Path:
        """Folder of the files that were set aside."""
        return self.store / "quarantine"

    def quarantine_bucket(self, tree: str, bucket: str) -> Path:
        """Where files of a bucket go that do not match the ledger; `tree` is ``original`` or ``512px``."""
        return self.quarantine / tree / bucket

    def ledger(self, bucket: str) -> Path:
        """Ledger of one bucket."""
        return self.store / "ledger" / f"{bucket}.parquet"

    def ledger_journal(self, bucket: str) -> Path:
        """Rows of a bucket in progress that its ledger does not contain yet."""
        return self.store / "ledger" / f".{bucket}.journal"

    def bucket_lock(self, bucket: str) -> Path:
        """Lock of the one process that works on a bucket."""
        return self.store / "ledger" / f".{bucket}.lock"

    @property
    def takedowns(self) -> Path:
        """The list of posts that were taken down; private, and no part of any release."""
        return self.store / "takedowns.json"

    def run_lock(self, run_id: str) -> Path:
        """Lease of a run of Dagster's, while it works."""
        return self.store / "runs" / f"{UUID(run_id)}.lock"

    @property
    def takedowns_lock(self) -> Path:
        """Lock of the one takedown that runs."""
        return self.store / "takedowns.lock"

    @property
    def publication_lock(self) -> Path:
        """Lock of whoever lets files appear in published releases, or changes the list of posts that must not."""
        return self.store / "publication.lock"

    def metadata(self, year: int) -> Path:
        """Folder of everything known about the posts of a release."""
        return self.root / metadata_folder(year)

    @property
    def segments(self) -> Path:
        """Compressed segments of the newest metadata archive, kept so that the next one can reuse them."""
        return self.root / "metadata" / "segments"

    def year_lock(self, year: int) -> Path:
        """Lock of the one process that writes the metadata of a release."""
        return self.metadata(year) / ".lock"

    @property
    def metadata_years(self) -> list[int]:
        """Years that metadata was fetched for, ascending."""
        return sorted(int(folder.name) for folder in self.root.glob(f"metadata/{'[0-9]' * 4}"))

    def sweeps(self, year: int) -> Path:
        """Folder of all unfinished sweeps of a year."""
        return self.metadata(year) / "sweep"

    def sweep(self, year: int, table: str) -> Path:
        """Pages of an unfinished sweep, kept so that it can resume."""
        return self.sweeps(year) / table

    def carried(self, year: int) -> Path:
        """Metadata of earlier years from an archive, kept byte for byte: ``YEAR/NAME`` below it."""
        return self.metadata(year) / "earlier"

    def posts(self, year: int) -> Path:
        """All posts of a release, sorted by id."""
        return self.metadata(year) / "posts.parquet"

    def earlier_posts(self, year: int) -> Path:
        """Which posts the year had before they were read again; see `sources.earlier`."""
        return self.metadata(year) / "posts-before.parquet"

    def earlier_tables(self, year: int) -> Path:
        """How many rows the side tables of the year had before they were read again."""
        return self.metadata(year) / "tables-before.json"

    def posts_report(self, year: int) -> Path:
        """What the sweep of posts found: counts, rejected rows, last id, digest."""
        return self.metadata(year) / "posts.json"

    def posts_by_bucket(self, year: int) -> Path:
        """Folder of the posts of a release, one file per bucket."""
        return self.metadata(year) / "posts_by_bucket"

    def posts_bucket(self, year: int, bucket: str) -> Path:
        """One bucket's posts of a release, sorted by id; absent if the bucket has none."""
        return self.posts_by_bucket(year) / f"{bucket}.parquet"

    def refreshed(self, year: int, bucket: str) -> Path:
        """Updates of a bucket's posts since the sweep, found when their files could not be fetched."""
        return self.refreshed_folder(year) / f"{bucket}.parquet"

    def refreshed_folder(self, year: int) -> Path:
        """Folder of the updates since the sweep, one file per bucket that has any."""
        return self.metadata(year) / "refreshed"

    def rejected(self, year: int) -> Path:
        """Records of the source that cannot be placed in a release, one JSON object a line."""
        return self.metadata(year) / "rejected.jsonl"

    def unreadable_rows(self, year: int) -> Path:
        """How many posts get no file since their rows cannot be understood."""
        return self.metadata(year) / "unreadable-rows.json"

    def side_table(self, year: int, table: str) -> Path:
        """One side table of a release, JSON lines in the dialect of 2021."""
        return self.metadata(year) / "tables" / f"{table}.json"

    def side_tables_report(self, year: int) -> Path:
        """Which side tables the source has, and how many rows each has."""
        return self.metadata(year) / "tables.json"

    def manifest(self, year: int) -> Path:
        """The frozen ledgers of a release."""
        return self.metadata(year) / "manifest.parquet"

    def unreconciled(self, year: int) -> Path:
        """The rows that caused a release to be refused."""
        return self.metadata(year) / "unreconciled.txt"

    @property
    def releases(self) -> Path:
        """Folder of all releases."""
        return self.root / "releases"

    def release(self, year: int) -> Path:
        """A published release."""
        return self.releases / release_name(year)

    def released_posts(self, year: int) -> list[Path]:
        """The posts of a published release, in the order of their ids; none where there is no release."""
        return self.released_table(year, "posts")

    def released_table(self, year: int, name: str) -> list[Path]:
        """The shards of a table of a published release; none where it has no row or there is no release."""
        return sorted(self.release(year).glob(f"parquet/{name}-?????-of-?????.parquet"))

    def release_json(self, year: int) -> Path:
        """``RELEASE.json`` of a published release."""
        return self.release(year) / RELEASE_JSON

    def staging(self, year: int) -> Path:
        """A release that is still being made; hidden and never served."""
        return self.releases / f".{release_name(year)}.staging"

    def retired(self, year: int) -> Path:
        """A release that a newer version of the same year is replacing; removed once that is done."""
        return self.releases / f".{release_name(year)}.retired"

    def superseded(self, version: str) -> Path:
        """A replaced version that stays for a while, like ``danbooru2022.0``."""
        if not is_version(version):
            raise ValueError(f"not a version: {version!r}")
        return self.releases / f"{release_name(int(version[:4]))}{version[4:]}"

    @property
    def superseded_releases(self) -> dict[Path, int]:
        """Folder -> year of all replaced versions that are still there."""
        entries = self.releases.glob(f"{release_name(0)[:-1]}*.*")
        years = {path: path.name.removeprefix(release_name(0)[:-1]) for path in sorted(entries)}
        return {path: int(version[:4]) for path, version in years.items() if is_version(version)}

    def takedown(self, year: int) -> Path:
        """Tables of a release that is being rebuilt without some posts; hidden, and removed once that is done."""
        return self.releases / f".{release_name(year)}.takedown"

    def release_lock(self, year: int) -> Path:
        """Lock of the one process that makes a release."""
        return self.releases / f".{release_name(year)}.lock"

    @property
    def publications(self) -> Path:
        """Folder of what is known of the places that releases were published to."""
        return self.root / "publications"

    def publication(self, place: str, release: str) -> Path:
        """Folder of what one place is known to have of one release; `place` is a digest of its address."""
        return self.publications / place / release

    def there(self, path_of: Callable[[int], Path]) -> dict[int, Path]:
        """Year -> path, oldest first, of what is under `releases` by the names that `staging` or one like it gives."""
        entries = self.releases.iterdir() if self.releases.is_dir() else ()
        years = sorted(int(match[0]) for entry in entries if (match := _YEAR_IN_NAME.search(entry.name)))
        return {year: path_of(year) for year in years if os.path.lexists(path_of(year))}

    @property
    def mirrors(self) -> Path:
        """What mirrors were found to hold."""
        return self.releases / "mirrors.json"

    @property
    def mirrors_page(self) -> Path:
        """The same for people; beside the releases, since it changes when they do not."""
        return self.releases / "mirrors.html"

    @property
    def current(self) -> Path:
        """Symbolic link to the newest release, or a file with its name (see `release.pointer`)."""
        return self.releases / "current"

    @property
    def curation(self) -> Path:
        """Folder of what raises the quality of tags; `curate.folder` has the names in it."""
        return self.root / "curation"

    @property
    def decided(self) -> Path:
        """What reviewers agreed on, from which releases take their corrections."""
        return self.curation / "decided.parquet"

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps its runs if DAGSTER_HOME is not set."""
        return self.root / "dagster"
