import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, valid_tuple_axes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases
from minivit.compare.cases import spread

NAMES = ("sum", "mean", "max", "min", "var", "logsumexp")


@pytest.mark.parametrize("case", cases(*NAMES), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@st.composite
def shapes_and_axes(draw):
    shape = draw(array_shapes(min_dims=1, max_dims=4, max_side=3))
    kind = draw(st.sampled_from(["none", "one", "tuple"]))
    if kind == "none":
        return shape, None
    if kind == "one":
        return shape, draw(st.integers(-len(shape), len(shape) - 1))
    return shape, draw(valid_tuple_axes(len(shape), min_size=1))


@settings(max_examples=50)
@given(shape_and_axis=shapes_and_axes(), keepdims=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_any_axes_as_in_numpy(shape_and_axis, keepdims, seed):
    shape, axis = shape_and_axis
    x = spread(np.random.default_rng(seed), *shape)
    for name in ("sum", "mean", "max", "min", "var"):
        ours = getattr(ops, name)(mv.tensor(x), axis, keepdims)
        theirs = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        assert ours.shape == theirs.shape
        assert np.allclose(ours.numpy(), theirs, rtol=1e-13, atol=1e-15)
    ours = ops.logsumexp(x, axis, keepdims)
    assert np.allclose(ours.numpy(), np.log(np.exp(x).sum(axis=axis, keepdims=keepdims)))


@settings(max_examples=25)
@given(shape_and_axis=shapes_and_axes(), keepdims=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_the_ladder_for_any_axes(shape_and_axis, keepdims, seed):
    shape, axis = shape_and_axis
    x = spread(np.random.default_rng(seed), *shape)
    for function in (ops.sum, ops.mean, ops.max):
        mv.prove(function, x, attributes={"axis": axis, "keepdims": keepdims}, linear=True, seed=seed)


@pytest.mark.parametrize(
    ("values", "axis", "expected"),
    [
        ([1.0, 3.0, 3.0, 2.0], None, [0, 1, 0, 0]),
        ([5.0, 5.0, 5.0], 0, [1, 0, 0]),
        ([[1.0, 1.0], [0.0, 1.0]], 0, [[1, 1], [0, 0]]),
        ([[1.0, 1.0], [0.0, 1.0]], (0, 1), [[1, 0], [0, 0]]),
        ([[1.0, 1.0], [0.0, 1.0]], (1, 0), [[1, 0], [0, 0]]),
    ],
)
def test_ties_of_a_maximum_go_to_the_first(values, axis, expected):
    x = mv.tensor(values, requires_grad=True)
    assert mv.grad(ops.max(x, axis).sum(), x).tolist() == expected
    assert mv.grad(ops.min(-x, axis).sum(), x).tolist() == (-np.array(expected)).tolist()


def test_variance_divides_by_n_unless_told_otherwise(rng):
    x = rng.standard_normal((3, 4))
    assert np.allclose(ops.var(x, 0).numpy(), x.var(0))
    assert np.allclose(ops.var(x, 0, correction=1).numpy(), x.var(0, ddof=1))
    assert np.allclose(ops.var(x).item(), x.var())


def test_logsumexp_neither_overflows_nor_underflows():
    x = mv.tensor([[1e4, 1e4], [-1e4, -1e4 + 1.0]], requires_grad=True)
    y = ops.logsumexp(x)
    assert np.allclose(y.numpy(), [1e4 + np.log(2), -1e4 + 1.0 + np.log1p(np.exp(-1.0))])
    dx = mv.grad(y.sum(), x).numpy()
    assert np.allclose(dx[0], 0.5)
    assert np.allclose(dx.sum(1), 1.0)


def test_positions_of_extremes_are_constants():
    x = mv.tensor([[1.0, 9.0], [7.0, 2.0]], requires_grad=True)
    assert ops.argmax(x).item() == 1
    assert ops.argmax(x, 0).tolist() == [1, 0]
    assert ops.argmin(x, -1).tolist() == [0, 1]
    assert not ops.argmax(x, 0).requires_grad
    assert ops.argmax(x, 0).dtype == np.int64


def test_an_accuracy_is_the_mean_of_bools():
    predicted, labels = mv.tensor([1, 2, 3, 3]), np.array([1, 2, 0, 3])
    assert (predicted == labels).mean().item() == 0.75
    assert (predicted == labels).sum().item() == 3


def test_sums_of_no_elements():
    x = mv.tensor(np.zeros((0, 3)), requires_grad=True)
    assert x.sum().item() == 0.0
    assert x.sum(axis=0).tolist() == [0.0] * 3
    assert mv.grad(x.sum(), x).shape == (0, 3)


@pytest.mark.parametrize("function", [ops.sum, ops.mean, ops.max, ops.min, ops.var, ops.logsumexp])
@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_an_axis_that_does_not_exist_raises(function, axis):
    with pytest.raises((ShapeError, IndexError), match=r"axis -?\d .*\[-2, 1\]"):
        function(np.ones((2, 3)), axis)
