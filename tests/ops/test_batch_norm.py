from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import GradientError, ShapeError
from minivit.backend import kernels_disabled
from minivit.backend.cpu.rendezvous import Rendezvous
from minivit.compare import against_numpy, cases


@pytest.mark.parametrize("case", cases("batch_norm"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    batch=st.integers(2, 4),
    channels=st.integers(1, 4),
    positions=st.lists(st.integers(1, 4), max_size=3),
    with_weight=st.booleans(),
    with_bias=st.booleans(),
    training=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape(batch, channels, positions, with_weight, with_bias, training, seed):
    rng = np.random.default_rng(seed)
    shape = (batch, channels, *positions)
    # Evenly spaced numbers in random order: every channel has a variance worth dividing by.
    x = 5.0 * np.swapaxes(rng.permuted(np.linspace(-1, 1, np.prod(shape)).reshape(channels, -1), axis=1), 0, 1)
    x = np.moveaxis(x.reshape(batch, *positions, channels), -1, 1) + rng.standard_normal(
        (channels, *(1,) * len(positions))
    )
    weight = rng.uniform(0.5, 2.0, channels) if with_weight else None
    bias = rng.standard_normal(channels) if with_bias else None
    given_statistics = () if training else (rng.standard_normal(channels), rng.uniform(0.5, 2.0, channels))

    def function(x, weight, bias, mean=None, variance=None):
        return ops.batch_norm(x, weight, bias, eps=0.3, mean=mean, variance=variance)

    mv.prove(
        function,
        *(x, weight, bias, *given_statistics),
        reference=partial(against_numpy.batch_norm, eps=0.3),
        constant=(3, 4)[: len(given_statistics)],
        linear=not training and not with_weight,
    )


def test_statistics_are_those_of_the_batch(rng):
    x = rng.standard_normal((5, 3, 4, 2))
    for context in (kernels_disabled(), mv.unrolled(), mv.no_grad()):
        with context:
            y, statistics = ops.batch_norm(mv.tensor(x, requires_grad=True), return_statistics=True)
        assert type(statistics.mean) is type(statistics.variance) is np.ndarray
        np.testing.assert_allclose(statistics.mean, x.mean((0, 2, 3)), rtol=1e-13)
        np.testing.assert_allclose(statistics.variance, x.var((0, 2, 3)), rtol=1e-13)
        assert statistics.count == 40
        np.testing.assert_allclose(y.numpy(), ops.batch_norm(x).numpy(), rtol=1e-12)


def test_shifting_or_stretching_a_channel_changes_nothing(rng):
    x = mv.tensor(rng.standard_normal((4, 3, 2, 5)), requires_grad=True)
    y = ops.batch_norm(x, eps=0.0)
    moved = x.data * np.array([0.1, 2.0, 30.0])[:, None, None] + np.array([-5.0, 0.0, 7.0])[:, None, None]
    np.testing.assert_allclose(ops.batch_norm(moved, eps=0.0).numpy(), y.numpy(), atol=1e-13)
    # so the gradient has no component along either direction
    dx = mv.grad(y, x, rng.standard_normal(y.shape)).numpy()
    np.testing.assert_allclose(dx.sum((0, 2, 3)), 0, atol=1e-13)
    np.testing.assert_allclose((dx * y.numpy()).sum((0, 2, 3)), 0, atol=1e-13)
    assert np.abs(dx).max() > 0.1


def test_gradients_flow_through_the_statistics_only_while_training(rng):
    x = mv.tensor(rng.standard_normal((4, 3, 2, 2)), requires_grad=True)
    y, found = ops.batch_norm(x, return_statistics=True)
    fixed = ops.batch_norm(x, mean=found.mean, variance=found.variance)
    np.testing.assert_allclose(fixed.numpy(), y.numpy(), atol=1e-14)
    dy = np.zeros(y.shape)
    dy[0] = rng.standard_normal(dy[0].shape)
    assert np.all(mv.grad(y, x, dy).numpy()[1:])  # one image's cotangent moves the others
    assert not np.any(mv.grad(fixed, x, dy).numpy()[1:])


def test_a_split_into_one_part_is_none(rng):
    x, dy = rng.standard_normal((2, 4, 3, 2, 2))
    found = []
    for part in (None, Rendezvous(1)):
        leaf = mv.tensor(x, requires_grad=True)
        for context in (kernels_disabled(), mv.unrolled(), kernels_disabled()):
            with part.part(0) if part else mv.enable_grad(), context:
                y = ops.batch_norm(leaf)
                found.append((y.numpy(), mv.grad(y, leaf, dy).numpy()))
    for value, gradient in found[1:]:
        np.testing.assert_allclose(value, found[0][0], atol=1e-14)
        np.testing.assert_allclose(gradient, found[0][1], atol=1e-14)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ((3,), {}, r"expected x \(B, C, ...\), got \(3,\)"),
        ((4, 3, 2), {"weight": np.ones(2)}, r"batch_norm of \(4, 3, 2\) needs a weight of shape \(3,\), got \(2,\)"),
        ((4, 3, 2), {"bias": np.ones((3, 1))}, r"needs a bias of shape \(3,\), got \(3, 1\)"),
        ((4, 3), {"mean": np.ones(4), "variance": np.ones(3)}, r"needs a mean of shape \(3,\), got \(4,\)"),
        ((4, 3), {"mean": np.ones(3), "variance": np.ones(())}, r"needs a variance of shape \(3,\), got \(\)"),
        ((1, 3), {}, "each channel has a single number, whose variance is zero; train with more than one example"),
        ((0, 3, 2), {}, "an empty batch has no mean"),
    ],
)
def test_shapes_that_do_not_fit(x, options, message):
    with pytest.raises(ShapeError, match=message):
        ops.batch_norm(np.ones(x), **options)


def test_statistics_are_given_as_constants_and_together():
    x, ones = np.ones((2, 3)), np.ones(3)
    with pytest.raises(ValueError, match="give both mean and variance"):
        ops.batch_norm(x, mean=ones)
    with pytest.raises(GradientError, match="are constants, but one carries gradient"):
        ops.batch_norm(x, mean=mv.tensor(ones, requires_grad=True), variance=ones)
    with pytest.raises(ValueError, match="leave out return_statistics"):
        ops.batch_norm(x, mean=ones, variance=ones, return_statistics=True)
