"""Names below ``ROOT/curation``: candidates by year, and the logs of what people decided and what was sent."""

from dataclasses import dataclass
from pathlib import Path

from danbooru_pipeline.layout import Layout


@dataclass(frozen=True, slots=True)
class CurationFolder:
    """Paths of curation below a root."""

    path: Path

    @classmethod
    def of(cls, layout: Layout) -> "CurationFolder":
        """The folder of a root."""
        return cls(layout.curation)

    @property
    def layout(self) -> Layout:
        """Of the root."""
        return Layout(self.path.parent)

    @property
    def decisions(self) -> Path:
        """The append-only log of what people decided."""
        return self.path / "decisions.jsonl"

    @property
    def submitted(self) -> Path:
        """The append-only log of what was sent to the site."""
        return self.path / "submitted.jsonl"

    @property
    def submission_lock(self) -> Path:
        """Lock of the one process that sends."""
        return self.path / ".submit.lock"

    def candidates(self, year: int) -> Path:
        """Tags that may be missing or wrong in a release."""
        return self.path / str(year) / "candidates-00000-of-00001.parquet"

    def model(self, year: int) -> Path:
        """The tag model of a release."""
        return self.path / str(year) / "model.npz"

    def quality(self, year: int) -> Path:
        """What is known of the tags of a release, measured."""
        return self.path / str(year) / "quality.json"

    @property
    def page(self) -> Path:
        """The page with what was measured, over all years."""
        return self.path / "quality.html"

    def claim(self, number: int) -> Path:
        """Lock of the one reviewer who has a page before them."""
        return self.path / "claims" / f"{number:03d}"
