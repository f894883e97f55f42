"""The tag model: what it finds in posts whose tags go together, and that the same input gives the same model."""

from collections import Counter

import numpy as np
import pytest
import scipy.sparse as sp

from danbooru_pipeline.curate.signals.calibration import Curve, Isotonic, Logistic, sigmoid, without_mistakes
from danbooru_pipeline.curate.signals.ease import gram_of, ridge, weights_of
from danbooru_pipeline.curate.signals.matrix import Block, Vocabulary, hide_tags, make_rows
from danbooru_pipeline.curate.signals.model import TagModel, likely, train_model
from danbooru_pipeline.curate.signals.network import asked_tags, train_network
from danbooru_pipeline.curate.signals.rules import TagRules

TAGS = 40
RNG = np.random.default_rng(3)


def posts_of(count: int) -> tuple[Vocabulary, Block]:
    """Posts of five kinds, each with most of eight tags."""
    kind = RNG.integers(0, 5, count)
    has = RNG.random((count, 8)) < 0.85
    row, number = has.nonzero()
    names = {f"tag_{n:02d}": 1000 - n for n in range(TAGS)}
    rules = TagRules.of((), [("tag_03", "tag_02")])
    vocabulary = Vocabulary.of(Counter(names), rules)
    rows = vocabulary.close(make_rows(row, kind[row] * 8 + number, count, TAGS))
    return vocabulary, Block(np.arange(count), rows)


@pytest.fixture(scope="module")
def trained() -> tuple[TagModel, Block]:
    """A model, and posts that it was trained on."""
    vocabulary, block = posts_of(3000)
    return train_model(lambda: iter([block]), vocabulary, posts=3000), block


