import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("layer_norm"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=20)
@given(
    shape=array_shapes(min_dims=1, max_dims=4, max_side=4).filter(lambda shape: shape[-1] > 2),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    shift=st.sampled_from([0.0, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_scale(shape, scale, shift, seed):
    rng = np.random.default_rng(seed)
    x = scale * (rng.standard_normal(shape) + shift)
    weight, bias = rng.standard_normal((2, shape[-1]))
    mv.prove(ops.layer_norm, x, weight, bias)


def test_constant_rows(rng):
    """Their variance is zero: only eps keeps r finite, n is zero, and so is the gradient of the weight."""
    x = np.repeat(rng.standard_normal((3, 1)), 4, axis=1)
    weight, bias = rng.standard_normal((2, 4))
    y = ops.layer_norm(x, weight, bias)
    assert np.allclose(y.numpy(), np.broadcast_to(bias, (3, 4)))
    mv.prove(ops.layer_norm, x, weight, bias, attributes={"eps": 0.1}, zero=(1,))
    one_constant_row = np.vstack([x[:1], rng.standard_normal((2, 4))])
    mv.prove(ops.layer_norm, one_constant_row, weight, bias, attributes={"eps": 0.01})


def test_rows_have_mean_zero_and_variance_one(rng):
    x = 3.0 * rng.standard_normal((5, 8)) + 2.0
    n = ops.layer_norm(x, np.ones(8), np.zeros(8)).numpy()
    assert np.allclose(n.mean(-1), 0.0, atol=1e-15)
    assert np.allclose(n.var(-1), 1.0, rtol=1e-5)


def test_it_sees_neither_shift_nor_scale(rng):
    x, weight, bias = rng.standard_normal((5, 8)), rng.standard_normal(8), rng.standard_normal(8)
    y = ops.layer_norm(x, weight, bias, eps=0.0)
    assert np.allclose(ops.layer_norm(2.5 * x + 7.0, weight, bias, eps=0.0).numpy(), y.numpy(), rtol=1e-12)


def test_its_gradient_has_no_part_along_the_mean_or_along_the_output(rng):
    """What a shift or a scaling of x cannot change, x gets no gradient for."""
    x = mv.tensor(rng.standard_normal((5, 8)), requires_grad=True)
    weight, bias = rng.standard_normal((2, 8))
    dx = mv.grad(ops.layer_norm(x, weight, bias, eps=0.0), x, rng.standard_normal((5, 8))).numpy()
    assert np.abs(dx).max() > 0.1
    assert np.allclose(dx.sum(-1), 0.0, atol=1e-14)
    centered = x.data - x.data.mean(-1, keepdims=True)
    assert np.allclose((dx * centered).sum(-1), 0.0, atol=1e-14)


def test_with_ones_as_cotangent_and_weight_the_gradient_vanishes(rng):
    """The trap: at its initialisation, a sum over LayerNorm has gradient zero, whatever the backward does."""
    x = mv.tensor(rng.standard_normal((5, 8)), requires_grad=True)
    dx = mv.grad(ops.layer_norm(x, np.ones(8), np.zeros(8)), x, np.ones((5, 8))).numpy()
    assert np.allclose(dx, 0.0, atol=1e-15)


def test_float32_rows_far_from_zero(rng):
    x = rng.standard_normal((4, 64)) + 100.0
    ours = ops.layer_norm(x.astype(np.float32), np.ones(64, np.float32), np.zeros(64, np.float32)).numpy()
    exact = ops.layer_norm(x.astype(np.float32).astype(np.float64), np.ones(64), np.zeros(64)).numpy()
    assert np.abs(ours - exact).max() < 2e-5


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((4,), (3,)), ((1, 4), (4,)), ((), (4,))])
def test_weight_and_bias_have_the_width_of_x(shapes):
    weight, bias = shapes
    with pytest.raises(ShapeError, match=r"layer_norm of \(2, 4\) needs weight and bias of shape \(4,\)"):
        ops.layer_norm(np.ones((2, 4)), np.ones(weight), np.ones(bias))
