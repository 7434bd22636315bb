"""Tests of minivit/optim/clipping.py."""

import warnings

import numpy as np
import pytest

from minivit import nn, optim


class Model(nn.Module):
    def __init__(self, dtype=np.float64):
        self.weight = nn.Parameter(np.zeros((3, 5), dtype))
        self.bias = nn.Parameter(np.zeros(7, dtype))
        self.unused = nn.Parameter(np.zeros(4, dtype))


def make(scale=1.0, dtype=np.float64):
    model = Model(dtype)
    flat = nn.FlatParameters(model)
    rng = np.random.default_rng(0)
    flat.grad[...] = 1e6  # what an earlier step left must not count
    flat.clear_gaps()
    for parameter in (model.weight, model.bias):
        parameter.gradient_buffer[...] = scale * rng.standard_normal(parameter.shape)
        parameter.grad = parameter.gradient_buffer
    return model, flat, np.concatenate([model.weight.grad.ravel(), model.bias.grad])


def now(model):
    return np.concatenate([model.weight.grad.ravel(), model.bias.grad])


def test_the_norm_is_over_all_gradients_that_there_are():
    model, flat, before = make()
    np.testing.assert_allclose(optim.grad_norm(flat), np.linalg.norm(before), rtol=1e-14)
    model.bias.grad = None
    np.testing.assert_allclose(optim.grad_norm(flat), np.linalg.norm(model.weight.grad), rtol=1e-14)
    model.zero_grad()
    assert optim.grad_norm(flat) == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_norm_is_an_array_of_the_gradients_dtype(dtype):
    _, flat, _ = make(dtype=dtype)
    for norm in (optim.grad_norm(flat), optim.clip_grad_norm(flat, 1.0)):
        assert type(norm) is np.ndarray
        assert norm.shape == ()
        assert norm.dtype == dtype


def test_a_norm_above_the_bound_is_scaled_to_it():
    model, flat, before = make()
    norm = optim.clip_grad_norm(flat, 0.5)
    np.testing.assert_allclose(norm, np.linalg.norm(before), rtol=1e-14)
    np.testing.assert_allclose(now(model), before * 0.5 / (np.linalg.norm(before) + 1e-6), rtol=1e-14)
    np.testing.assert_allclose(optim.grad_norm(flat), 0.5, rtol=1e-5)


def test_a_norm_below_the_bound_is_left_alone():
    model, flat, before = make(1e-3)
    optim.clip_grad_norm(flat, 0.5)
    np.testing.assert_array_equal(now(model), before)


def test_without_gradients_nothing_happens():
    model, flat, _ = make()
    model.zero_grad()
    assert optim.clip_grad_norm(flat, 1.0) == 0.0


def test_a_parameter_without_gradient_is_not_touched():
    model, flat, _ = make()
    segment = next(s for s in flat.segments if s.name == "unused")
    optim.clip_grad_norm(flat, 0.5)
    assert model.unused.grad is None
    assert (flat.grad[segment.start : segment.stop] == 1e6).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_the_norm_and_does_not_outlive_the_step(bad):
    model, flat, before = make()
    model.weight.grad[0, 0] = bad
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinity times zero
        norm = optim.clip_grad_norm(flat, 1.0)
    assert not np.isfinite(norm)
    model.zero_grad()
    for parameter in (model.weight, model.bias):
        parameter.grad = np.ones(parameter.shape)
    np.testing.assert_allclose(optim.grad_norm(flat), np.sqrt(before.size), rtol=1e-14)


def test_a_gradient_that_lies_elsewhere_counts():
    model, flat, before = make()
    model.unused.grad = np.full(4, 3.0)
    np.testing.assert_allclose(optim.grad_norm(flat) ** 2, np.linalg.norm(before) ** 2 + 36, rtol=1e-12)


def test_after_a_change_of_the_tree_the_gradients_of_today_count():
    model, *_ = make()
    optimizer = optim.SGD(model, 1.0, momentum=0.5)
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape)
    optimizer.step()
    momentum = optimizer.state_dict()
    del model.unused
    model.late = nn.Parameter(np.zeros((2, 2)))
    for parameter in model.parameters():
        parameter.grad = np.full(parameter.shape, 10.0)
    norm = optim.clip_grad_norm(optimizer.flat, 1.0)
    np.testing.assert_allclose(norm, 10 * np.sqrt(15 + 7 + 4), rtol=1e-12)
    optimizer.step()  # its state has followed, though clipping saw the change first
    part = 10 / (float(norm) + 1e-6)
    for name in ("weight", "bias"):
        expected = 0.5 * momentum[f"momentum.{name}"] + part
        np.testing.assert_allclose(optimizer.state_dict()[f"momentum.{name}"], expected, rtol=1e-12)
    np.testing.assert_allclose(model.late.data, -part, rtol=1e-12)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan")])
def test_a_bound_that_is_not_positive_is_refused(bound):
    with pytest.raises(ValueError, match="max_norm must be positive, got"):
        optim.clip_grad_norm(make()[1], bound)
