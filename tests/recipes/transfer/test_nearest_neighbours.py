"""Tests of minivit/recipes/transfer/nearest_neighbours.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same

from minivit.backend import move
from minivit.recipes.transfer import nearest, votes


def clusters(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((4, 6))
    labels = rng.integers(0, 4, count)
    return centres[labels] + 0.9 * rng.standard_normal((count, 6)), labels


BANK, LABELS = clusters(80, 0)
QUERIES, TRUE = clusters(33, 1)


def by_loop(k: int, weight) -> np.ndarray:
    scores = np.zeros((len(QUERIES), 4))
    for row, query in enumerate(QUERIES):
        cosines = [query @ x / np.linalg.norm(query) / np.linalg.norm(x) for x in BANK]
        for place in sorted(range(len(BANK)), key=lambda n: -cosines[n])[:k]:
            scores[row, LABELS[place]] += weight(cosines[place])
    return scores


@pytest.mark.parametrize("k", [1, 5, 20, 80])
def test_both_votes_are_those_of_a_plain_loop(k: int) -> None:
    index, similarity = nearest(QUERIES, BANK, k, at_once=10)
    assert (np.diff(similarity, axis=1) <= 0).all()
    majority = votes(LABELS[index], similarity, 4)
    np.testing.assert_array_equal(majority, by_loop(k, lambda _: 1.0))
    weighted = votes(LABELS[index], similarity, 4, "weighted", 0.07)
    np.testing.assert_allclose(weighted, by_loop(k, lambda s: np.exp(s / 0.07)), rtol=1e-11)


def test_majority_is_that_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    reference = neighbors.KNeighborsClassifier(20, metric="cosine", algorithm="brute").fit(BANK, LABELS)
    index, similarity = nearest(QUERIES, BANK, 20)
    found = votes(LABELS[index], similarity, 4).argmax(1)
    np.testing.assert_array_equal(found, reference.predict(QUERIES))
    assert (found == TRUE).mean() > 0.5, "the clusters can be told apart"


def test_length_does_not_matter_and_a_row_of_zeros_is_like_none() -> None:
    bank = np.array([[1.0, 0], [0, 1], [0, 0]])
    index, similarity = nearest(np.array([[5.0, 1], [0, 0]]), bank, 3)
    assert index[0].tolist() == [0, 1, 2]
    np.testing.assert_allclose(similarity, [[5 / 26**0.5, 1 / 26**0.5, 0], [0, 0, 0]])


def test_the_split_of_the_queries_changes_nothing() -> None:
    whole = nearest(QUERIES, BANK, 7)
    parts = nearest(QUERIES, BANK, 7, at_once=4)
    np.testing.assert_array_equal(whole[0], parts[0])
    np.testing.assert_allclose(whole[1], parts[1], rtol=1e-13)
    assert nearest(QUERIES[:0], BANK, 7)[0].shape == (0, 7)


@pytest.mark.parametrize("device", DEVICES)
def test_any_device_gives_the_same(device: str) -> None:
    index, similarity = nearest(QUERIES, BANK, 9)
    there = nearest(move(QUERIES, device), move(BANK, device), 9)
    assert_same(there[0], index, device)
    assert_same(there[1], similarity, device)
    for kind in ("majority", "weighted"):
        expected = votes(LABELS[index], similarity, 4, kind, 0.5)
        assert_same(votes(move(LABELS[index], device), there[1], 4, kind, 0.5), expected, device)


def test_bad_requests_are_refused() -> None:
    for k in (0, 81):
        with pytest.raises(ValueError, match=f"from 1 to 80 neighbours, as many as there are, got {k}"):
            nearest(QUERIES, BANK, k)
    with pytest.raises(ValueError, match=r"got \(33, 6\) and \(80, 5\)"):
        nearest(QUERIES, BANK[:, :5], 3)
    with pytest.raises(ValueError, match="majority or weighted; got 'softmax'"):
        votes(LABELS[:1, None], np.ones((1, 1)), 4, "softmax")
    with pytest.raises(ValueError, match="temperature above 0"):
        votes(LABELS[:1, None], np.ones((1, 1)), 4, "weighted", 0.0)
