"""Paths: those that are read back from disk."""

from pathlib import Path

from danbooru_pipeline.layout import Layout


def test_years_are_folders_of_four_digits(tmp_path: Path) -> None:
    """Years come in order, and other folders beside them, like that of the compressed segments, are not years."""
    layout = Layout(tmp_path)
    assert layout.metadata_years == []
    for year in (2022, 2021):
        layout.metadata(year).mkdir(parents=True)
    layout.segments.mkdir()
    (tmp_path / "metadata/20211").mkdir()
    assert layout.metadata_years == [2021, 2022]
    assert layout.takedowns_lock == layout.takedowns.with_suffix(".lock")
