"""The tag model on real posts: hidden tags found again, beside simpler methods; calibration; the cost of a large booru.

    python -m benchmarks.curate FOLDER [--seed 11]     # tags-of-real-posts-512.npz and tags-512-names.json
    python -m benchmarks.curate --posts 5000000 --tags 10000 [--counts tags.csv]

20 % of the tags of 20,000 posts are hidden, and 20 % of those that the models learn from; what implications give back
(mined: the lower bound of P(b|a) is above 0.985) is given back first and does not count. Real posts lack tags, too, so
a precision is a lower bound. P@N: share of the best N cells that were hidden; R@20: of the hidden tags of a post among
its best 20.
"""

import argparse
import csv
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from benchmarks.memory import peak_mib
from danbooru_pipeline.curate.candidates import Knowledge, write_candidates
from danbooru_pipeline.curate.interval import interval
from danbooru_pipeline.curate.signals.calibration import Curve, Isotonic, Logistic, logit, sigmoid, without_mistakes
from danbooru_pipeline.curate.signals.ease import gram_of, weights_of
from danbooru_pipeline.curate.signals.matrix import Block, Vocabulary, hide_tags, make_rows
from danbooru_pipeline.curate.signals.model import TagModel, train_model
from danbooru_pipeline.curate.signals.rules import TagRules
from danbooru_pipeline.curate.signals.tail import mine_tail, rare_vocabulary

TEST_POSTS = 20_000
HIDE = 0.2
DECISIONS = 100_000
ANSWERS, MISTAKES = 5_000, 0.03


