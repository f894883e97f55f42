"""The card of a release shows Python that works in its folder."""

import re

import pytest

from danbooru_pipeline.layout import Layout


def test_examples_of_the_card_run(releases: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each code block runs by itself in the release; those for `datasets`, which the validators load, are left out."""
    folder = releases.release(2022)
    monkeypatch.chdir(folder)
    blocks = re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    tried = [block for block in blocks if "import load_dataset" not in block]
    assert len(tried) == len(blocks) - 1 == 3
    frames: dict[str, object] = {}
    for block in tried:
        exec(block, frames)
    images = frames["images"]
    assert len(images)  # type: ignore[arg-type]
    assert all((folder / path).exists() for path in images["path"])  # type: ignore[index]
