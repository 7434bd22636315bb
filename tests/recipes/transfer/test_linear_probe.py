"""Tests of minivit/recipes/transfer/linear_probe.py."""

from collections.abc import Iterator

import numpy as np
import pytest

from minivit.backend.cpu.threads import Workers
from minivit.recipes.transfer import fit_probe, fit_softmax
from minivit.recipes.transfer.linear_probe import standardisation


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(2) as two:
        yield two


def examples(count: int, seed: int, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3)
    centres = np.random.default_rng(5).standard_normal((3, dim))
    return (centres[labels] + 1.2 * rng.standard_normal((count, dim))) * np.arange(1, dim + 1), labels


def objective(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray, penalty: float) -> float:
    logits = x @ weight.T + bias
    most = logits.max(1)
    log_sums = np.log(np.exp(logits - most[:, None]).sum(1)) + most
    return float((log_sums - logits[np.arange(len(y)), y]).mean() + penalty / 2 * (weight**2).sum())


@pytest.mark.parametrize("penalty", [1.0, 0.01, 1e-3])
def test_the_optimum_is_scikit_learns(workers: Workers, penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = examples(120, 0)
    mean, scale = standardisation(x)
    x = (x - mean) / scale
    found = fit_softmax(x, y, 3, penalty, workers, tolerance=1e-9, max_steps=20_000)
    reference = linear_model.LogisticRegression(C=1 / (penalty * len(x)), tol=1e-12, max_iter=10_000).fit(x, y)
    assert found.converged
    assert found.loss == pytest.approx(objective(found.weight, found.bias, x, y, penalty), abs=1e-12)
    theirs = objective(reference.coef_, reference.intercept_, x, y, penalty)
    assert found.loss == pytest.approx(theirs, abs=1e-9)
    np.testing.assert_allclose(found.weight, reference.coef_, atol=1e-4 * np.abs(reference.coef_).max())
    np.testing.assert_array_equal(found.logits(x).argmax(1), reference.predict(x))


def test_no_neighbour_of_the_optimum_is_better(workers: Workers) -> None:
    x, y = examples(60, 1)
    x = (x - x.mean(0)) / x.std(0)
    found = fit_softmax(x, y, 3, 0.05, workers, tolerance=1e-9, max_steps=5000)
    rng = np.random.default_rng(0)
    for _ in range(20):
        weight = found.weight + 1e-3 * rng.standard_normal(found.weight.shape)
        bias = found.bias + 1e-3 * rng.standard_normal(found.bias.shape)
        assert objective(weight, bias, x, y, 0.05) > found.loss


def test_what_did_not_converge_says_so(workers: Workers) -> None:
    x, y = examples(60, 1)
    found = fit_softmax(x, y, 3, 1e-3, workers, tolerance=1e-12, max_steps=5)
    assert not found.converged
    assert found.steps == 5
    assert found.gradient_norm > 1e-12


def test_going_on_from_a_solution_takes_no_step(workers: Workers) -> None:
    x, y = examples(60, 1)
    first = fit_softmax(x / x.std(0), y, 3, 0.1, workers, tolerance=1e-6)
    again = fit_softmax(x / x.std(0), y, 3, 0.1, workers, tolerance=1e-6, start=first)
    assert first.steps > 0
    assert again.steps == 0
    np.testing.assert_array_equal(again.weight, first.weight)


def test_the_penalty_is_chosen_on_training_features_that_were_held_out(workers: Workers) -> None:
    x, y = examples(45, 2, dim=40)  # few examples of many features: a weak penalty learns them by heart
    test, true = examples(600, 3, dim=40)
    probe = fit_probe(x, y, 3, workers, tolerance=1e-3)
    assert list(probe.held_out) == [1.0, 0.1, 1e-2, 1e-3, 1e-4]
    assert probe.held_out[probe.solution.penalty] == max(probe.held_out.values())
    assert probe.solution.penalty == max(p for p, a in probe.held_out.items() if a == max(probe.held_out.values()))
    only = fit_probe(x, y, 3, workers, penalties=(probe.solution.penalty,), tolerance=1e-3)
    assert not only.held_out
    np.testing.assert_array_equal(only.solution.weight, probe.solution.weight)
    assert (probe.logits(test).argmax(1) == true).mean() > 0.6


def test_neither_scale_nor_shift_of_a_feature_matters(workers: Workers) -> None:
    x, y = examples(60, 4)
    probe = fit_probe(x, y, 3, workers, penalties=(0.1,), tolerance=1e-8)
    moved = fit_probe(1e3 * x + 7, y, 3, workers, penalties=(0.1,), tolerance=1e-8)
    np.testing.assert_allclose(moved.logits(1e3 * x + 7), probe.logits(x), atol=1e-6)


def test_a_feature_that_does_not_vary_is_left_out(workers: Workers) -> None:
    x, y = examples(60, 4)
    x[:, 2] = 0.1
    probe = fit_probe(x.astype(np.float32), y, 3, workers, penalties=(0.1,))
    assert probe.scale[2] == 1
    assert np.abs(probe.solution.weight[:, 2]).max() < 1e-5
    assert probe.solution.weight.dtype == np.float32


def test_bad_requests_are_refused(workers: Workers) -> None:
    x, y = examples(60, 4)
    with pytest.raises(ValueError, match="a penalty above 0, got 0"):
        fit_softmax(x, y, 3, 0, workers)
    with pytest.raises(ValueError, match=r"got \(60, 6\), \(59,\)"):
        fit_probe(x, y[1:], 3, workers)
    with pytest.raises(ValueError, match="at least one penalty"):
        fit_probe(x, y, 3, workers, penalties=())