def main() -> None:
    """Measure what the arguments ask for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--posts", type=int, default=5_000_000)
    parser.add_argument("--tags", type=int, default=10_000)
    parser.add_argument("--counts", type=Path, help="tags and their posts, as columns 1 and 3 of a CSV")
    options = parser.parse_args()
    if options.folder is None:
        measure_large(options.posts, options.tags, options.counts)
    else:
        measure_real(options.folder, options.seed)


def measure_real(folder: Path, seed: int) -> None:
    """Print the table of methods and the bars."""
    rng = np.random.default_rng(seed)
    rows, vocabulary = load(folder)
    order = rng.permutation(rows.shape[0])
    test, train = np.sort(order[:TEST_POSTS]), np.sort(order[TEST_POSTS:])
    learnt = hide_tags(rows[train], vocabulary, rng, share=HIDE)
    seen = hide_tags(rows[test], vocabulary, rng, share=HIDE)
    hidden = (vocabulary.close(rows[test]) - seen).toarray() > 0
    print(f"{len(train):,} posts learnt from, {len(test):,} tried, {hidden.sum():,} tags hidden after closure")
    base = np.asarray(learnt.mean(axis=0)).ravel()
    table("random", rng.random(seen.shape), seen, hidden=hidden)
    table("popularity", np.tile(base, (seen.shape[0], 1)), seen, hidden=hidden)
    gram = gram_of([learnt], len(base))
    counts = np.maximum(np.diag(gram), 1)
    cosine = gram / np.sqrt(np.outer(counts, counts))
    np.fill_diagonal(cosine, 0)
    table("kNN, cosine", seen @ cosine, seen, hidden=hidden)
    started = time.process_time()
    weights = weights_of(gram, posts=learnt.shape[0])
    table("EASE", (seen @ weights).toarray(), seen, hidden=hidden, cpu=time.process_time() - started)
    measure_tail(learnt, seen, hidden, vocabulary)
    started = time.process_time()
    model = train_model(lambda: iter([Block(train, learnt)]), vocabulary, posts=learnt.shape[0])
    cells = model.missing(seen)
    scores = np.full(seen.shape, -1.0)
    scores[cells.posts, cells.tags] = cells.p
    found = table("ours", scores, seen, hidden=hidden, cpu=time.process_time() - started)
    for name, bar in {"P@1k": 0.75, "P@10k": 0.62, "R@20": 0.57, "restored": 0.29}.items():
        print(f"  {name} {found[name]:.3f}, bar {bar}: {'met' if found[name] >= bar else 'NOT MET'}")
    yes = hidden[cells.posts, cells.tags].astype(float)
    print(f"calibration by held-out posts alone: {curve_line(Curve.of(cells.p, yes))}")
    measure_fusion(cells.p, yes, rng)
    measure_wrong(model, rows[test], rng)


def measure_tail(learnt: Any, seen: Any, hidden: Any, vocabulary: Vocabulary, *, frequent: int = 256) -> None:
    """Rules for rare tags, as if the model knew the most frequent half alone; beside popularity among the others."""
    counts = Counter(
        dict(zip(vocabulary.names, np.asarray(learnt.sum(axis=0)).ravel().astype(int).tolist(), strict=True))
    )
    known = [name for name, _ in counts.most_common(frequent)]
    started = time.process_time()
    chosen, first = rare_vocabulary(counts, known=known)
    columns = [vocabulary.columns[name] for name in chosen.names]
    rules = mine_tail(lambda _: [Block(np.arange(learnt.shape[0]), learnt[:, columns])], chosen, first=first)
    rare = [vocabulary.columns[name] for name in chosen.names[first:]]
    scores = np.zeros(seen.shape)
    for post in range(seen.shape[0]):
        held = [vocabulary.names[column] for column in seen.indices[seen.indptr[post] : seen.indptr[post + 1]]]
        for name, p, _ in rules.findings(held):
            scores[post, vocabulary.columns[name]] = p
    spent = time.process_time() - started
    base = np.asarray(learnt.mean(axis=0)).ravel()
    tiled = np.tile(base[rare], (seen.shape[0], 1))
    table("rare: popular", tiled, seen[:, rare], hidden=hidden[:, rare])
    table("rare: rules", scores[:, rare], seen[:, rare], hidden=hidden[:, rare], cpu=spent)
    listed = sum(map(len, rules.by_tag.values()))
    print(f"  {len(rare)} rare tags, {listed} rules, {np.count_nonzero(scores):,} cells named")


def load(folder: Path) -> tuple[Any, Vocabulary]:
    """The real posts, and their vocabulary with mined implications."""
    data = np.load(folder / "tags-of-real-posts-512.npz")
    names = json.loads((folder / "tags-512-names.json").read_text())
    rows = make_rows(data["rows"], data["cols"], len(data["ids"]), len(names))
    gram = gram_of([rows], len(names))
    counts = np.maximum(np.diag(gram), 1)[:, None]
    implied = (interval(gram / counts, counts)[0] > 0.985) & (gram >= 100)
    np.fill_diagonal(implied, val=False)
    while ((more := implied | (implied.astype(int) @ implied > 0)) != implied).any():
        implied = more
    np.fill_diagonal(implied, val=False)
    vocabulary = Vocabulary(tuple(names), tuple(counts.ravel().astype(int)), sp.csr_matrix(implied.astype(np.float32)))
    return vocabulary.close(rows), vocabulary


def table(name: str, scores: Any, seen: Any, *, hidden: Any, cpu: float = 0.0) -> dict[str, float]:
    """Print the row of a method."""
    held = np.array(scores, np.float32)
    held[seen.nonzero()] = -np.inf
    best = np.argpartition(-held, 20, axis=1)[:, :20]
    total = hidden.sum(1)
    hits = np.take_along_axis(hidden, best, 1).sum(1)
    found = {"R@20": float((hits / np.minimum(np.maximum(total, 1), 20))[total > 0].mean())}
    top = np.argpartition(-held.ravel(), DECISIONS)[:DECISIONS]
    yes = hidden.ravel()[top[np.argsort(-held.ravel()[top], kind="stable")]]
    found |= {f"P@{n // 1000}k": float(yes[:n].mean()) for n in (1_000, 10_000, 100_000)}
    found["restored"] = float(yes.sum() / hidden.sum())
    print(f"{name:12s} " + "  ".join(f"{key} {value:.3f}" for key, value in found.items()) + f"  {cpu:6.1f} CPU s")
    return found


def measure_fusion(p: Any, yes: Any, rng: np.random.Generator) -> None:
    """Calibrate on answers of simulated reviewers, half of them about the likeliest cells; measure on the others."""
    likely = np.flatnonzero(p >= np.sort(p)[-min(len(p), DECISIONS)])
    asked = np.unique(np.concatenate([rng.choice(likely, ANSWERS // 2), rng.choice(len(p), ANSWERS // 2)]))
    said = np.where(rng.random(len(asked)) < MISTAKES, 1 - yes[asked], yes[asked])
    curve = Logistic.fit(logit(p[asked])[:, None], said)
    fitted = sigmoid(curve.logits(logit(p)[:, None]))
    steps = Isotonic.fit(fitted[asked], said)
    after = without_mistakes(steps(fitted), error=MISTAKES)
    others = np.setdiff1d(np.arange(len(p)), asked)
    for name, held in (("all cells", others), ("the likeliest 100,000", np.intersect1d(others, likely))):
        found = Curve.of(after[held], yes[held])
        print(f"after {len(asked):,} answers, {name}: {curve_line(found)}")


def curve_line(curve: Curve) -> str:
    """An expected calibration error, and the curve."""
    bins = ", ".join(f"{each.said:.2f}→{each.true:.2f} ({each.cells:,})" for each in curve.bins)
    return f"ECE {curve.error:.4f}; said→true (cells): {bins}"


def measure_wrong(model: TagModel, rows: Any, rng: np.random.Generator) -> None:
    """Inject 1 % wrong tags, half of them by popularity and half close to one that the post has."""
    close = (model.weights.toarray()).argsort(axis=1)[:, -15:]
    wanted = int(rows.nnz * 0.01)
    posts = rng.integers(0, rows.shape[0], wanted * 2)
    share = np.asarray(rows.sum(axis=0)).ravel()
    drawn = rng.choice(rows.shape[1], len(posts), p=share / share.sum())
    for number in np.flatnonzero(rng.random(len(posts)) < 0.5):
        held = rows.indices[rows.indptr[posts[number]] : rows.indptr[posts[number] + 1]]
        if len(held):
            drawn[number] = rng.choice(close[rng.choice(held)])
    bad = make_rows(posts, drawn, *rows.shape).toarray().astype(bool) & (rows.toarray() == 0)
    cells = np.argwhere(bad)
    rng.shuffle(cells)
    bad[tuple(cells[wanted:].T)] = False
    noisy = sp.csr_matrix(((rows.toarray() > 0) | bad).astype(np.float32))
    present = model.present(noisy)
    wrong = bad[present.posts, present.tags][np.argsort(present.p, kind="stable")]
    shares = ", ".join(f"{wrong[:n].mean():.2f} of the first {n:,}" for n in (500, 1000, 5000))
    print(f"wrong tags, {wrong.mean():.3f} injected: {shares}")


def measure_large(posts: int, tags: int, counts: Path | None) -> None:
    """Train and score on generated posts with thirty tags each, by real counts or Zipf's, in 400 topics."""
    rng = np.random.default_rng(5)
    weights = np.sort(tag_counts(counts, tags))[::-1]
    topics = rng.choice(tags, (400, 60), p=weights / weights.sum())
    vocabulary = Vocabulary(
        tuple(f"tag_{number:05d}" for number in range(tags)),
        tuple(weights.astype(int)),
        sp.csr_matrix((tags, tags), dtype=np.float32),
    )

    def blocks() -> Iterator[Block]:
        for start in range(0, posts, 20_000):
            yield generated(start, min(20_000, posts - start), weights, topics)

    made = time.process_time()
    for _ in blocks():
        pass
    made = time.process_time() - made
    started = time.process_time()
    model = train_model(blocks, vocabulary, posts=posts)
    trained = time.process_time() - started - made
    started = time.process_time()
    found = 0
    for block in blocks():
        for start in range(0, len(block.ids), 2_000):
            cells = model.missing(block.rows[start : start + 2_000])
            found += int((cells.p >= 0.1).sum())
    scored = time.process_time() - started - made
    peak = peak_mib() / 1024
    print(f"{posts:,} posts × {tags:,} tags, peak {peak:.2f} GiB")
    print(f"training {trained:.0f} CPU s, scoring {scored:.0f} CPU s: {found:,} cells of at least 0.1")
    print(f"generating the posts, which is not counted: {made:.0f} CPU s each time")
    measure_candidates(model, next(blocks()), posts=posts)