def test_hidden_tags_are_found_again(trained: tuple[TagModel, Block]) -> None:
    """Nearly all of the likeliest cells are tags that were hidden or left out, and the tags named speak for them."""
    model, block = trained
    seen = hide_tags(block.rows, model.vocabulary, np.random.default_rng(1), share=0.2)
    cells = model.missing(seen)
    best = np.argsort(-cells.p)[:500]
    kinds = np.asarray(block.rows.argmax(axis=1)).ravel() // 8
    assert (cells.tags[best] // 8 == kinds[cells.posts[best]]).mean() > 0.99
    reasons = model.reasons(seen, cells)
    assert all(name[:4] == "tag_" for name in reasons[int(best[0])])
    assert not (seen[cells.posts, cells.tags] > 0).any()


def test_tag_of_another_kind_is_the_least_likely(trained: tuple[TagModel, Block]) -> None:
    """Injected tags of another kind are the first among tags that may be wrong."""
    model, block = trained
    rows = block.rows.tolil()
    kinds = np.asarray(block.rows.argmax(axis=1)).ravel() // 8
    for post in range(30):
        rows[post, (kinds[post] + 1) % 5 * 8] = 1
    present = model.present(rows.tocsr())
    first = np.argsort(present.p, kind="stable")[:30]
    assert (present.posts[first] < 30).mean() > 0.9


@pytest.mark.parametrize("posts", [1, 5, 200])
@pytest.mark.parametrize("tags", [[0], [0, 1]], ids=["one tag", "two tags"])
def test_posts_with_the_same_tags_have_no_candidates(posts: int, tags: list[int]) -> None:
    """Where all posts have the same tags there is nothing to learn: nothing is missing."""
    vocabulary = Vocabulary.of(Counter({f"tag_{number}": posts for number in tags}), TagRules.of((), ()))
    rows = make_rows(np.repeat(np.arange(posts), len(tags)), np.tile(tags, posts).astype(np.int64), posts, len(tags))
    block = Block(np.arange(posts), rows)
    model = train_model(lambda: iter([block]), vocabulary, posts=posts)
    missing, present = model.judge(rows)
    assert (len(missing.p), len(present.p)) == (0, posts * len(tags))
    assert model.reasons(rows, missing) == []


def test_same_posts_give_the_same_model() -> None:
    """Training is deterministic, network included, and the network learns what is hidden."""
    vocabulary, block = posts_of(800)
    networks = [train_network(block.rows, vocabulary, seed=4, steps=40) for _ in range(2)]
    assert np.array_equal(networks[0].outer, networks[1].outer)
    models = [train_model(lambda: iter([block]), vocabulary, posts=800) for _ in range(2)]
    assert np.array_equal(models[0].missing(block.rows).p, models[1].missing(block.rows).p)


@pytest.mark.parametrize("seed", range(4))
def test_best_cells_are_those_of_a_full_sort(seed: int) -> None:
    """The best forty of a post, ties by tag, are what sorting all scores gives, however many posts have many."""
    rng = np.random.default_rng(seed)
    rows = sp.csr_matrix((rng.random((50, 300)) < 0.1).astype(np.float32))
    scores = np.where(
        rng.random((50, 300)) < rng.random((50, 1)), rng.choice([-0.1, 0.02, 0.05, 0.3, 1.2], (50, 300)), 0
    )
    posts, tags, values = likely(sp.csr_matrix(scores.astype(np.float32)), rows)
    expected = [
        (post, tag, np.float32(score))
        for post in range(50)
        for score, tag in sorted(
            ((s, t) for t, s in enumerate(scores[post]) if s >= 0.01 and not rows[post, t]),
            key=lambda cell: (-cell[0], cell[1]),
        )[:40]
    ]
    assert list(zip(posts.tolist(), tags.tolist(), values, strict=True)) == expected


def test_judge_is_both_views_at_once(trained: tuple[TagModel, Block]) -> None:
    """What is missing and what is present come out the same from one product as from two."""
    model, block = trained
    missing, present = model.judge(block.rows[:100])
    assert np.array_equal(missing.p, model.missing(block.rows[:100]).p)
    assert np.array_equal(present.p, model.present(block.rows[:100]).p)


def test_step_is_about_all_tags_of_its_posts_and_some_others() -> None:
    """Each tag of the posts counts once; a tenth of the others count ten times each, so that nothing is biased."""
    rng = np.random.default_rng(9)
    rows = make_rows(np.arange(400), rng.integers(0, 5000, 400) * 2, 400, 10_000)
    tags, times = asked_tags(rows, rng)
    shown = np.isin(tags, rows.indices)
    assert set(tags[shown]) == set(rows.indices)
    assert set(times[shown]) == {1}
    assert set(times[~shown]) == {10}
    assert 800 < np.count_nonzero(~shown) < 1150
    tags, times = asked_tags(rows[:, :1000], rng)
    assert tags.tolist() == list(range(1000))
    assert set(times) == {1}


def test_network_of_many_tags_is_the_same_each_time() -> None:
    """What a step is about follows from the seed."""
    rows = make_rows(np.arange(600), np.arange(600) * 2, 600, 1200)
    vocabulary = Vocabulary(tuple(f"t{n}" for n in range(1200)), (1,) * 1200, sp.csr_matrix((1200, 1200)))
    networks = [train_network(rows, vocabulary, seed=2, steps=2) for _ in range(2)]
    assert np.array_equal(networks[0].outer, networks[1].outer)
    assert np.isfinite(networks[0].outer).all()


def test_weights_are_those_of_the_closed_form() -> None:
    """EASE is the ridge regression of each tag on the others."""
    _, block = posts_of(500)
    dense = block.rows.toarray().astype(float)
    gram = dense.T @ dense + np.eye(TAGS) * ridge(500)
    found = weights_of(gram_of([block.rows], TAGS), posts=500).toarray()
    for tag in (0, 17):
        others = np.delete(np.arange(TAGS), tag)
        expected = np.linalg.solve(gram[np.ix_(others, others)], dense.T[others] @ dense[:, tag])
        assert np.allclose(found[others, tag], expected, atol=1e-5)
    assert not found.diagonal().any()


def test_calibration_says_what_is_true() -> None:
    """A signal that exaggerates is right after calibration on answers of which three in a hundred are wrong."""
    rng = np.random.default_rng(8)
    true = rng.random(20_000)
    yes = (rng.random(20_000) < true).astype(float)
    said = sigmoid(3 * np.log(np.clip(true, 0.01, 0.99) / (1 - np.clip(true, 0.01, 0.99))))
    answers = np.where(rng.random(5000) < 0.03, 1 - yes[:5000], yes[:5000])
    curve = Logistic.fit(np.log(said[:5000] / (1 - said[:5000]))[:, None], answers)
    fitted = sigmoid(curve.logits(np.log(said / (1 - said))[:, None]))
    after = without_mistakes(Isotonic.fit(fitted[:5000], answers)(fitted), error=0.03)
    assert Curve.of(said[5000:], yes[5000:]).error > 0.1
    assert Curve.of(after[5000:], yes[5000:]).error < 0.03


def test_few_answers_change_nothing() -> None:
    """An isotonic curve is not drawn through fewer than two steps of answers."""
    steps = Isotonic.fit(np.array([0.2, 0.9]), np.array([1.0, 0.0]))
    assert steps(np.array([0.3])).tolist() == [0.3]
