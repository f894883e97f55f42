"""Pictures as Hypothesis makes them. Kept apart from the others, which worker processes import."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
from hypothesis.extra import numpy as hnp


def any_pixels(max_side: int) -> st.SearchStrategy[npt.NDArray[Any]]:
    """Pictures of 8 and 16 bits, one to four bands; often with long runs of one value, and with the extremes."""
    shape = st.tuples(st.integers(1, max_side), st.integers(1, max_side), st.integers(1, 4))
    return st.one_of(
        hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 255]) | st.integers(0, 255)),
        hnp.arrays(np.uint16, shape, elements=st.sampled_from([0, 257, 65535]) | st.integers(0, 65535)),
    )
