"""The algebra behind vectors: right, and the same to the last bit whatever library of linear algebra computes it."""

import hashlib
import os
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest

from danbooru_pipeline.release.tables.vectors.exact import LARGEST, MOST_ROWS, log_steps, principal, unit_bytes
from danbooru_pipeline.release.tables.vectors.learn import core_vectors
from danbooru_pipeline.release.tables.vectors.nearest import nearest


def met(tags: int, *, seed: int) -> np.ndarray:
    """How often tags meet, some far more often than others."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.poisson(rng.gamma(0.3, 40, (tags, tags)))).astype(np.int64)
    return half + half.T


def digest() -> str:
    """Of vectors of some tags, and of their neighbours."""
    vectors = unit_bytes(core_vectors(met(300, seed=1)))
    rows = np.concatenate(list(nearest(vectors, vectors[:200], most=10))).astype(np.int64)
    return hashlib.sha256(vectors.tobytes() + rows.tobytes()).hexdigest()


def test_same_bits_on_any_processor() -> None:
    """Kernels for other processors, other numbers of threads, and numpy without its vector units give the same bits."""
    code = f"from {__name__} import digest; print(digest())"
    for setting in (
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
    ):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env=os.environ | setting,
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == digest()


def test_bits_are_those_of_earlier_versions() -> None:
    """Releases that are published verify with later versions, so what is computed must never change."""
    assert digest() == "aeba2d1e0c004710ae1490f1a57634014b2cfc470e92b01e797ce25bada33fc1"


def test_logarithms_are_those_of_a_search() -> None:
    """Steps follow from the thresholds alone, beside each of them, too, and end at the last."""
    steps = np.array([float((Decimal(n) / 64).exp()) for n in range(1, 1024)])
    ratios = np.concatenate([steps, np.nextafter(steps, 0), np.nextafter(steps, np.inf), [0, 1, 1e300, np.inf]])
    assert log_steps(ratios).tolist() == np.searchsorted(steps, ratios, side="right").tolist()


def test_principal_directions_are_those_of_an_svd() -> None:
    """What the rows have in common is what the strongest directions of the library's SVD say of them."""
    rng = np.random.default_rng(2)
    matrix = np.rint(rng.gamma(1, 30, (120, 6)) @ rng.gamma(1, 0.3, (6, 120)) + rng.random((120, 120)))
    ours = principal(np.minimum(matrix, 1023), 6) / 2**20
    left, values, _ = np.linalg.svd(np.minimum(matrix, 1023))
    theirs = left[:, :6] * np.sqrt(values[:6] / values[0])
    assert np.allclose(ours @ ours.T, theirs @ theirs.T, atol=2e-3)


@pytest.mark.parametrize("shape", [(MOST_ROWS + 1, 1), (1, MOST_ROWS + 1)])
def test_matrix_that_would_not_stay_exact_is_refused(shape: tuple[int, int]) -> None:
    """Sums of more rows or columns may pass 2^53, so such a matrix has no directions that are the same everywhere."""
    with pytest.raises(ValueError, match=f"at most {MOST_ROWS} rows and columns stay exact"):
        principal(np.ones(shape), 1)
    assert principal(np.ones((MOST_ROWS, 1)), 1).shape == (MOST_ROWS, 1)


@pytest.mark.parametrize("tags", [0, 1, 2, 70])
def test_few_tags_have_vectors(tags: int) -> None:
    """Fewer tags than directions, and tags that never meet, give vectors of zeros where there is nothing to say."""
    assert unit_bytes(core_vectors(np.zeros((tags, tags), np.int64))).tolist() == [[0] * 64] * tags
    assert core_vectors(met(tags, seed=3)).shape == (tags, 64)


def test_vectors_of_bytes_have_one_length() -> None:
    """Rows of any size get the same length and keep their direction."""
    rows = np.random.default_rng(4).integers(-(2**40), 2**40, (50, 64))
    found = unit_bytes(rows)
    assert np.allclose(np.linalg.norm(found.astype(float), axis=1), LARGEST, rtol=0.02)
    cosines = (found * (rows / np.linalg.norm(rows.astype(float), axis=1)[:, None])).sum(axis=1) / LARGEST
    assert cosines.min() > 0.99


def test_nearest_are_those_of_a_scan() -> None:
    """For each vector the nearest others in order, ties by row, never itself; fewer where there are fewer."""
    vectors = unit_bytes(np.random.default_rng(5).integers(-3, 4, (90, 64)))
    vectors[40:50] = vectors[3]
    among = vectors[:60]
    cosines = vectors.astype(int) @ among.astype(int).T
    for row, found in enumerate(nearest(vectors, among, most=7)):
        order = sorted((-cosine, other) for other, cosine in enumerate(cosines[row]) if other != row)
        assert found.tolist() == [other for _, other in order[:7]]
    assert [found.tolist() for found in nearest(vectors[:2], vectors[:2], most=7)] == [[1], [0]]
    assert [found.tolist() for found in nearest(vectors[:1], vectors[:1], most=7)] == [[]]
