"""Candidates as they are read again: what is missing or damaged says which command makes it."""

from pathlib import Path

import pytest

from danbooru_pipeline.curate.folder import CurationFolder
from danbooru_pipeline.curate.saved_candidates import likely_posts, saved_candidates
from danbooru_pipeline.errors import ReleaseError


def test_candidates_that_are_not_there_name_the_command_with_its_year(tmp_path: Path) -> None:
    """What a reviewer types next is in the message, whole."""
    with pytest.raises(ReleaseError, match=r"; run danbooru-pipeline curate candidates 2022 first$"):
        likely_posts(CurationFolder(tmp_path), 2022, ["1girl"])


def test_candidates_that_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    """A torn file is no traceback, whoever reads it."""
    folder = CurationFolder(tmp_path)
    folder.candidates(2022).parent.mkdir()
    folder.candidates(2022).write_bytes(b"PAR1 torn")
    with pytest.raises(ReleaseError, match=r"run danbooru-pipeline curate candidates 2022 again$"):
        saved_candidates(folder, 2022)
