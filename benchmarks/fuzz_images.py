"""Mutated images through the pool: one outcome each, no worker lost for good, no file left over.

    .venv/bin/python -m benchmarks.fuzz_images [COUNT] [SEED] [TYPE …]
    .venv/bin/python -m benchmarks.fuzz_images 2000 2021 avif webp

Every mutation follows from its number and the seed, so a failure can be made again alone. Exit code 1 on any fault.
"""

import sys

from danbooru_pipeline_tests.support.fuzz import fuzz


def main() -> int:
    """Run, print the table of outcomes, say what is wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 2021
    fuzzed = fuzz(count=count, seed=seed, types=tuple(sys.argv[3:]))
    for outcome, number in fuzzed.outcomes.most_common():
        print(f"| {outcome} | {number} |")
    print("\n".join(fuzzed.wrong) or f"{count} images, one outcome each, no file left over, seed {seed}")
    return 1 if fuzzed.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
