"""The demo: builds two releases from two years of an embedded booru, with the same runs as real releases."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from danbooru_pipeline.build import build_year
from danbooru_pipeline.context import RunContext
from danbooru_pipeline.demo.process import BooruProcess, start_booru
from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.layout import BUCKET_COUNT, Layout
from danbooru_pipeline.operate.preflight import check_root
from danbooru_pipeline.progress import Say, human_seconds
from danbooru_pipeline.release import verify_release
from danbooru_pipeline.release.outside import require_outside
from danbooru_pipeline.settings import Settings

YEARS: Final = (2021, 2022)
MARK: Final = ".danbooru-pipeline-demo"


def run_tour(root: Path, *, posts: int, say: Say) -> int:
    """Build both releases below `root`. Returns the exit code.

    Raises:
        SettingsError: `root` contains something other than an earlier demo.
    """
    began = time.monotonic()
    _clear(root)
    layout = Layout(root)
    # The demo has its own Dagster instance, whose partitions start with its first year.
    os.environ |= {"DAGSTER_HOME": str(layout.dagster_home), "DANBOORU_FIRST_YEAR": str(YEARS[0])}
    say(f"drawing the pictures of a booru with {posts:,} posts")
    with start_booru(posts=posts, year=YEARS[0], files=root / "booru") as booru:
        settings = Settings(root=root, api_url=booru.api_url, cdn_url=booru.cdn_url, first_year=YEARS[0])
        say(f"the embedded booru answers at {booru.api_url} ({human_seconds(time.monotonic() - began)})")
        good = _build_years(settings, booru, say=say)
    good = _verify_years(layout, say) and good
    _suggest_commands(root, say=say)
    say(f"the demo took {human_seconds(time.monotonic() - began)}")
    return 0 if good else 1


def _clear(root: Path) -> None:
    """Remove an earlier demo, and nothing else."""
    require_outside(root)
    check_root(root, min_free_bytes=Settings().min_free_bytes)
    if root.is_dir() and any(root.iterdir()):
        if not (root / MARK).exists():
            raise SettingsError(f"{root} contains something other than a demo; choose another folder with --root")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).touch()


def _build_years(settings: Settings, booru: BooruProcess, *, say: Say) -> bool:
    """Build each year, and check that earlier releases stay unchanged. Returns whether all went well."""
    layout = Layout(settings.root)
    good = True
    before: dict[int, str] = {}
    for year in YEARS:
        say("")
        say(f"building Danbooru{year}")
        booru.set_year(year)
        booru.reset_requests()
        with RunContext(settings) as context:
            good = build_year(context, year, say=say, tell=say) == 0 and good
        asked = booru.requests()
        say(f"the booru counted {asked.get('files', 0):,} file requests and {asked.get('posts', 0):,} pages of posts")
        for earlier, digest in before.items():
            same = tree_digest(layout.release(earlier)) == digest
            say(f"Danbooru{earlier} is {'byte for byte what it was' if same else 'CHANGED'} after Danbooru{year}")
            good = good and same
        before[year] = tree_digest(layout.release(year))
        good = _report_partitions(year, say) and good
    return good


def tree_digest(folder: Path) -> str:
    """A digest of every path below a folder, with its bytes and its modification time."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_file() and not path.is_symlink():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
            digest.update(str(path.stat().st_mtime_ns).encode())
    return digest.hexdigest()


def _report_partitions(year: int, say: Say) -> bool:
    """Report and return whether every bucket is green in Dagster, as the UI shows it."""
    from danbooru_pipeline.defs.instance import count_green_buckets

    green = count_green_buckets(year)
    say(
        f"green buckets of {year}: "
        + ", ".join(f"{asset} {count:,}/{BUCKET_COUNT:,}" for asset, count in green.items())
    )
    return all(count == BUCKET_COUNT for count in green.values())


def _verify_years(layout: Layout, say: Say) -> bool:
    good = True
    say("")
    for year in YEARS:
        report = verify_release(layout.release(year), full=True)
        for line in report.lines():
            say(line)
        good = good and report.ok
    return good


def _suggest_commands(root: Path, *, say: Say) -> None:
    programs = Path(sys.executable).parent
    layout = Layout(root)
    say("")
    say("look at it:")
    say(f"  ls {layout.release(YEARS[-1])}")
    say(f"  {programs}/danbooru-pipeline verify {layout.release(YEARS[-1])} --full")
    say(f"  DANBOORU_ROOT={root} {programs}/danbooru-pipeline status")
    say(f"  DANBOORU_ROOT={root} DANBOORU_FIRST_YEAR={YEARS[0]} {programs}/danbooru-pipeline ui")
    say("  and open http://127.0.0.1:3000/assets: every bucket of both years, with its numbers")
