"""The interval of a share of some answers: Wilson's, at 95 %."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

#: Standard deviations to either side that hold 95 % of a normal distribution.
Z: Final = 1.96


def interval(share: npt.ArrayLike, count: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Lower and upper bounds of shares of so many answers each, above zero; arrays are broadcast."""
    p, n, square = np.asarray(share), np.asarray(count), Z * Z
    middle, half = p + square / 2 / n, Z * np.sqrt((p * (1 - p) + square / 4 / n) / n)
    low, high = (middle - half) / (1 + square / n), (middle + half) / (1 + square / n)
    return np.maximum(low, 0), np.minimum(high, 1)
