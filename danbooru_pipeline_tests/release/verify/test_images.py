"""Lists are compared a part at a time, and no difference is overlooked."""

import io

from hypothesis import example, given
from hypothesis import strategies as st

from danbooru_pipeline.release.verify.images import _unpaired

LINES = st.lists(st.text("ab/1", min_size=1, max_size=3), unique=True, max_size=12)


def lines_of(names: list[str]) -> list[bytes]:
    """Sorted lines, as a list of files has them."""
    return sorted(f"{name}\n".encode() for name in names)


@given(LINES, LINES, st.integers(1, 5))
@example(["a", "b"], ["a", "b", "c"], 2)
@example(["a", "b"], [], 5)
@example([], ["a"], 1)
def test_unpaired_lines_are_those_of_one_list_alone(expected: list[str], listed: list[str], size: int) -> None:
    """Wherever parts start and end, each line that only one list has is reported with its side."""
    left, right = lines_of(expected), lines_of(listed)
    parts = (b"".join(left[at : at + size]) for at in range(0, len(left), size))
    found = list(_unpaired(parts, io.BytesIO(b"".join(right))))
    assert sorted(found) == sorted(
        [(line, False) for line in set(left) - set(right)] + [(line, True) for line in set(right) - set(left)]
    )


def test_a_last_line_that_is_cut_off_is_another_line() -> None:
    """A list that lacks its last newline lacks its last line."""
    found = list(_unpaired(iter([b"a\nb\n"]), io.BytesIO(b"a\nb")))
    assert sorted(found) == [(b"b", True), (b"b\n", False)]
