import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError
from minivit.compare import cases

PAIRS = mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, min_side=0, max_side=3)


@pytest.mark.parametrize(
    "case", cases("add", "subtract", "multiply", "divide", "negative", "power"), ids=str
)  # fmt: skip
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=50)
@given(shapes=PAIRS, seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_gradient_has_its_operands_shape_whatever_broadcasts(shapes, seed, scale):
    rng = np.random.default_rng(seed)
    a, b = (scale * (0.5 + rng.random(shape)) * rng.choice([-1.0, 1.0], shape) for shape in shapes.input_shapes)
    dy = rng.standard_normal(shapes.result_shape)
    # The gradient of a broadcast operand, from the definition: broadcast first, then sum where elements were repeated.
    index_a, index_b = (
        np.broadcast_to(np.arange(x.size).reshape(x.shape), shapes.result_shape).ravel() for x in (a, b)
    )
    full_a, full_b = np.broadcast_to(a, dy.shape), np.broadcast_to(b, dy.shape)
    for function, value, da, db in (
        (ops.add, full_a + full_b, dy, dy),
        (ops.subtract, full_a - full_b, dy, -dy),
        (ops.multiply, full_a * full_b, dy * full_b, dy * full_a),
        (ops.divide, full_a / full_b, dy / full_b, -dy * full_a / full_b**2),
    ):
        x, z = mv.tensor(a, requires_grad=True), mv.tensor(b, requires_grad=True)
        y = function(x, z)
        assert y.shape == shapes.result_shape
        assert np.array_equal(y.numpy(), value)
        for gradient, expected, operand, index in zip(
            mv.grad(y, [x, z], dy), (da, db), (a, b), (index_a, index_b), strict=True
        ):
            summed = np.bincount(index, weights=expected.ravel(), minlength=operand.size).reshape(operand.shape)
            assert gradient.shape == operand.shape
            assert np.allclose(gradient.numpy(), summed, rtol=1e-12, atol=1e-12 * np.abs(expected).max(initial=0.0))


@settings(max_examples=25)
@given(shapes=PAIRS.filter(lambda shapes: 0 not in shapes.result_shape), seed=st.integers(0, 2**32 - 1))
def test_the_ladder_for_any_shapes_that_broadcast(shapes, seed):
    rng = np.random.default_rng(seed)
    a, b = (0.5 + rng.random(shape) for shape in shapes.input_shapes)
    mv.prove(ops.add, a, b, linear=True)
    mv.prove(ops.multiply, a, b)
    mv.prove(ops.divide, a, b)


def test_operators_with_arrays_and_numbers_on_either_side():
    x, array = mv.tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0], np.float32)
    for ours, expected in (
        (array + x, [4.0, 6.0]),
        (array - x, [2.0, 2.0]),
        (array * x, [3.0, 8.0]),
        (array / x, [3.0, 2.0]),
        (x - array, [-2.0, -2.0]),
        (np.float64(2.0) * x, [2.0, 4.0]),
        (1 - x, [0.0, -1.0]),
        (2 / x, [2.0, 1.0]),
        (+x, [1.0, 2.0]),
        (-x, [-1.0, -2.0]),
        (x**2, [1.0, 4.0]),
        (abs(-x), [1.0, 2.0]),
        (array @ x, 11.0),
        (x @ array, 11.0),
    ):
        assert isinstance(ours, mv.Tensor)
        assert ours.requires_grad
        assert ours.dtype == np.float32
        assert np.allclose(ours.numpy(), expected)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -0.5, 0.5, 1.7, 10])
def test_powers(exponent):
    x = mv.tensor(np.array([0.5, 1.0, 3.0]), requires_grad=True)
    y = x**exponent
    assert np.allclose(y.numpy(), x.data**exponent, rtol=1e-15)
    first = mv.grad(y, x, np.ones(3), create_graph=True)
    assert np.allclose(first.numpy(), exponent * x.data ** (exponent - 1.0))
    if exponent not in (0, 1):
        second = mv.grad(first, x, np.ones(3))
        assert np.allclose(second.numpy(), exponent * (exponent - 1.0) * x.data ** (exponent - 2.0))


def test_the_square_of_zero_has_derivative_zero():
    x = mv.tensor([0.0, -2.0], requires_grad=True)
    assert mv.grad(x**2, x, np.ones(2, np.float32)).tolist() == [0.0, -4.0]
    assert mv.grad(x**1, x, np.ones(2, np.float32)).tolist() == [1.0, 1.0]


def test_integers_stay_integers():
    n = mv.tensor([1, 2, 3])
    for y in (n + 1, 2 * n, n - n, n**2, -n):
        assert y.dtype == np.int64
    with pytest.raises(DTypeError, match=r"int64 tensor and 0\.5; convert it first"):
        n + 0.5


def test_division_of_integers_asks_for_a_dtype():
    with pytest.raises(DTypeError, match=r"division of a int64 tensor; convert it first"):
        mv.tensor([1, 2]) / 2


def test_an_exponent_is_a_number():
    x = mv.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match=r"exponent of \*\* must be a number.*exp\(exponent \* mv\.ops\.log"):
        x**x
    with pytest.raises(TypeError, match=r"2\.0 \*\* tensor is not supported; write mv\.ops\.exp"):
        2.0**x
