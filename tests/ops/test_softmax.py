import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("softmax", "log_softmax"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=1, max_dims=3, min_side=3, max_side=5),
    data=st.data(),
    scale=st.sampled_from([1e-3, 1.0, 5.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_axis_and_scale(shape, data, scale, seed):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = scale * np.random.default_rng(seed).uniform(-1.5, 1.5, shape)  # beyond 25 apart the gradient is nothing
    mv.prove(ops.softmax, x, attributes={"axis": axis})
    mv.prove(ops.log_softmax, x, attributes={"axis": axis})


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax])
@pytest.mark.parametrize(
    "row",
    [[0.0] * 4, [5.0] * 4, [0.0, 0.0, 0.0, -1e9], [3.0, -1e9, 1.0, -1e9]],
    ids=["zeros", "equal", "one masked", "two masked"],
)
def test_special_rows(function, row):
    """Along directions that leave masked entries alone, every rung holds; at a mask the gradient is zero."""
    row = np.array(row)
    free = row > -1e8

    def with_mask(x):
        return function(ops.where(free, x, row))

    x = np.where(free, row, 0.0)
    if free.all():
        mv.prove(function, row[None])
    mv.check_gradients(with_mask, x)
    dy = np.random.default_rng(0).standard_normal(4)
    y = mv.tensor(row, requires_grad=True)
    gradient = mv.grad(function(y), y, np.where(free, dy, 0.0)).numpy()
    assert np.isfinite(gradient).all()
    assert np.array_equal(gradient[~free], np.zeros((~free).sum()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_overflow_for_logits_of_any_size(dtype):
    x = mv.tensor(np.array([[1e4, 0.0], [-1e4, -1e4], [1e4, 1e4 - 1]], dtype), requires_grad=True)
    p = ops.softmax(x)
    expected = np.array([[1.0, 0.0], [0.5, 0.5], [1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))]])
    assert np.allclose(p.numpy(), expected, rtol=1e-6)
    assert np.allclose(ops.log_softmax(x).numpy()[1:], np.log(expected[1:]), rtol=1e-6)
    assert ops.log_softmax(x).numpy()[0].tolist() == [0.0, -1e4]
    assert np.isfinite(mv.grad(ops.log_softmax(x), x, np.ones((3, 2), dtype)).numpy()).all()


def test_probabilities_sum_to_one_and_do_not_see_a_shift(rng):
    x = rng.standard_normal((5, 7))
    p = ops.softmax(x)
    assert np.allclose(p.numpy().sum(-1), 1.0, rtol=1e-15)
    assert np.allclose(ops.softmax(x + 3.0).numpy(), p.numpy(), rtol=1e-13)
    assert np.allclose(np.exp(ops.log_softmax(x).numpy()), p.numpy(), rtol=1e-14)


def test_its_gradient_sums_to_zero_since_the_probabilities_sum_to_one(rng):
    x, dy = mv.tensor(rng.standard_normal((5, 7)), requires_grad=True), rng.standard_normal((5, 7))
    gradient = mv.grad(ops.softmax(x), x, dy).numpy()
    assert np.abs(gradient).max() > 1e-2
    rounding = 10 * np.finfo(np.float64).eps * np.abs(dy).max()  # sums of 7 terms, and what they are made of
    assert np.abs(gradient.sum(-1)).max() < rounding
    # which is why a cotangent of ones proves nothing:
    assert np.abs(mv.grad(ops.softmax(x), x, np.ones((5, 7))).numpy()).max() < rounding


def test_the_jacobian_is_diag_p_minus_p_p(rng):
    x = mv.tensor(rng.standard_normal(4), requires_grad=True)
    p = ops.softmax(x).numpy()
    rows = [mv.grad(ops.softmax(x), x, unit).numpy() for unit in np.eye(4)]
    assert np.allclose(rows, np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-16)


def test_an_axis_that_does_not_exist():
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        ops.softmax(np.ones((2, 3)), axis=2)
