"""Does what the cards of releases offer, with the real `datasets`: run by the Python of .venv-validators.

Prints, for each folder of a release, the rows of every config of the card, and those that its example loads.
"""

import json
import os
import re
import sys
from pathlib import Path


def offered(release: Path) -> dict[str, object]:
    """What loads: each config by its name, and what the example gives each of its variables."""
    import datasets
    from datasets import get_dataset_config_names, load_dataset

    # It takes two folders of one name, with files of one size and age, for the same.
    datasets.config.HF_DATASETS_CACHE = Path(os.environ["HF_HOME"]) / release.parents[1].name
    card = (release / "README.md").read_text()
    named = re.findall(r"^- config_name: (\w+)$", card, flags=re.MULTILINE)
    if named:
        assert get_dataset_config_names(str(release)) == named
    rows = {name: load_dataset(str(release), name, split="train").num_rows for name in named}
    example: dict[str, object] = {}
    os.chdir(release.parent)
    for block in re.findall(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL):
        if "load_dataset" in block:
            exec(block, example)
    loaded = {name: value.num_rows for name, value in example.items() if hasattr(value, "num_rows")}
    return {"configs": rows, "example": loaded, "default": re.findall(r"- config_name: (\w+)\n  default: true", card)}


def main() -> None:
    """Print everything."""
    # Here, not at the top: tests import this module for its path.
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    print(json.dumps([offered(Path(folder)) for folder in sys.argv[1:]]))


if __name__ == "__main__":
    main()
