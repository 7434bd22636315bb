import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("matmul"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shapes=mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=1, max_side=3, max_dims=2),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_the_ladder_for_any_shapes_that_multiply(shapes, seed, scale):
    rng = np.random.default_rng(seed)
    a, b = (scale * (0.5 + rng.random(shape)) for shape in shapes.input_shapes)
    assert np.allclose(ops.matmul(a, b).numpy(), a @ b)
    mv.prove(ops.matmul, a, b)


def test_the_transposes_are_where_they_belong(rng):
    """With square matrices a forgotten transpose keeps every shape; the values tell."""
    a, b, dy = rng.standard_normal((3, 4, 4))
    x, y = mv.tensor(a, requires_grad=True), mv.tensor(b, requires_grad=True)
    da, db = mv.grad(x @ y, [x, y], dy)
    assert np.allclose(da.numpy(), dy @ b.T)
    assert np.allclose(db.numpy(), a.T @ dy)


def test_empty_products():
    a, b = mv.tensor(np.ones((2, 0)), requires_grad=True), mv.tensor(np.ones((0, 3)), requires_grad=True)
    y = a @ b
    assert np.array_equal(y.numpy(), np.zeros((2, 3)))
    assert [g.shape for g in mv.grad(y.sum(), [a, b])] == [(2, 0), (0, 3)]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((2, 3), (4, 5), "the inner lengths 3 and 4 differ"),
        ((3,), (4,), "the inner lengths 3 and 4 differ"),
        ((), (3,), r"multiply numbers with \*"),
    ],
)
def test_shapes_that_do_not_fit(a, b, message):
    with pytest.raises(ShapeError, match=message):
        ops.matmul(np.ones(a), np.ones(b))