def measure_candidates(model: TagModel, block: Block, *, posts: int) -> None:
    """Write the candidates of some posts, with their reasons in words."""
    names = np.array(model.vocabulary.names)
    lines = [" ".join(names[row.indices]) for row in block.rows]
    texts = {"rating": ["g"] * len(lines), "md5": ["0" * 32] * len(lines), "px512_path": [None] * len(lines)}
    columns = {"id": block.ids, "tag_string": lines, **texts}

    def read(_table: str, wanted: Sequence[str]) -> Iterator[pa.Table]:
        yield pa.table({name: columns[name] for name in wanted})

    known = Knowledge(
        read=read,
        rules=TagRules(),
        counts=Counter(dict(zip(model.vocabulary.names, model.vocabulary.counts, strict=True))),
        categories={},
        model=model,
    )
    started = time.process_time()
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        counted = write_candidates(known, Path(file.name))
        size = Path(file.name).stat().st_size
    spent, rows = time.process_time() - started, sum(counted.values())
    print(
        f"candidates of {len(lines):,} posts with scores, reasons and Parquet: {spent:.1f} CPU s, {rows:,} rows, "
        f"{size / max(1, rows):.0f} bytes each; {spent * posts / len(lines) / 60:.0f} CPU min for {posts:,} posts"
    )


def tag_counts(path: Path | None, tags: int) -> Any:
    """How many posts tags have."""
    if path is None:
        return 1e6 / (np.arange(tags) + 3)
    with path.open(newline="") as lines:
        return np.array([float(row[2]) for row in csv.reader(lines)][:tags])


def generated(start: int, count: int, weights: Any, topics: Any) -> Block:
    """Posts of a topic each; the same numbers give the same posts."""
    rng = np.random.default_rng(start)
    lengths = np.maximum(8, rng.lognormal(3.35, 0.35, count)).astype(int)
    posts = np.repeat(np.arange(count), lengths)
    cumulated = np.cumsum(weights) / weights.sum()
    drawn = np.minimum(np.searchsorted(cumulated, rng.random(len(posts))), len(weights) - 1)
    of_topic = rng.random(len(posts)) < 0.55
    own = topics[rng.integers(0, len(topics), count)[posts], (60 * rng.random(len(posts)) ** 2).astype(int)]
    return Block(np.arange(start, start + count), make_rows(posts, np.where(of_topic, own, drawn), count, len(weights)))


if __name__ == "__main__":
    main()
