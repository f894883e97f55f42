"""Measures `verify --full` beside sha256sum: ``python -m benchmarks.verify FOLDER [--files 50000] [--rounds 5]``.

Makes a release of that many posts with files of 7 KB on average, three quarters of which have a 512px image, if FOLDER
has none, and verifies it in turns with ``sha256sum`` in as many processes as there are threads. 50,000 posts are 87,500
files; 200,000 are 350,000. With ``--profile`` it prints where our time goes instead.
"""

import argparse
import cProfile
import pstats
from pathlib import Path

from benchmarks.release import FINGERPRINT, THREADS, add_posts, build, compare_verify, lay_ledgers, pictures, save_posts
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release import verify_release


def make(layout: Layout, files: int) -> None:
    """Build the release."""
    rows = add_posts(layout, pictures(), range(1, files + 1))
    save_posts(layout, 2021, rows)
    lay_ledgers(layout, rows, settings=FINGERPRINT)
    build(layout.root, 2021, images_too=False)


def main() -> None:
    """Print the comparison, or a profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    layout = Layout(options.folder)
    if not layout.release_json(2021).exists():
        make(layout, options.files)
    folder = layout.release(2021)
    if not options.profile:
        compare_verify(folder, options.rounds)
        return
    profile = cProfile.Profile()
    profile.runcall(verify_release, folder, full=True, threads=THREADS)
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
