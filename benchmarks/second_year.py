"""Measures a second year by its steps: ``python -m benchmarks.second_year FOLDER [--files 50000]``.

A year of that many posts, then one with a tenth more, both from files and ledgers that are there. Prints the CPU
seconds of each step of both builds, and their ratio; ``--profile STEP`` prints where the second year spends them.
"""

import argparse
import cProfile
import functools
import pstats
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.release import FINGERPRINT, add_posts, build, lay_ledgers, measure, pictures, save_posts
from danbooru_pipeline.layout import Layout
from danbooru_pipeline.release.tree import snapshot
from danbooru_pipeline.release.tree.staging import Staging

#: Steps of a snapshot: where each is looked up, and its name there.
STEPS: tuple[tuple[Any, str], ...] = (
    (Staging, "write_tables"),
    (Staging, "link_images"),
    (Staging, "write_lists"),
    (Staging, "carry_metadata"),
    (Staging, "write_archive"),
    (snapshot, "write_tag_counts"),
    (snapshot, "write_duplicates"),
    (snapshot, "write_vectors"),
    (snapshot, "write_corrections"),
    (snapshot, "write_documents"),
    (snapshot, "hash_documents"),
    (Staging, "seal"),
    (snapshot, "verify_tree"),
    (Staging, "flush"),
)


def timed(work: Callable[..., Any], name: str, costs: dict[str, float], profiled: str | None) -> Callable[..., Any]:
    """The same function, whose CPU seconds are added to `costs`; it is profiled if it is the one that is asked for."""

    @functools.wraps(work)
    def measured(*given: Any, **named: Any) -> Any:
        found: list[Any] = []
        profile = cProfile.Profile() if profiled == name else None

        def run() -> None:
            found.append(profile.runcall(work, *given, **named) if profile else work(*given, **named))

        costs[name] = costs.get(name, 0.0) + measure(run).cpu
        if profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return found[0]

    return measured


def steps_of(layout: Layout, year: int, profiled: str | None) -> dict[str, float]:
    """Build a year and return the CPU seconds of its steps."""
    costs: dict[str, float] = {}
    plain = [(where, name, getattr(where, name)) for where, name in STEPS]
    for where, name, work in plain:
        setattr(where, name, timed(work, name, costs, profiled))
    try:
        whole = {name: cost.cpu for name, cost in build(layout.root, year, images_too=False).items()}
    finally:
        for where, name, work in plain:
            setattr(where, name, work)
    rest = whole["snapshot"] - sum(costs.values())
    return {"split": whole["split"], "manifest": whole["manifest"], **costs, "the rest": rest}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--profile", choices=[name for _, name in STEPS])
    options = parser.parse_args()
    layout = Layout(options.folder)
    if layout.root.exists():
        sys.exit(f"{layout.root} is there already; give a folder that is not")
    bases = pictures()
    rows = add_posts(layout, bases, range(1, options.files + 1))
    save_posts(layout, 2021, rows)
    lay_ledgers(layout, rows, settings=FINGERPRINT)
    first = steps_of(layout, 2021, None)
    new = add_posts(layout, bases, range(options.files + 1, options.files * 11 // 10 + 1))
    save_posts(layout, 2022, [*rows, *new])
    lay_ledgers(layout, new, settings=FINGERPRINT)
    second = steps_of(layout, 2022, options.profile)
    print("| step | 2021, CPU s | 2022 | ratio |\n|---|---:|---:|---:|")
    for costs in (first, second):
        costs["all"] = sum(costs.values())
    for name, cost in first.items():
        print(f"| {name} | {cost:.2f} | {second[name]:.2f} | {second[name] / max(cost, 0.01):.2f} |")


if __name__ == "__main__":
    main()
