"""What forms of tables have in common: they take posts without a file, too, unless only those with one are wanted."""

from dataclasses import dataclass, replace

from danbooru_pipeline.consume.select import Selection
from danbooru_pipeline.release.release_json import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutFiles:
    """Options of forms of tables.

    Attributes:
        only_with_file: whether posts without a file in the tree are left out.
    """

    only_with_file: bool = False


def with_or_without_files(selection: Selection, options: WithoutFiles, _about: Release) -> Selection:
    """The selection, with posts that have no file unless they are unwanted."""
    return replace(selection, with_file=options.only_with_file)
