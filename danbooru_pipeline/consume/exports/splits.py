"""Splits of posts for training, validation and test: by a hash of the id, so a post stays in its split for ever."""

from dataclasses import dataclass

from danbooru_pipeline.errors import SettingsError
from danbooru_pipeline.search.splits import NAMES, split_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How posts are split.

    Attributes:
        splits: percent of train, validation and test, like ``(90, 5, 5)``; empty for no splits.
    """

    splits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.splits and (
            len(self.splits) != len(NAMES)
            or not all(part.isdecimal() for part in self.splits)
            or sum(map(int, self.splits)) != 100
        ):
            raise SettingsError(
                f"--splits {','.join(self.splits)} are not three percentages of 100; give some like 90,5,5"
            )

    def split_of(self, post_id: int) -> str:
        """The split of a post; empty without splits."""
        if not self.splits:
            return ""
        return split_of(post_id, [int(part) for part in self.splits])
