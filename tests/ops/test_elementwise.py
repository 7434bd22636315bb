import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError
from minivit.compare import cases

NAMES = ("exp", "log", "sqrt", "sin", "cos", "tanh", "erf", "absolute", "clip", "maximum", "minimum", "where")


@pytest.mark.parametrize("case", cases(*NAMES), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=0, max_dims=3, max_side=3),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1.0, 2.0]),
)
def test_the_ladder_for_any_shape_and_scale(shape, seed, scale):
    x = scale * (0.1 + np.random.default_rng(seed).random(shape))
    for function in (ops.exp, ops.log, ops.sqrt, ops.sin, ops.cos, ops.tanh, ops.erf):
        mv.prove(function, x)


@settings(max_examples=50)
@given(shapes=mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3), seed=st.integers(0, 2**32 - 1))
def test_where_broadcasts_all_three(shapes, seed):
    rng = np.random.default_rng(seed)
    condition, x, y = (rng.standard_normal(shape) for shape in shapes.input_shapes)
    condition = condition > 0
    a, b = mv.tensor(x, requires_grad=True), mv.tensor(y, requires_grad=True)
    result = ops.where(condition, a, b)
    assert np.array_equal(result.numpy(), np.where(condition, x, y))
    dy = rng.standard_normal(result.shape)
    da, db = mv.grad(result, [a, b], dy)
    assert da.shape == x.shape
    assert db.shape == y.shape
    assert np.isclose(da.numpy().sum() + db.numpy().sum(), dy.sum())
    assert np.isclose(da.numpy().sum(), (dy * condition).sum())


def test_where_the_untaken_branch_is_infinite_its_gradient_is_zero_not_nan():
    x = mv.tensor([0.0, 4.0], requires_grad=True)
    safe = ops.where(x.data > 0, x, 1.0)  # the guard goes on the input of the log, not on its output
    y = ops.where(x.data > 0, ops.log(safe), 0.0)
    assert mv.grad(y.sum(), x).tolist() == [0.0, 0.25]


def test_where_takes_numbers_in_the_other_operands_dtype():
    mask = np.array([True, False])
    assert ops.where(mask, mv.tensor([1.0, 2.0]), 0.0).dtype == np.float32
    assert ops.where(mask, 7, mv.tensor([1, 2])).tolist() == [7, 2]
    with pytest.raises(TypeError, match="to know the dtype"):
        ops.where(mask, 1.0, 0.0)
    with pytest.raises(DTypeError, match=r"0\.5 does not fit into int64"):
        ops.where(mask, mv.tensor([1, 2]), 0.5)


def test_equal_operands_give_the_gradient_to_the_first():
    x, y = (mv.tensor([1.0, 2.0, 3.0], requires_grad=True) for _ in range(2))
    for function in (ops.maximum, ops.minimum):
        dx, dy = mv.grad(function(x, y), [x, y], np.ones(3, np.float32))
        assert dx.tolist() == [1.0] * 3
        assert dy.tolist() == [0.0] * 3


def test_clip_passes_the_gradient_inside_and_on_the_limits():
    x = mv.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], requires_grad=True)
    y = ops.clip(x, -1.0, 1.0)
    assert y.tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]
    assert mv.grad(y, x, np.ones(5, np.float32)).tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert ops.clip(x, low=0.5).tolist() == [0.5, 0.5, 0.5, 1.0, 2.0]
    assert ops.clip(x, high=0.5).tolist() == [-2.0, -1.0, 0.0, 0.5, 0.5]


def test_clip_keeps_integers():
    assert ops.clip(mv.tensor([1, 5, 9]), 2, 6).tolist() == [2, 5, 6]
    assert ops.clip(mv.tensor([1, 5, 9]), 2).dtype == np.int64


def test_the_derivative_of_an_absolute_value_is_zero_at_zero():
    x = mv.tensor([-3.0, 0.0, 3.0], requires_grad=True)
    assert mv.grad(abs(x), x, np.ones(3, np.float32)).tolist() == [-1.0, 0.0, 1.0]


def test_erf_against_its_integral():
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate([np.linspace(-6.0, 6.0, 241), [1e-300, -1e-8, 30.0]])
    expected = [float(mpmath.erf(mpmath.mpf(float(value)))) for value in x]
    assert np.allclose(ops.erf(x).numpy(), expected, rtol=4e-16, atol=0)


def test_functions_match_the_ones_in_math(rng):
    x = rng.random(20) + 0.1
    for name in ("exp", "log", "sqrt", "sin", "cos", "tanh"):
        assert np.allclose(getattr(ops, name)(x).numpy(), [getattr(math, name)(value) for value in x], rtol=1e-15)


# Casts


def test_a_cast_converts_the_gradient_back():
    x = mv.tensor(np.ones(2, np.float32), requires_grad=True)
    y = x.astype(np.float64) * 3.0
    assert y.dtype == np.float64
    dx = mv.grad(y.sum(), x)
    assert (dx.dtype, dx.tolist()) == (np.float32, [3.0, 3.0])


def test_a_cast_to_the_same_dtype_is_no_op():
    x = mv.tensor([1.0])
    assert x.astype(np.float32) is x
    assert x.astype("float32") is x


def test_a_cast_is_differentiated_twice():
    x = mv.tensor(np.full(2, 2.0, np.float32), requires_grad=True)
    first = mv.grad((x.astype(np.float64) ** 3).sum(), x, create_graph=True)
    assert mv.grad(first.sum(), x).tolist() == [12.0, 12.0]


def test_a_gradient_cannot_pass_through_integers():
    x = mv.tensor([1.5], requires_grad=True)
    with pytest.raises(DTypeError, match=r"astype\(int64\) of a tensor that carries gradient; stop it first"):
        x.astype(np.int64)
    assert mv.stop_gradient(x).astype(np.int64).tolist() == [1]
    assert mv.tensor([1, 2]).astype(np.float32).dtype == np.float32
