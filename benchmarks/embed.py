"""Vectors of tags and posts: what they cost, and how well posts find their like by them, beside tf-idf.

    python -m benchmarks.embed [--posts 1000000] [--root FOLDER]    # cost at synthetic posts
    python -m benchmarks.embed --real FOLDER                        # tags-of-real-posts-512.npz, tags-512-names.json

The quality: vectors are learned from all posts. A post is then found by a random half of its tags, and what counts is
how much of the other half its ten nearest posts share, as the cosine of tf-idf.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from benchmarks.memory import peak_mib
from benchmarks.search import release_of
from danbooru_pipeline.io.parquet import row_count, write_shards
from danbooru_pipeline.posts import POST_SCHEMA, conform
from danbooru_pipeline.release.tables.search_index import reader
from danbooru_pipeline.release.tables.tag_counts import write_tag_counts
from danbooru_pipeline.release.tables.vectors.exact import unit_bytes
from danbooru_pipeline.release.tables.vectors.learn import Learner
from danbooru_pipeline.release.tables.vectors.write import write_vectors
from danbooru_pipeline.release_paths import POST_VECTORS, TAG_VECTORS, parquet_path

_QUERIES, _NEIGHBOURS, _SEED = 300, 10, 0


def cost(root: Path, posts: int) -> None:
    """Print what the vectors of a synthetic release cost, made in a process of their own."""
    folder = release_of(root, posts)
    if not list(folder.glob("parquet/tag_counts-*")):
        write_tag_counts(folder, 2021, threads=1)
    made = [json.loads(_made(folder)) for _ in range(2)]
    size = {name: sum(path.stat().st_size for path in folder.glob(f"parquet/{name}-*")) for name in _TABLES}
    tags = row_count(folder / parquet_path(TAG_VECTORS, 0, of=1))
    spent = statistics.median(each["cpu"] for each in made)
    print(f"{posts:,} posts: {spent:.1f} CPU s, {made[0]['peak']:.0f} MB at most")
    print(f"{size[POST_VECTORS] / posts:.1f} bytes a post; {tags:,} tags, {size[TAG_VECTORS] / tags:.1f} bytes each")


_TABLES = (TAG_VECTORS, POST_VECTORS)


def _made(folder: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.embed", "--make", str(folder)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make(folder: Path) -> None:
    """Make the vectors in this process; prints JSON."""
    posts = sum(row_count(path) for path in folder.glob("parquet/posts-*"))
    began = time.process_time()
    write_vectors(folder, posts=posts)
    print(json.dumps({"cpu": time.process_time() - began, "peak": peak_mib()}))


def quality(source: Path) -> None:
    """Print how much neighbours share of what the vectors did not see."""
    held = np.load(source / "tags-of-real-posts-512.npz")
    names = json.loads((source / "tags-512-names.json").read_text())
    shape = (len(held["ids"]), len(names))
    tags = sp.csr_matrix((np.ones(len(held["rows"])), (held["rows"], held["cols"])), shape=shape)
    tags.data[:] = 1
    vectors = _vectors_of_tags(tags, names)
    rng = np.random.default_rng(_SEED)
    pairs = tags.tocoo()
    seen = rng.random(pairs.nnz) < 0.5
    rarity = sp.diags(np.log(shape[0] / (np.asarray(tags.sum(axis=0)).ravel() + 1)))
    known, hidden = (
        (sp.csr_matrix((pairs.data[part], (pairs.row[part], pairs.col[part])), shape=shape) @ rarity).tocsr()
        for part in (seen, ~seen)
    )
    asked = rng.choice(shape[0], _QUERIES, replace=False)
    summed = unit_bytes(np.rint(np.asarray(known @ vectors) * 2**10)).astype(np.float32)
    found = {
        "64 bytes a post": _top(summed[asked] @ summed.T, asked),
        "tf-idf": _top((_unit(known)[asked] @ _unit(known).T).toarray(), asked),
        "the ten rarest tags, as on the page": _top((_rarest(known[asked]) @ known.T).toarray(), asked),
        "random posts": rng.choice(shape[0], (_QUERIES, _NEIGHBOURS)),
    }
    print(f"| neighbours by | of {shape[0]:,} posts, {shape[1]} tags: share of the hidden half |\n|---|---:|")
    for name, rows in found.items():
        print(f"| {name} | {_shared(_unit(hidden), asked, rows):.3f} |")


def _vectors_of_tags(tags: Any, names: list[str]) -> Any:
    """Vectors of the tags, as a release has them, made by the code that makes a release's."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "parquet").mkdir()
        texts = [" ".join(names[tag] for tag in tags.indices[a:b]) for a, b in pairwise(tags.indptr)]
        ids = np.arange(1, len(texts) + 1)
        made_at = pa.array(ids, pa.timestamp("us", tz="UTC"))
        rows = pa.table({"id": ids, "created_at": made_at, "tag_string": texts, "tag_string_general": texts})
        write_shards(
            [conform(rows, POST_SCHEMA)],
            len(texts),
            path_of=lambda n, of: folder / parquet_path("posts", n, of=of),
            schema=POST_SCHEMA,
            dictionary=(),
        )
        write_tag_counts(folder, 2021, threads=1)
        with tempfile.TemporaryFile() as file:
            learned = Learner(reader(folder), file, all_posts=len(texts)).learn()
        places = {name: row for row, name in enumerate(learned.vocabulary.names.to_pylist())}
        zero = np.zeros(learned.tags.shape[1])
        return np.array([learned.weighted[places[name]] if name in places else zero for name in names], np.float64)


def _unit(matrix: Any) -> Any:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel()) + 1e-9
    return (sp.diags(1 / lengths) @ matrix).tocsr()


def _rarest(rows: Any) -> Any:
    """The ten largest values of each row."""
    kept = rows.copy()
    for begin, end in pairwise(rows.indptr):
        part = kept.data[begin:end]
        part[np.argsort(-part)[_NEIGHBOURS:]] = 0
    return kept


def _top(cosines: Any, asked: Any) -> Any:
    cosines[np.arange(len(asked)), asked] = -np.inf
    return np.argsort(-cosines, axis=1)[:, :_NEIGHBOURS]


def _shared(hidden: Any, asked: Any, found: Any) -> float:
    return float(np.mean([(hidden[one] @ hidden[rows].T).mean() for one, rows in zip(asked, found, strict=True)]))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--root", type=Path, default=Path("data/benchmark-select"))
    parser.add_argument("--real", type=Path)
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.make:
        make(given.make)
    elif given.real:
        quality(given.real)
    else:
        cost(given.root, given.posts)


if __name__ == "__main__":
    main()
