"""A trained model as one file of plain arrays, written as a whole and read without running anything that is in it."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.calibration import Isotonic, Logistic
from danbooru_pipeline.curate.signals.matrix import Sparse, Vocabulary
from danbooru_pipeline.curate.signals.model import TagModel
from danbooru_pipeline.curate.signals.network import Network
from danbooru_pipeline.errors import StoreError
from danbooru_pipeline.io.atomic import atomic_file

_NETWORK = ("inner", "inner_bias", "outer", "outer_bias")


def save_model(model: TagModel, path: Path) -> None:
    """Write a model."""
    arrays: dict[str, Any] = {
        "names": np.array(model.vocabulary.names, np.str_),
        "counts": np.array(model.vocabulary.counts, np.int64),
        "curve": np.array([*model.curve.weights, model.curve.bias]),
        "said": np.array(model.steps.said),
        "true": np.array(model.steps.true),
        "wrong": model.wrong,
    }
    for name, matrix in (("implied", model.vocabulary.implied), ("weights", model.weights)):
        arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
    if model.network is not None:
        arrays |= {name: getattr(model.network, name) for name in _NETWORK}
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_model(path: Path) -> TagModel:
    """Read a model.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
    except FileNotFoundError:
        raise StoreError(f"there is no {path}; materialise tag_model of its year first") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); materialise tag_model of its year again") from error
    size = len(arrays["names"])
    vocabulary = Vocabulary(
        tuple(map(str, arrays["names"])), tuple(map(int, arrays["counts"])), _matrix(arrays, "implied", size)
    )
    network = Network(*(arrays[name] for name in _NETWORK)) if "inner" in arrays else None
    *weights, bias = arrays["curve"].tolist()
    steps = Isotonic(tuple(arrays["said"].tolist()), tuple(arrays["true"].tolist()))
    return TagModel(
        vocabulary,
        _matrix(arrays, "weights", size),
        network,
        Logistic(tuple(weights), bias),
        steps,
        arrays["wrong"],
    )


def _matrix(arrays: dict[str, Any], name: str, size: int) -> Sparse:
    parts = tuple(arrays[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return sp.csr_matrix(parts, shape=(size, size))
