"""Makes the table and the sheet of docs/images.md that show which background is chosen for 36 kinds of pictures.

    .venv/bin/python -m benchmarks.backgrounds

Look at the whole sheet after a change of the rule. Also prints what the choice costs.
"""

import sys
import time
from pathlib import Path
from statistics import median

from danbooru_pipeline.images.background import measure_edges
from danbooru_pipeline_tests.support.backgrounds import KINDS, sheet, small, table

_TARGET = Path(__file__).parent.parent / "docs" / "images" / "backgrounds.jpg"


def main() -> int:
    """Print the rows, write the sheet, measure the cost."""
    print("\n".join(table()))
    sheet().save(_TARGET, "JPEG", quality=70)
    costs = []
    for kind in KINDS.values():
        pixels = small(kind)
        for _ in range(5):
            began = time.process_time()
            measure_edges(pixels)
            costs.append(1000 * (time.process_time() - began))
    print(f"CPU ms an image with alpha: median {median(costs):.2f}, worst {max(costs):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
