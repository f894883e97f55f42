"""What is counted, for people."""

import pytest

from danbooru_pipeline.progress import counted


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (0, ("post",), "0 posts"),
        (1, ("post",), "1 post"),
        (2000, ("post",), "2,000 posts"),
        (1, ("post is", "posts are"), "1 post is"),
        (3, ("bucket has", "buckets have"), "3 buckets have"),
    ],
)
def test_number_and_words_agree(number: int, words: tuple[str, ...], said: str) -> None:
    """One thing is one thing; all other numbers, none included, are plural."""
    assert counted(number, *words) == said
