"""Linear algebra whose results are the same on any machine, to the last bit.

Libraries of linear algebra add in an order that follows from the processor and the threads, and each order rounds in
another way. Sums of whole numbers below 2^53 are exact in any order, so what is summed here is whole, if in floats;
what is not whole is multiplied, divided and rooted one element at a time, which IEEE 754 rounds in one way only.
"""

from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Bytes: TypeAlias = npt.NDArray[np.int8]

#: Logarithms are counted in steps of 1/64, and end at 16.
LOG_STEPS: Final = 64
_MOST_STEPS: Final = 1023
#: Entries of a basis are whole multiples of 2^-20. With up to 2^13 rows, products of two of them add up below 2^53.
_BITS: Final = 20
MOST_ROWS: Final = 2**13
#: Directions beyond those that are wanted, by which the iteration converges sooner.
_MORE: Final = 16
_ROUNDS: Final = 8
#: A direction that is so small beside the largest is one of rounding.
_NOTHING: Final = 1e-9
#: Rows that a processor's cache holds through all steps.
_CACHED_ROWS: Final = 1_000
#: The length of vectors of bytes.
LARGEST: Final = 127


@cache
def _thresholds() -> Floats:
    """e^(n/64) for each step. Decimal rounds it correctly; the logarithms of C libraries differ in the last bit."""
    return np.array([float((Decimal(n) / LOG_STEPS).exp()) for n in range(1, _MOST_STEPS + 1)])


def log_steps(ratios: Floats) -> npt.NDArray[np.int64]:
    """The natural logarithms of numbers, in whole steps downwards; 0 for what is below 1."""
    # A guess by the C library is off by less than a step, and the thresholds decide: a tenth of the time of a search.
    steps: npt.NDArray[np.int64] = np.clip(np.floor(np.log(np.maximum(ratios, 1)) * LOG_STEPS), 0, _MOST_STEPS).astype(
        np.int64
    )
    above = np.concatenate([[-np.inf], _thresholds(), [np.nan]])
    steps -= above[steps] > ratios
    steps += above[steps + 1] <= ratios
    return steps


def principal(matrix: Floats, wanted: int) -> Floats:
    """The rows of a matrix by what it does most, as a truncated SVD gives them: left vectors × √values, times 2^20.

    Args:
        matrix: whole numbers up to 2^10, with at most `MOST_ROWS` rows and columns.
        wanted: directions. What the matrix does not have is zero.

    Raises:
        ValueError: the matrix is larger.
    """
    rows, columns = matrix.shape
    if max(rows, columns) > MOST_ROWS:
        raise ValueError(f"at most {MOST_ROWS} rows and columns stay exact")
    found = min(wanted + _MORE, rows, columns)
    # The stream of this generator is frozen for all versions of numpy.
    start = np.random.RandomState(0).randint(-(2**_BITS), 2**_BITS, (columns, found)).astype(np.float64)
    right, left, lengths = _orthonormal(start)[0], np.zeros((rows, found)), np.zeros(found)
    for _ in range(_ROUNDS):
        left, lengths = _orthonormal(matrix @ right)
        right, _ = _orthonormal(matrix.T @ left)
    strength = np.sqrt(lengths / (lengths.max(initial=0.0) or 1.0))
    return np.pad((left * strength)[:, :wanted], ((0, 0), (0, max(0, wanted - found))))


def _orthonormal(vectors: Floats) -> tuple[Floats, Floats]:
    """An orthonormal basis of columns, times 2^20 in whole numbers, and what each had beyond those before it.

    A column that follows from those before it becomes zero.
    """
    whole = _fit(vectors)
    factor = _cholesky(whole.T @ whole)
    # One column in each row, so that numbers of a column lie side by side. Each column is taken from all those after it
    # as soon as it is known: one element at a time, and in the same order for each.
    basis = np.ascontiguousarray(whole.T)
    taken = np.empty_like(basis)
    for n, length in enumerate(np.diag(factor)):
        if length == 0:
            basis[n] = 0
            continue
        basis[n] /= length
        rest = taken[n + 1 :]
        np.multiply(basis[n], factor[n + 1 :, n, None], out=rest)
        basis[n + 1 :] -= rest
    return np.rint(basis * 2**_BITS).T, np.diag(factor).copy()


def _fit(values: Floats) -> Floats:
    """Values as whole numbers of at most 20 bits, all scaled by the same power of two."""
    exponent = int(np.frexp(np.abs(values).max(initial=0.0))[1])
    return np.rint(np.ldexp(values, _BITS - exponent))


def _cholesky(gram: Floats) -> Floats:
    """L of L Lᵀ, lower; a column of zeros for what follows from those before it."""
    left = gram.copy()
    factor = np.zeros_like(left)
    least = np.diag(left).max(initial=0.0) * _NOTHING
    for n in range(len(left)):
        if left[n, n] <= least:
            continue
        factor[n:, n] = left[n:, n] / np.sqrt(left[n, n])
        left[n:, n:] -= factor[n:, n, None] * factor[None, n:, n]
    return factor


def unit_bytes(vectors: npt.NDArray[Any]) -> Bytes:
    """Each row at length 127, rounded to whole numbers of a byte; a row of zeros stays one."""
    unit: Bytes = np.empty(vectors.shape, np.int8)
    for first in range(0, len(vectors), _CACHED_ROWS):
        part = slice(first, first + _CACHED_ROWS)
        largest = np.maximum(np.abs(vectors[part]).max(axis=1, initial=0), 1).astype(np.float64)
        whole = np.rint(vectors[part] * (2.0**_BITS / largest)[:, None])
        lengths = np.sqrt(np.maximum((whole * whole).sum(axis=1), 1))  # of whole numbers, so exact
        whole *= (LARGEST / lengths)[:, None]
        unit[part] = np.rint(whole, out=whole)
    return unit


def lengths_of(vectors: npt.NDArray[Any]) -> Floats:
    """The length of each row of whole numbers, whose squares add up below 2^53."""
    lengths: Floats = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    return lengths
